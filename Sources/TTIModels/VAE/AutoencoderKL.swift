package import TTICore
package import TTIFormats

/// The autoencoder of latent diffusion: pixels to latents and back (Rombach et al. 2022; diffusers' AutoencoderKL).
///
/// Pixels are `[batch, height, width, 3]` in -1...1; latents are the network's own, before any scaling factor.
package struct AutoencoderKL {
    package let configuration: AutoencoderKLConfiguration
    let encoder: VQGANEncoder
    /// The mean alone: its other half, how far latents may be from it, is of use in training only.
    let mean: Linear
    let fromLatents: Linear
    let decoder: VQGANDecoder

    package init(_ weights: Weights, _ c: AutoencoderKLConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        let latents = c.network.latentChannels
        encoder = try VQGANEncoder(weights["encoder"], .diffusers, c.network, outputs: 2 * latents, on: b)
        let moments = try weights["quant_conv"].host("weight", [2 * latents, 2 * latents, 1, 1])
        let spread = try weights["quant_conv"].host("bias", [2 * latents])
        mean = Linear(
            weight: try b.load(matrix: moments.reshaped([2 * latents, 2 * latents]).prefix(latents)),
            bias: try b.load(constant: spread.prefix(latents)))
        fromLatents = try weights.pointwise("post_quant_conv", from: latents, to: latents, bias: true, on: b)
        decoder = try VQGANDecoder(weights["decoder"], .diffusers, c.network, on: b)
    }

    /// Tensors that a checkpoint may hold and that nothing needs: none.
    package static func ignores(_ name: String) -> Bool { false }

    /// - Parameter latents: `[batch, height, width, latent channels]`
    /// - Returns: `[batch, scale · height, scale · width, output channels]`
    package func decode(_ latents: Tensor, on b: any Backend) -> Tensor {
        b.scoped {
            let inner = b.linear(latents, fromLatents)  // [batch, height, width, latent channels]
            return decoder(inner, configuration.network, on: b)
        }
    }

    /// The mean of the latents that a picture may have.
    /// - Parameter pixels: `[batch, height, width, input channels]`, both sides multiples of the scale.
    /// - Returns: `[batch, height / scale, width / scale, latent channels]`
    package func encode(_ pixels: Tensor, on b: any Backend) -> Tensor {
        b.scoped { b.linear(encoder(pixels, configuration.network, on: b), mean) }
    }
}
