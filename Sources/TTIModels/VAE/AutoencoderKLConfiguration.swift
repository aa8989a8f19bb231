import TTICore
package import TTIFormats

/// The shape of a latent diffusion autoencoder (config.json of diffusers' AutoencoderKL; defaults are diffusers').
package struct AutoencoderKLConfiguration: Sendable, Hashable {
    /// Everything between pixels and latents, which a VQGAN has too.
    package var network = VQGANConfiguration()
    /// What latents are multiplied by for diffusion, so that their variance is about 1.
    package var scalingFactor: Float = 0.18215
    /// What is taken from them before.
    package var shiftFactor: Float = 0

    package init() { network.latentChannels = 4 }

    package init(_ fields: Configuration) throws(FormatError) {
        network = try VQGANConfiguration(fields)
        network.latentChannels = try fields.integer("latent_channels", default: 4, in: 1...64)
        scalingFactor = Float(try fields.number("scaling_factor", default: 0.18215, in: 1e-6...1e6))
        shiftFactor = Float(try fields.number("shift_factor", default: 0, in: -1e6...1e6))
        for field in ["use_quant_conv", "use_post_quant_conv"] where try !fields.bool(field, default: true) {
            throw fields.error("'\(field)' is false; only true is supported")
        }
        for field in ["latents_mean", "latents_std"] where fields.contains(field) {
            throw fields.error("'\(field)' is set, which is not supported")
        }
    }

    /// Pixels of a latent's side.
    package var scale: Int { network.scale }

    /// The autoencoder of Stable Diffusion 1, 2 and XL.
    package static var stableDiffusion: AutoencoderKLConfiguration {
        var c = AutoencoderKLConfiguration()
        c.network.channels = [128, 256, 512, 512]
        c.network.blockCount = 2
        (c.network.encoderAttends, c.network.decoderAttends) = (
            [Bool](repeating: false, count: 4), [Bool](repeating: false, count: 4)
        )
        return c
    }
}
