package import TTICore
package import TTIFormats

/// An autoencoder whose latents are codes from a book: pixels to image tokens and back (Esser et al. 2021; diffusers'
/// VQModel, and the names of taming-transformers' VQModel, which is the same graph).
///
/// Pixels are `[batch, height, width, 3]` in the model's own range.
package struct VQGAN {
    package let configuration: VQGANConfiguration
    let encoder: VQGANEncoder
    let toCode: Linear
    /// `[codes, code width]` float32
    let codebook: Tensor
    let fromCode: Linear
    let decoder: VQGANDecoder

    package init(_ weights: Weights, _ c: VQGANConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        let names: VQGANNames = weights.contains("decoder.norm_out.weight") ? .taming : .diffusers
        encoder = try VQGANEncoder(weights["encoder"], names, c, outputs: c.latentChannels, on: b)
        toCode = try weights.pointwise("quant_conv", from: c.latentChannels, to: c.codeWidth, bias: true, on: b)
        codebook = try weights.constant("quantize.embedding.weight", [c.codebookSize, c.codeWidth], on: b)
        fromCode = try weights.pointwise("post_quant_conv", from: c.codeWidth, to: c.latentChannels, bias: true, on: b)
        decoder = try VQGANDecoder(weights["decoder"], names, c, on: b)
    }

    /// Tensors that training leaves in a file: the discriminator and the perceptual loss.
    package static func ignores(_ name: String) -> Bool { name.hasPrefix("loss.") }

    /// The picture of some tokens.
    /// - Parameter codes: `[batch, height, width]` int32, each below the codebook's size.
    /// - Returns: `[batch, scale · height, scale · width, output channels]`
    package func decode(_ codes: Tensor, on b: any Backend) -> Tensor {
        b.scoped {
            let latents = b.scoped {
                let vectors = b.embed(codes, codebook)  // [batch, height, width, code width]
                return b.linear(vectors, fromCode)  // [batch, height, width, latent]
            }
            return decoder(latents, configuration, on: b)
        }
    }

    /// What the encoder makes of a picture, before it is rounded to codes.
    /// - Parameter pixels: `[batch, height, width, input channels]`, both sides multiples of the scale.
    /// - Returns: `[batch, height / scale, width / scale, code width]`
    package func encode(_ pixels: Tensor, on b: any Backend) -> Tensor {
        b.scoped { b.linear(encoder(pixels, configuration, on: b), toCode) }
    }

    /// The nearest codes.
    /// - Parameter latents: `[batch, height, width, code width]` from `encode`.
    /// - Returns: `[batch, height, width]` int32
    package func codes(_ latents: Tensor, on b: any Backend) -> Tensor {
        b.nearestCode(latents, codebook)
    }
}

/// Pixels to latents: residual blocks at each resolution, halving between them. `AutoencoderKL` has the same.
struct VQGANEncoder {
    let convolutionIn: Convolution
    let levels: [Level]
    let middle: VQGANMiddle
    let normOut: GroupNormParameters
    let convolutionOut: Convolution

    /// One resolution.
    struct Level {
        let blocks: [ResidualBlock]
        let attentions: [PixelAttention]
        let downsample: Convolution?
    }

    /// - Parameter outputs: channels that come out.
    init(
        _ weights: Weights, _ names: VQGANNames, _ c: VQGANConfiguration, outputs: Int, on b: any Backend
    ) throws(ModelError) {
        let last = c.channels.count - 1
        convolutionIn = try weights.convolution(
            "conv_in", from: c.inputChannels, to: c.channels[0], kernel: 3, .same, on: b)
        levels = try (0...last).map { index throws(ModelError) in
            let width = c.channels[index]
            let inputs = index == 0 ? width : c.channels[index - 1]
            let level = weights[names.encoderLevel(index)]
            return Level(
                blocks: try (0..<c.blockCount).map { block throws(ModelError) in
                    try ResidualBlock(
                        level[names.block(block)], names, from: block == 0 ? inputs : width, to: width, c, on: b)
                },
                attentions: try (0..<(c.encoderAttends[index] ? c.blockCount : 0)).map { block throws(ModelError) in
                    try PixelAttention(level[names.attention(block)], width: width, c, on: b)
                },
                // Zeros only to the right and at the bottom.
                downsample: index == last
                    ? nil
                    : try level.convolution(
                        names.downsample, from: width, to: width, kernel: 3,
                        ConvolutionGeometry(stride: 2, top: 0, left: 0, bottom: 1, right: 1), on: b))
        }
        middle = try VQGANMiddle(weights, names, width: c.channels[last], c, on: b)
        normOut = try weights.groupNorm(
            names.normOut, channels: c.channels[last], groups: c.groupCount, epsilon: c.normEpsilon, on: b)
        convolutionOut = try weights.convolution(
            "conv_out", from: c.channels[last], to: outputs, kernel: 3, .same, on: b)
    }

