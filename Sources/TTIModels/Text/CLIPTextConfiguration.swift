package import TTICore
package import TTIFormats

/// The shape of a CLIP text encoder (config.json of transformers' CLIPTextModel and CLIPTextModelWithProjection).
package struct CLIPTextConfiguration: Sendable, Hashable {
    package var vocabularySize = 49408
    /// The residual stream's width.
    package var width = 512
    package var mlpWidth = 2048
    package var layerCount = 12
    package var headCount = 8
    /// The most tokens that a text can have.
    package var maximumLength = 77
    package var activation = Activation.quickGelu
    package var normEpsilon: Float = 1e-5
    /// Pooling reads the first token with this id; 2, the id that old files wrongly give, stands for the largest id.
    package var endToken = 49407
    /// What texts are padded with; not used by the network itself.
    package var padToken = 1
    /// The width of `text_embeds`; nil for a model without projection.
    package var projectionWidth: Int?

    package init() {}

    /// - Parameter className: the class in model_index.json; "CLIPTextModelWithProjection" has a projection. Without a
    ///   name, the file's own `architectures` decide.
    package init(_ file: Configuration, className: String? = nil) throws(FormatError) {
        // The file of a whole CLIP keeps the text part one level down.
        let fields = try file.section("text_config") ?? file
        vocabularySize = try fields.integer("vocab_size", default: 49408, in: ModelLimits.vocabularies)
        width = try fields.integer("hidden_size", default: 512, in: ModelLimits.widths)
        mlpWidth = try fields.integer("intermediate_size", default: 2048, in: ModelLimits.mlpWidths)
        layerCount = try fields.integer("num_hidden_layers", default: 12, in: 1...1024)
        headCount = try fields.integer("num_attention_heads", default: 8, in: ModelLimits.widths)
        try fields.check(heads: headCount, "num_attention_heads", divide: width, "hidden_size")
        maximumLength = try fields.integer("max_position_embeddings", default: 77, in: ModelLimits.lengths)
        activation = try fields.activation("hidden_act", default: "quick_gelu")
        normEpsilon = try fields.epsilon("layer_norm_eps", default: 1e-5)
        endToken = try fields.integer("eos_token_id", default: 49407, in: ModelLimits.tokens)
        padToken = try fields.integer("pad_token_id", default: 1, in: ModelLimits.tokens)
        let architecture = className ?? file.json["architectures"]?.array?.first?.string
        if architecture == "CLIPTextModelWithProjection" {
            projectionWidth = try fields.integer("projection_dim", default: 512, in: ModelLimits.widths)
        }
    }

    /// The encoder of Stable Diffusion 1, and the first one of XL: CLIP ViT-L/14's text half.
    package static var clipL: CLIPTextConfiguration {
        var c = CLIPTextConfiguration.amused
        c.projectionWidth = nil
        return c
    }

    /// The second encoder of Stable Diffusion XL: OpenCLIP ViT-bigG/14's text half.
    package static var clipBigG: CLIPTextConfiguration {
        var c = CLIPTextConfiguration()
        (c.width, c.mlpWidth, c.layerCount, c.headCount, c.projectionWidth) = (1280, 5120, 32, 20, 1280)
        c.activation = .gelu
        return c
    }

    /// The encoder of aMUSEd: CLIP ViT-L/14's text half with its projection.
    package static var amused: CLIPTextConfiguration {
        var c = CLIPTextConfiguration()
        (c.width, c.mlpWidth, c.layerCount, c.headCount, c.projectionWidth) = (768, 3072, 12, 12, 768)
        return c
    }
}
