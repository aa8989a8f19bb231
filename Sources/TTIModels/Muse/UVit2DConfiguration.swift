package import TTIFormats

/// The shape of aMUSEd's transformer (config.json of diffusers' UVit2DModel; defaults are diffusers').
package struct UVit2DConfiguration: Sendable, Hashable {
    /// Rows of the token table: codes, the mask token, and filling up to a round number.
    package var vocabularySize = 8256
    /// Columns of the logits.
    package var codebookSize = 8192
    /// Width of the trunk's residual stream.
    package var width = 1024
    /// Width of the gated feed-forward's inside.
    package var mlpWidth = 2816
    package var layerCount = 22
    package var headCount = 16
    /// Width of token embeddings and of the head's inside.
    package var embeddingWidth = 768
    /// Width of the convolutional blocks around the trunk.
    package var channels = 768
    package var blockHeadCount = 12
    /// Pairs of a residual and an attention block on each side.
    package var blockCount = 3
    /// Whether the trunk sees 2×2 tokens as one, on the way in and on the way out.
    package var downsample = false
    package var upsample = false
    /// Width of the text states.
    package var textWidth = 768
    /// Width of the pooled text.
    package var pooledTextWidth = 768
    /// Width of one micro-condition's waves, and of all of them.
    package var microConditionWidth = 256
    package var microConditionsWidth = 1280
    package var normEpsilon: Float = 1e-6
    package var normsHaveWeights = true
    package var usesBias = false
    /// The side of the token grid that the model was trained on.
    package var gridSide = 16

    package init() {}

    package init(_ fields: Configuration) throws(FormatError) {
        typealias Limits = ModelLimits
        vocabularySize = try fields.integer("vocab_size", default: 8256, in: Limits.vocabularies)
        codebookSize = try fields.integer("codebook_size", default: 8192, in: Limits.vocabularies)
        width = try fields.integer("hidden_size", default: 1024, in: Limits.widths)
        mlpWidth = try fields.integer("intermediate_size", default: 2816, in: Limits.mlpWidths)
        layerCount = try fields.integer("num_hidden_layers", default: 22, in: Limits.layers)
        headCount = try fields.integer("num_attention_heads", default: 16, in: Limits.widths)
        embeddingWidth = try fields.integer("in_channels", default: 768, in: Limits.widths)
        channels = try fields.integer("block_out_channels", default: 768, in: Limits.widths)
        blockHeadCount = try fields.integer("block_num_heads", default: 12, in: Limits.widths)
        blockCount = try fields.integer("num_res_blocks", default: 3, in: Limits.layers)
        downsample = try fields.bool("downsample", default: false)
        upsample = try fields.bool("upsample", default: false)
        textWidth = try fields.integer("encoder_hidden_size", default: 768, in: Limits.widths)
        pooledTextWidth = try fields.integer("cond_embed_dim", default: 768, in: Limits.widths)
        microConditionWidth = try fields.integer("micro_cond_encode_dim", default: 256, in: Limits.widths)
        microConditionsWidth = try fields.integer("micro_cond_embed_dim", default: 1280, in: Limits.widths)
        normEpsilon = try fields.epsilon("layer_norm_eps", default: 1e-6)
        normsHaveWeights = try fields.bool("ln_elementwise_affine", default: true)
        usesBias = try fields.bool("use_bias", default: false)
        gridSide = try fields.integer("sample_size", default: 64, in: Limits.gridSides)
        try fields.check(heads: headCount, "num_attention_heads", divide: width, "hidden_size")
        try fields.check(heads: blockHeadCount, "block_num_heads", divide: channels, "block_out_channels")
        guard microConditionsWidth % microConditionWidth == 0 else {
            throw fields.error(
                "'micro_cond_embed_dim' is \(microConditionsWidth), no multiple of 'micro_cond_encode_dim', which is "
                    + "\(microConditionWidth)")
        }
        guard codebookSize <= vocabularySize else {
            throw fields.error(
                "'vocab_size' is \(vocabularySize), fewer than \(codebookSize) codes")
        }
        guard downsample == upsample else {
            throw fields.error("'upsample' is \(upsample), while 'downsample' is \(downsample)")
        }
    }

    /// How many micro-conditions there are: width, height, crop, crop, aesthetic score.
    package var microConditionCount: Int { microConditionsWidth / microConditionWidth }

    /// The grid that comes out for a grid of tokens: itself, except that the 512 form rounds odd sides up.
    package func outputGrid(height: Int, width: Int) -> (height: Int, width: Int) {
        downsample ? ((height + 1) / 2 * 2, (width + 1) / 2 * 2) : (height, width)
    }

    /// amused/amused-256.
    package static var amused256: UVit2DConfiguration { UVit2DConfiguration() }

    /// amused/amused-512.
    package static var amused512: UVit2DConfiguration {
        var c = UVit2DConfiguration()
        (c.downsample, c.upsample, c.gridSide) = (true, true, 32)
        return c
    }
}