    /// - Parameter pixels: `[batch, height, width, input channels]`
    /// - Returns: `[batch, height / scale, width / scale, outputs]`
    func callAsFunction(_ pixels: Tensor, _ c: VQGANConfiguration, on b: any Backend) -> Tensor {
        var x = b.convolve(pixels, convolutionIn)  // [batch, height, width, channels]
        for level in levels {
            for (index, block) in level.blocks.enumerated() {
                x = b.replacing(x) { block($0, c.activation, on: b) }
                if index < level.attentions.count { x = b.replacing(x) { level.attentions[index]($0, on: b) } }
            }
            if let downsample = level.downsample { x = b.replacing(x) { b.convolve($0, downsample) } }
        }
        x = middle(x, c.activation, on: b)  // [batch, h, w, innermost channels]
        return b.replacing(x) { b.groupNormConvolve($0, normOut, .silu, convolutionOut) }  // [batch, h, w, latent]
    }
}

/// Latents to pixels: residual blocks at each resolution, doubling between them. `AutoencoderKL` has the same.
struct VQGANDecoder {
    let convolutionIn: Convolution
    let middle: VQGANMiddle
    /// From the inside outwards.
    let levels: [Level]
    let normOut: GroupNormParameters
    let convolutionOut: Convolution

    /// One resolution.
    struct Level {
        let blocks: [ResidualBlock]
        let attentions: [PixelAttention]
        /// Reads every pixel as 2×2.
        let upsample: Convolution?
    }

    init(_ weights: Weights, _ names: VQGANNames, _ c: VQGANConfiguration, on b: any Backend) throws(ModelError) {
        let last = c.channels.count - 1
        convolutionIn = try weights.convolution(
            "conv_in", from: c.latentChannels, to: c.channels[last], kernel: 3, .same, on: b)
        middle = try VQGANMiddle(weights, names, width: c.channels[last], c, on: b)
        levels = try (0...last).reversed().map { index throws(ModelError) in
            let width = c.channels[index]
            let inputs = index == last ? width : c.channels[index + 1]
            let level = weights[names.decoderLevel(index, of: c.channels.count)]
            return Level(
                blocks: try (0...c.blockCount).map { block throws(ModelError) in
                    try ResidualBlock(
                        level[names.block(block)], names, from: block == 0 ? inputs : width, to: width, c, on: b)
                },
                attentions: try (0..<(c.decoderAttends[index] ? c.blockCount + 1 : 0)).map { block throws(ModelError) in
                    try PixelAttention(level[names.attention(block)], width: width, c, on: b)
                },
                upsample: index == 0
                    ? nil
                    : try level.convolution(
                        names.upsample, from: width, to: width, kernel: 3,
                        ConvolutionGeometry(padding: 1, upsampling: 2), on: b))
        }
        normOut = try weights.groupNorm(
            names.normOut, channels: c.channels[0], groups: c.groupCount, epsilon: c.normEpsilon, on: b)
        convolutionOut = try weights.convolution(
            "conv_out", from: c.channels[0], to: c.outputChannels, kernel: 3, .same, on: b)
    }

    /// - Parameter latents: `[batch, height, width, latent channels]`
    /// - Returns: `[batch, scale · height, scale · width, output channels]`
    func callAsFunction(_ latents: Tensor, _ c: VQGANConfiguration, on b: any Backend) -> Tensor {
        var x = b.convolve(latents, convolutionIn)  // [batch, height, width, channels]
        x = middle(x, c.activation, on: b)
        for level in levels {
            for (index, block) in level.blocks.enumerated() {
                x = b.replacing(x) { block($0, c.activation, on: b) }
                if index < level.attentions.count { x = b.replacing(x) { level.attentions[index]($0, on: b) } }
            }
            if let upsample = level.upsample { x = b.replacing(x) { b.convolve($0, upsample) } }
        }
        return b.replacing(x) { b.groupNormConvolve($0, normOut, .silu, convolutionOut) }  // [batch, …, outputs]
    }
}
