internal import TTICore
internal import TTIGeneration
internal import TTIModels

extension BenchmarkSubject {
    /// A step of diffusion: network, guidance, the scheduler's update.
    func denoise(_ network: UNet, _ sizes: BenchmarkSizes) throws -> Preparation {
        let c = network.configuration
        let side = try sizes.tokenSide(factor: 8, standard: c.latentSide, multiple: c.latentStep)
        let plan = try SchedulerConfiguration(.ddim).plan(steps: 20)
        return { b in
            let text = randomNumbers([sizes.rows, 77, c.textWidth], on: b)
            let prepared = network.prepare(
                text: text, added: added(c, rows: sizes.rows, side: side, on: b),
                timesteps: plan.updates.map { Float($0.timestep) }, on: b)
            let images = sizes.images
            let count = images * side * side * c.inputChannels
            let noise = (0..<count).map { Float($0 * 7919 % 2003) / 1001 - 1 }
            let state = b.diffusionState(plan, sample: HostTensor(noise, [images, side, side, c.inputChannels]))
            let guidance = samplingState(images, on: b)
            return BenchmarkWork(tokens: images * side * side, on: b) {
                let rows =
                    sizes.rows == images ? state.input : b.concatenate([state.input, state.input], axis: 0)
                let output = network(rows, at: state.position, prepared, on: b)
                b.combine(sizes.rows == images ? output : b.guide(output, guidance), in: state)
            }
        }
    }

    /// The prompt: text encoders, keys and values of every cross-attention, what the blocks add at each of 20 steps.
    func prefill(_ encoders: [CLIPTextModel], _ network: UNet, _ sizes: BenchmarkSizes) -> Preparation {
        { b in
            let c = network.configuration
            let length = encoders[0].configuration.maximumLength
            return BenchmarkWork(tokens: sizes.rows * length, on: b, isRecorded: false) {
                let outputs = encoders.map {
                    $0(text(rows: sizes.rows, length: length, vocabulary: $0.configuration.vocabularySize), on: b)
                }
                let states =
                    outputs.count == 1 ? outputs[0].lastHidden : b.concatenate(outputs.map(\.penultimate), axis: 2)
                _ = network.prepare(
                    text: states, added: added(c, rows: sizes.rows, side: c.latentSide, on: b),
                    timesteps: (0..<20).map { Float(50 * $0) }, on: b)
            }
        }
    }

    private func added(
        _ c: UNetConfiguration, rows: Int, side: Int, on b: any Backend
    ) -> UNetConditioning.Added? {
        c.added.map { added in
            let pixels = Float(8 * side)
            return UNetConditioning.Added(
                pooled: randomNumbers([rows, added.pooledTextWidth], on: b),
                sizes: Array(repeating: [pixels, pixels, 0, 0, pixels, pixels], count: rows))
        }
    }

    /// Latents to pixels.
    func detokenize(_ network: AutoencoderKL, _ sizes: BenchmarkSizes) throws -> Preparation {
        let c = network.configuration
        let side = try sizes.tokenSide(factor: c.scale, standard: max(1, 256 / c.scale))
        return { b in
            let latents = randomNumbers([sizes.rows, side, side, c.network.latentChannels], on: b)
            return BenchmarkWork(tokens: sizes.rows * side * side, on: b) { _ = network.decode(latents, on: b) }
        }
    }
}
