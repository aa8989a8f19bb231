package import TTICore
package import TTIFormats

/// The shape of a VQGAN (config.json of diffusers' VQModel; defaults are diffusers').
package struct VQGANConfiguration: Sendable, Hashable {
    package var inputChannels = 3
    package var outputChannels = 3
    /// Channels of each resolution, from the picture inwards.
    package var channels = [64]
    /// Residual blocks of a resolution in the encoder; the decoder has one more.
    package var blockCount = 1
    package var latentChannels = 3
    package var codebookSize = 256
    package var codeWidth = 3
    package var groupCount = 32
    package var activation = Activation.silu
    /// Which resolutions attend, from the picture inwards.
    package var encoderAttends = [false]
    package var decoderAttends = [false]
    package var middleAttends = true
    /// The epsilon of all norms, which no file gives.
    package var normEpsilon: Float = 1e-6

    package init() {}

    package init(_ fields: Configuration) throws(FormatError) {
        typealias Limits = ModelLimits
        inputChannels = try fields.integer("in_channels", default: 3, in: 1...4)
        outputChannels = try fields.integer("out_channels", default: 3, in: 1...4)
        channels = try fields.integers("block_out_channels", default: [64], count: 1...10, in: Limits.widths)
        blockCount = try fields.integer("layers_per_block", default: 1, in: Limits.layers)
        latentChannels = try fields.integer("latent_channels", default: 3, in: Limits.widths)
        codebookSize = try fields.integer("num_vq_embeddings", default: 256, in: Limits.vocabularies)
        codeWidth = try fields.integer("vq_embed_dim", default: latentChannels, in: Limits.widths)
        groupCount = try fields.integer("norm_num_groups", default: 32, in: Limits.widths)
        activation = try fields.activation("act_fn", default: "silu")
        middleAttends = try fields.bool("mid_block_add_attention", default: true)
        try fields.require("norm_type", "group")
        let plain = (down: "DownEncoderBlock2D", up: "UpDecoderBlock2D")
        encoderAttends = try VQGANConfiguration.attention(
            fields, "down_block_types", plain: plain.down, attending: "AttnDownEncoderBlock2D", count: channels.count)
        // The decoder's list begins inside.
        decoderAttends = try VQGANConfiguration.attention(
            fields, "up_block_types", plain: plain.up, attending: "AttnUpDecoderBlock2D", count: channels.count
        ).reversed()
        for width in channels where width % groupCount != 0 {
            throw fields.error(
                "'norm_num_groups' is \(groupCount) and does not divide \(width) of 'block_out_channels'")
        }
    }

    /// Which blocks of a list attend.
    private static func attention(
        _ fields: Configuration, _ field: String, plain: String, attending: String, count: Int
    ) throws(FormatError) -> [Bool] {
        let types = try fields.strings(field, default: [String](repeating: plain, count: 1))
        guard types.count == count else {
            throw fields.error("'\(field)' has \(types.count) entries, and 'block_out_channels' has \(count)")
        }
        for type in types where type != plain && type != attending {
            throw fields.error("'\(field)' has \(quoted(type)), not '\(plain)' or '\(attending)'")
        }
        return types.map { $0 == attending }
    }

    /// Pixels of a token's side.
    package var scale: Int { 1 << (channels.count - 1) }

    /// The VQGAN of aMUSEd (and of Meissonic): 8192 codes of 64 numbers, f16.
    package static var amused: VQGANConfiguration {
        var c = VQGANConfiguration()
        c.channels = [128, 256, 256, 512, 768]
        (c.blockCount, c.latentChannels, c.codeWidth, c.codebookSize) = (2, 64, 64, 8192)
        (c.encoderAttends, c.decoderAttends, c.middleAttends) = (
            [Bool](repeating: false, count: 5), [Bool](repeating: false, count: 5), false
        )
        return c
    }

    /// The VQGAN that most of the autoregressive family shares: 16384 codes of 256 numbers, f16, attention inside.
    package static var f16: VQGANConfiguration {
        var c = VQGANConfiguration()
        c.channels = [128, 128, 256, 256, 512]
        (c.blockCount, c.latentChannels, c.codeWidth, c.codebookSize) = (2, 256, 256, 16384)
        let innermost = [false, false, false, false, true]
        (c.encoderAttends, c.decoderAttends, c.middleAttends) = (innermost, innermost, true)
        return c
    }
}
