package import TTIFormats

/// The shape of a text-conditional LlamaGen model, with the names of its own `ModelArgs`.
package struct LlamaGenConfiguration: Sendable, Hashable {
    package var codebookSize = 16384
    /// Tokens of a caption, before the image's.
    package var textLength = 120
    /// The width of a caption's features (FLAN-T5 XL).
    package var textWidth = 2048
    /// Image tokens down and across.
    package var gridSide = 32
    package var width = 1280
    package var layerCount = 36
    package var headCount = 20
    package var mlpWidth = 3584
    package var normEpsilon: Float = 1e-5
    package var rotaryBase: Float = 10000

    package init() {}

    package init(_ fields: Configuration) throws(FormatError) {
        typealias Limits = ModelLimits
        try fields.require("model_type", "t2i")
        codebookSize = try fields.integer("vocab_size", in: Limits.vocabularies)
        textLength = try fields.integer("cls_token_num", in: 1...4096)
        textWidth = try fields.integer("caption_dim", in: Limits.widths)
        let places = try fields.integer("block_size", in: 1...1_048_576)
        gridSide = Int(Double(places).squareRoot().rounded())
        guard gridSide * gridSide == places else {
            throw fields.error("'block_size' is \(places), not the tokens of a square")
        }
        width = try fields.integer("dim", in: Limits.widths)
        layerCount = try fields.integer("n_layer", in: 1...1024)
        headCount = try fields.integer("n_head", in: Limits.widths)
        try fields.check(heads: headCount, "n_head", divide: width, "dim")
        guard width / headCount % 4 == 0 else {
            throw fields.error(
                "'dim' / 'n_head' is \(width / headCount), not a multiple of 4: pairs for rows and columns")
        }
        if let keys = try fields.integerIfPresent("n_kv_head", in: Limits.widths), keys != headCount {
            throw fields.error("'n_kv_head' is \(keys), not 'n_head', which is \(headCount)")
        }
        let multiple = try fields.integer("multiple_of", default: 256, in: 1...65536)
        let factor = try fields.number("ffn_dim_multiplier", default: 1, in: 0.01...64)
        mlpWidth = LlamaGenConfiguration.mlpWidth(of: width, factor: factor, multiple: multiple)
        normEpsilon = try fields.epsilon("norm_eps", default: 1e-5)
        rotaryBase = Float(try fields.number("rope_base", default: 10000, in: 1...1e9))
    }

    /// Two thirds of four widths, which three matrices have in common with two of four, rounded up.
    static func mlpWidth(of width: Int, factor: Double = 1, multiple: Int = 256) -> Int {
        let inner = Int(factor * Double(8 * width / 3))
        return (inner + multiple - 1) / multiple * multiple
    }

    /// How many tokens an image has.
    package var imageLength: Int { gridSide * gridSide }
    /// Tokens of a caption and an image.
    package var sequenceLength: Int { textLength + imageLength }
    package var headWidth: Int { width / headCount }

    /// GPT-XL, the size that has weights for captions: images of 512 pixels.
    package static let xl = LlamaGenConfiguration()
}
