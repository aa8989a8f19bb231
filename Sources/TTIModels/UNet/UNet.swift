package import TTICore
package import TTIFormats

/// The network of latent diffusion: from noisy latents, a training step and text to what the scheduler asks for (Rombach et
/// al. 2022; diffusers' UNet2DConditionModel of Stable Diffusion 1, 2 and XL).
///
/// Text and training steps are known before the loop, so `prepare` computes once what depends on them: keys and values of
/// all cross-attentions, and what every residual block adds at every step.
package struct UNet {
    package let configuration: UNetConfiguration
    let conditioning: UNetConditioning
    let convolutionIn: Convolution
    let down: [UNetDownLevel]
    let middle: UNetMiddle
    /// From the inside outwards.
    let up: [UNetUpLevel]
    let normOut: GroupNormParameters
    let convolutionOut: Convolution

    /// What the network needs of some prompts and steps.
    package struct Prepared {
        /// What every residual block adds at every step, `[1, steps, of all blocks]`.
        let shifts: Tensor
        let down: [UNetStage.Prepared]
        let middle: UNetStage.Prepared
        let up: [UNetStage.Prepared]
        let skips = Skips()
    }

    /// What the way in leaves for the way out. Empty between steps, but the list stays, so that no step makes another.
    final class Skips {
        var tensors: [Tensor] = []
    }

    package init(_ weights: Weights, _ c: UNetConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        let last = c.levels.count - 1
        conditioning = try UNetConditioning(weights, c, on: b)
        convolutionIn = try weights.convolution(
            "conv_in", from: c.inputChannels, to: c.levels[0].channels, kernel: 3, .same, on: b)
        down = try (0...last).map { index throws(ModelError) in
            try UNetDownLevel(weights["down_blocks"][index], c, index, on: b)
        }
        middle = try UNetMiddle(weights["mid_block"], c, on: b)
        up = try (0...last).map { index throws(ModelError) in
            try UNetUpLevel(weights["up_blocks"][index], c, last - index, on: b)
        }
        normOut = try weights.groupNorm(
            "conv_norm_out", channels: c.levels[0].channels, groups: c.groupCount, epsilon: c.normEpsilon, on: b)
        convolutionOut = try weights.convolution(
            "conv_out", from: c.levels[0].channels, to: c.outputChannels, kernel: 3, .same, on: b)
    }

    /// Tensors that a checkpoint may hold and that nothing needs: none.
    package static func ignores(_ name: String) -> Bool { false }

    /// Once per prompt; the result lies in the arena.
    /// - Parameters:
    ///   - text: `[prompts, text tokens, text width]`
    ///   - added: for SDXL, of every prompt.
    ///   - timesteps: of every step of the loop.
    package func prepare(
        text: Tensor, added: UNetConditioning.Added? = nil, timesteps: [Float], on b: any Backend
    ) -> Prepared {
        let embeddings = conditioning(timesteps, added, configuration, on: b)  // [steps, 1 or prompts, time width]
        var shifts: [Tensor] = []
        let down = down.map { $0.stage.prepare(text, embeddings, shifts: &shifts, on: b) }
        let middle = middle.stage.prepare(text, embeddings, shifts: &shifts, on: b)
        let up = up.map { $0.stage.prepare(text, embeddings, shifts: &shifts, on: b) }
        return Prepared(shifts: b.concatenate(shifts, axis: 2), down: down, middle: middle, up: up)
    }

    /// - Parameters:
    ///   - latents: `[rows, height, width, input channels]`; both sides are multiples of `latentStep`.
    ///   - step: `[1]` int32: which of the prepared steps.
    ///   - prepared: of a number of prompts that divides the rows: row r is computed with prompt r · prompts / rows.
    /// - Returns: `[rows, height, width, output channels]`
    package func callAsFunction(_ latents: Tensor, at step: Tensor, _ prepared: Prepared, on b: any Backend) -> Tensor {
        b.scoped {
            let shifts = b.gather(prepared.shifts, step.reshaped([1, 1]))
                .reshaped([prepared.shifts.shape.last])
            // Each is left where it is until the way out takes it off the arena again.
            let skips = prepared.skips
            var x = b.convolve(latents, convolutionIn)  // [rows, height, width, channels]
            skips.tensors.append(x)
            for (level, prepared) in zip(down, prepared.down) {
                for index in level.stage.blocks.indices {
                    x = level.stage(index, x, adding: shifts, prepared, on: b)
                    skips.tensors.append(x)
                }
                if let downsample = level.downsample {
                    x = b.convolve(x, downsample)  // [rows, h/2, w/2, channels]
                    skips.tensors.append(x)
                }
            }
            x = middle(x, adding: shifts, prepared.middle, on: b)  // [rows, h, w, channels]
            for (level, prepared) in zip(up, prepared.up) {
                for index in level.stage.blocks.indices {
                    let skip = skips.tensors.removeLast()
                    x = b.replacing(x, above: skip) {
                        level.stage(index, x, beside: skip, adding: shifts, prepared, on: b)
                    }
                }
                if let upsample = level.upsample { x = b.replacing(x) { b.convolve($0, upsample) } }
            }
            return b.groupNormConvolve(x, normOut, .silu, convolutionOut)  // [rows, height, width, outputs]
        }
    }
}
