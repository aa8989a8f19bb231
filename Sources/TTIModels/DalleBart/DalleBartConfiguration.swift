package import TTIFormats

/// The shape of a DALL-E mini or mega model (dalle-mini's config.json).
package struct DalleBartConfiguration: Sendable, Hashable {
    /// Rows of the encoder's table.
    package var vocabularySize = 50264
    /// What dalle-mini calls the image vocabulary: the decoder's table and head have one row more.
    package var imageVocabularySize = 16384
    /// Codes of the detokenizer; mega's image vocabulary is larger, by ids that stand for no picture.
    package var codebookSize = 16384
    /// The most tokens that a prompt can have.
    package var maximumTextLength = 64
    /// How many tokens an image has.
    package var imageLength = 256
    /// The residual stream's width, in both halves.
    package var width = 1024
    package var encoderLayerCount = 12
    package var decoderLayerCount = 12
    /// Of each half of the gated MLP.
    package var encoderMLPWidth = 2730
    package var decoderMLPWidth = 2730
    package var encoderHeadCount = 16
    package var decoderHeadCount = 16
    package var normEpsilon: Float = 1e-5
    /// The text tokenizer's. 'pad_token_id' in the file is another one: of the image tokens.
    package var padToken = 1

    package init() {}

    package init(_ fields: Configuration) throws(FormatError) {
        typealias Limits = ModelLimits
        vocabularySize = try fields.integer("encoder_vocab_size", in: Limits.vocabularies)
        imageVocabularySize = try fields.integer("image_vocab_size", in: Limits.vocabularies)
        codebookSize = try fields.integer(
            "decoder_start_token_id", default: imageVocabularySize, in: 1...imageVocabularySize)
        maximumTextLength = try fields.integer("max_text_length", in: Limits.lengths)
        imageLength = try fields.integer("image_length", in: Limits.lengths)
        width = try fields.integer("d_model", in: Limits.widths)
        encoderLayerCount = try fields.integer("encoder_layers", in: Limits.layers)
        decoderLayerCount = try fields.integer("decoder_layers", in: 1...1024)
        encoderMLPWidth = try fields.integer("encoder_ffn_dim", in: Limits.mlpWidths)
        decoderMLPWidth = try fields.integer("decoder_ffn_dim", in: Limits.mlpWidths)
        encoderHeadCount = try fields.integer("encoder_attention_heads", in: Limits.widths)
        decoderHeadCount = try fields.integer("decoder_attention_heads", in: Limits.widths)
        try fields.check(heads: encoderHeadCount, "encoder_attention_heads", divide: width, "d_model")
        try fields.check(heads: decoderHeadCount, "decoder_attention_heads", divide: width, "d_model")
        // The variants that dalle-mini's training code tried, none of which was published.
        try fields.require("activation_function", "gelu")
        try fields.require("ln_type", "layernorm")
        try fields.require("ln_positions", "normformer")
        for field in ["use_glu", "use_final_ln_encoder", "use_final_ln_decoder", "use_absolute_position_embeddings"] {
            try fields.require(field, true)
        }
        for field in [
            "use_bias", "scale_embedding", "tie_word_embeddings", "head_scale", "use_head_scale",
            "use_cosine_attention", "use_swin_position_embeddings", "use_deepnet_scaling", "use_alibi",
        ] {
            try fields.require(field, false)
        }
    }

    /// The id that decoding begins with: the first that is no code.
    package var startToken: Int { codebookSize }

    // MARK: Published sizes

    package static var mini: DalleBartConfiguration { DalleBartConfiguration() }

    package static var mega: DalleBartConfiguration {
        var c = DalleBartConfiguration()
        (c.vocabularySize, c.imageVocabularySize, c.width) = (50272, 16415, 2048)
        (c.encoderLayerCount, c.decoderLayerCount) = (24, 24)
        (c.encoderMLPWidth, c.decoderMLPWidth) = (4096, 4096)
        (c.encoderHeadCount, c.decoderHeadCount) = (32, 32)
        return c
    }
}
