package import TTIFormats

/// The shape of a latent diffusion UNet (config.json of diffusers' UNet2DConditionModel; defaults are diffusers').
package struct UNetConfiguration: Sendable, Hashable {
    /// One resolution.
    package struct Level: Sendable, Hashable {
        package var channels: Int
        /// Residual blocks on the way in; there is one more on the way out.
        package var blockCount = 2
        package var headCount = 8
        /// Transformer layers behind each residual block; 0 where none attends.
        package var encoderLayers = 1
        package var decoderLayers = 1
    }

    /// SDXL's second condition: pooled text and the sizes of the picture.
    package struct AddedCondition: Sendable, Hashable {
        /// Width of the waves of one size.
        package var sizeWidth = 256
        /// Width of pooled text and all sizes together.
        package var width = 2816

        /// How many sizes there are: height, width, crop, crop, height, width.
        package static let sizeCount = 6
        package var pooledTextWidth: Int { width - AddedCondition.sizeCount * sizeWidth }
    }

    package var inputChannels = 4
    package var outputChannels = 4
    /// From the picture inwards.
    package var levels = [320, 640, 1280, 1280].map { Level(channels: $0) }
    /// Transformer layers between the two innermost residual blocks; 0 when they do not attend.
    package var middleLayers = 1
    /// Width of the text states.
    package var textWidth = 768
    package var added: AddedCondition?
    package var groupCount = 32
    package var normEpsilon: Float = 1e-5
    /// Whether the projections around transformer layers are kept as matrices, not as 1×1 convolutions.
    package var hasLinearProjections = false
    /// The side of the latents that the model was trained on.
    package var latentSide = 64

    package init() {}

    package init(_ fields: Configuration) throws(FormatError) {
        typealias Limits = ModelLimits
        inputChannels = try fields.integer("in_channels", default: 4, in: 1...64)
        outputChannels = try fields.integer("out_channels", default: 4, in: 1...64)
        textWidth = try fields.integer("cross_attention_dim", default: 1280, in: Limits.widths)
        groupCount = try fields.integer("norm_num_groups", default: 32, in: Limits.widths)
        normEpsilon = try fields.epsilon("norm_eps", default: 1e-5)
        hasLinearProjections = try fields.bool("use_linear_projection", default: false)
        latentSide = try fields.integer("sample_size", default: 64, in: Limits.gridSides)
        let channels = try fields.integers(
            "block_out_channels", default: [320, 640, 1280, 1280], count: 1...10, in: Limits.widths)
        let blocks = try fields.perLevel("layers_per_block", default: 2, channels.count, in: Limits.layers)
        let layers = try fields.perLevel("transformer_layers_per_block", default: 1, channels.count, in: 1...1024)
        // What the files call the width of a head has always been the number of heads.
        let heads = try fields.perLevel(
            fields.contains("num_attention_heads") ? "num_attention_heads" : "attention_head_dim", default: 8,
            channels.count, in: Limits.widths)
        let (crossDown, plainDown) = ("CrossAttnDownBlock2D", "DownBlock2D")
        let (crossUp, plainUp) = ("CrossAttnUpBlock2D", "UpBlock2D")
        let down = try fields.attends(
            "down_block_types", default: [crossDown, crossDown, crossDown, plainDown], attending: crossDown,
            plain: plainDown, channels.count)
        // The list of the way out begins inside.
        let up =
            try fields.attends(
                "up_block_types", default: [plainUp, crossUp, crossUp, crossUp], attending: crossUp, plain: plainUp,
                channels.count
            ).reversed() as [Bool]
        levels = channels.indices.map { index in
            Level(
                channels: channels[index], blockCount: blocks[index], headCount: heads[index],
                encoderLayers: down[index] ? layers[index] : 0, decoderLayers: up[index] ? layers[index] : 0)
        }
        let middle = try fields.string("mid_block_type", default: "UNetMidBlock2DCrossAttn")
        guard ["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"].contains(middle) else {
            throw fields.error("'mid_block_type' is \(quoted(middle)), not 'UNetMidBlock2DCrossAttn'")
        }
        middleLayers = middle == "UNetMidBlock2D" ? 0 : layers[layers.count - 1]
        if fields.contains("addition_embed_type") {
            try fields.require("addition_embed_type", "text_time")
            var condition = AddedCondition()
            condition.sizeWidth = try fields.integer("addition_time_embed_dim", default: 256, in: 2...65536)
            condition.width = try fields.integer("projection_class_embeddings_input_dim", in: Limits.widths)
            guard condition.pooledTextWidth > 0 else {
                throw fields.error(
                    "'projection_class_embeddings_input_dim' is \(condition.width), too few for the sizes of a picture")
            }
            added = condition
        }
        try checkGraph(fields)
        for level in levels {
            try fields.check(
                heads: level.headCount, "attention_head_dim", divide: level.channels, "block_out_channels")
            guard level.channels % groupCount == 0 else {
                throw fields.error(
                    "'norm_num_groups' is \(groupCount) and does not divide \(level.channels) of 'block_out_channels'")
            }
        }
        guard channels[0] % 2 == 0 else {
            throw fields.error("'block_out_channels' begins with \(channels[0]), an odd number")
        }
    }

    /// Checks what would change the graph.
    private func checkGraph(_ fields: Configuration) throws(FormatError) {
        try fields.require("act_fn", "silu")
        try fields.require("resnet_time_scale_shift", "default")
        try fields.require("time_embedding_type", "positional")
        for (field, value) in [
            ("flip_sin_to_cos", true), ("dual_cross_attention", false), ("center_input_sample", false),
        ]
        where try fields.bool(field, default: value) != value {
            throw fields.error("'\(field)' is \(!value); only \(value) is supported")
        }
        for (field, value) in [
            ("freq_shift", 0), ("downsample_padding", 1), ("mid_block_scale_factor", 1), ("conv_in_kernel", 3),
            ("conv_out_kernel", 3),
        ] where try fields.number(field, default: Double(value)) != Double(value) {
            throw fields.error("'\(field)' is another number than \(value), which is not supported")
        }
        for field in [
            "class_embed_type", "num_class_embeds", "encoder_hid_dim", "encoder_hid_dim_type", "time_cond_proj_dim",
            "timestep_post_act", "cross_attention_norm", "time_embedding_act_fn", "time_embedding_dim",
            "reverse_transformer_layers_per_block",
        ] where fields.contains(field) {
            throw fields.error("'\(field)' is set, which is not supported")
        }
        guard fields.json["only_cross_attention"]?.bool ?? false == false else {
            throw fields.error("'only_cross_attention' is true; only false is supported")
        }
    }

    /// Latents of one side are multiples of this.
    package var latentStep: Int { 1 << (levels.count - 1) }

    /// Width of the time embedding.
    package var timeWidth: Int { 4 * levels[0].channels }

    /// Stable Diffusion 1.5.
    package static var sd15: UNetConfiguration {
        var c = UNetConfiguration()
        (c.levels[3].encoderLayers, c.levels[3].decoderLayers) = (0, 0)
        return c
    }

    /// Stable Diffusion XL, base.
    package static var sdxl: UNetConfiguration {
        var c = UNetConfiguration()
        c.levels = [
            Level(channels: 320, headCount: 5, encoderLayers: 0, decoderLayers: 0),
            Level(channels: 640, headCount: 10, encoderLayers: 2, decoderLayers: 2),
            Level(channels: 1280, headCount: 20, encoderLayers: 10, decoderLayers: 10),
        ]
        (c.middleLayers, c.textWidth, c.added, c.hasLinearProjections, c.latentSide) = (
            10, 2048, AddedCondition(), true, 128
        )
        return c
    }
}

extension Configuration {
    /// One integer for all levels, or one for each.
    fileprivate func perLevel(
        _ field: String, default fallback: Int, _ count: Int, in range: ClosedRange<Int>
    ) throws(FormatError) -> [Int] {
        if json[field]?.array != nil { return try integers(field, count: count...count, in: range) }
        return [Int](repeating: try integer(field, default: fallback, in: range), count: count)
    }

    /// Which blocks of a list attend.
    fileprivate func attends(
        _ field: String, default fallback: [String], attending: String, plain: String, _ count: Int
    ) throws(FormatError) -> [Bool] {
        let types = try strings(field, default: fallback)
        guard types.count == count else {
            throw error("'\(field)' has \(types.count) entries, and 'block_out_channels' has \(count)")
        }
        for type in types where type != plain && type != attending {
            throw error("'\(field)' has \(quoted(type)), not '\(plain)' or '\(attending)'")
        }
        return types.map { $0 == attending }
    }
}
