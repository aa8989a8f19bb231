package import TTICore
package import TTIFormats

/// The shape of a Parti model (transformer/config.json of the Parti layout).
package struct PartiConfiguration: Sendable, Hashable {
    package var vocabularySize = 16000
    package var codebookSize = 8192
    /// The most tokens that a prompt can have.
    package var maximumTextLength = 128
    /// Image tokens down and across.
    package var imageHeight = 32
    package var imageWidth = 32
    /// The residual stream's width, in both halves.
    package var width = 1024
    package var encoderLayerCount = 12
    package var decoderLayerCount = 12
    package var encoderMLPWidth = 4096
    package var decoderMLPWidth = 4096
    package var headCount = 16
    package var activation = Activation.relu
    package var normEpsilon: Float = 1e-5
    package var usesBias = false
    package var padToken = 0
    package var endToken = 1
    /// The side of the square that a query sees, besides the start token; nil: it sees everything before it.
    package var windowSize: Int?

    package init() {}

    package init(_ fields: Configuration) throws(FormatError) {
        typealias Limits = ModelLimits
        vocabularySize = try fields.integer("vocab_size", in: Limits.vocabularies)
        codebookSize = try fields.integer("image_vocab_size", in: Limits.vocabularies)
        maximumTextLength = try fields.integer("max_text_length", in: Limits.lengths)
        imageHeight = try fields.integer("image_height", in: 1...1024)
        imageWidth = try fields.integer("image_width", in: 1...1024)
        width = try fields.integer("d_model", in: Limits.widths)
        encoderLayerCount = try fields.integer("encoder_layers", in: Limits.layers)
        decoderLayerCount = try fields.integer("decoder_layers", in: 1...1024)
        encoderMLPWidth = try fields.integer("encoder_ffn_dim", in: Limits.mlpWidths)
        decoderMLPWidth = try fields.integer("decoder_ffn_dim", in: Limits.mlpWidths)
        headCount = try fields.integer("num_heads", in: Limits.widths)
        try fields.check(heads: headCount, "num_heads", divide: width, "d_model")
        activation = try fields.activation("activation_function", default: "gelu")
        guard [.gelu, .geluTanh, .relu].contains(activation) else {
            throw fields.error("'activation_function' is not one of gelu, gelu_new, relu")
        }
        normEpsilon = try fields.epsilon("layer_norm_eps", default: 1e-5)
        usesBias = try fields.bool("use_bias", default: false)
        padToken = try fields.integer("pad_token_id", default: 0, in: Limits.tokens)
        endToken = try fields.integer("eos_token_id", default: 1, in: Limits.tokens)
        let start = try fields.integer("decoder_start_token_id", default: codebookSize, in: Limits.tokens)
        guard start == codebookSize else {
            throw fields.error("'decoder_start_token_id' is \(start), not 'image_vocab_size', which is \(codebookSize)")
        }
        windowSize = try fields.integerIfPresent("conv_attention_window", in: 1...1023)
        if let windowSize, windowSize % 2 == 0 {
            throw fields.error("'conv_attention_window' is \(windowSize), not an odd number")
        }
    }

    /// The id that decoding begins with: one row more than there are codes.
    package var startToken: Int { codebookSize }

    /// How many tokens an image has.
    package var imageLength: Int { imageHeight * imageWidth }

    /// What a query of the decoder sees.
    package var window: AttentionWindow? { windowSize.map { AttentionWindow(columns: imageWidth, size: $0) } }

    // MARK: Table 1 of Yu et al. 2022

    package static var parti350M: PartiConfiguration { size(width: 1024, encoder: 12, decoder: 12, heads: 16) }
    package static var parti750M: PartiConfiguration { size(width: 1024, encoder: 12, decoder: 36, heads: 16) }
    package static var parti3B: PartiConfiguration { size(width: 2048, encoder: 12, decoder: 36, heads: 32) }
    package static var parti20B: PartiConfiguration { size(width: 4096, encoder: 16, decoder: 64, heads: 64) }

    private static func size(width: Int, encoder: Int, decoder: Int, heads: Int) -> PartiConfiguration {
        var c = PartiConfiguration()
        (c.width, c.encoderMLPWidth, c.decoderMLPWidth) = (width, 4 * width, 4 * width)
        (c.encoderLayerCount, c.decoderLayerCount, c.headCount) = (encoder, decoder, heads)
        return c
    }
}
