package import TTICore
package import TTIFormats

/// The shape of a T5 encoder (config.json of transformers' T5EncoderModel; defaults are transformers').
package struct T5TextConfiguration: Sendable, Hashable {
    package var vocabularySize = 32128
    /// The residual stream's width.
    package var width = 512
    /// Width of one head; all heads together need not be as wide as the residual stream.
    package var headWidth = 64
    package var mlpWidth = 2048
    package var layerCount = 6
    package var headCount = 8
    /// Distances are told apart in so many classes, up to `maximumDistance`.
    package var bucketCount = 32
    package var maximumDistance = 128
    package var activation = Activation.relu
    /// Whether the feed-forward is a gated one (version 1.1).
    package var isGated = false
    package var normEpsilon: Float = 1e-6
    package var padToken = 0
    package var endToken = 1

    package init() {}

    package init(_ fields: Configuration) throws(FormatError) {
        typealias Limits = ModelLimits
        vocabularySize = try fields.integer("vocab_size", default: 32128, in: Limits.vocabularies)
        width = try fields.integer("d_model", default: 512, in: Limits.widths)
        headWidth = try fields.integer("d_kv", default: 64, in: 1...1024)
        mlpWidth = try fields.integer("d_ff", default: 2048, in: Limits.mlpWidths)
        layerCount = try fields.integer("num_layers", default: 6, in: 1...1024)
        headCount = try fields.integer("num_heads", default: 8, in: 1...1024)
        bucketCount = try fields.integer("relative_attention_num_buckets", default: 32, in: 4...65536)
        maximumDistance = try fields.integer("relative_attention_max_distance", default: 128, in: 1...65536)
        normEpsilon = try fields.epsilon("layer_norm_epsilon", default: 1e-6)
        padToken = try fields.integer("pad_token_id", default: 0, in: Limits.tokens)
        endToken = try fields.integer("eos_token_id", default: 1, in: Limits.tokens)
        let projection = try fields.string("feed_forward_proj", default: "relu")
        isGated = projection.hasPrefix("gated-")
        // Files of version 1.1 say gelu and mean its tanh form.
        let name = projection == "gated-gelu" ? "gelu_new" : isGated ? String(projection.dropFirst(6)) : projection
        guard let activation = Activation(name: name) else {
            throw fields.error("'feed_forward_proj' is \(quoted(projection)), whose activation is not known")
        }
        self.activation = activation
        guard maximumDistance > bucketCount / 4 else {
            throw fields.error(
                "'relative_attention_max_distance' is \(maximumDistance), too few for \(bucketCount) buckets")
        }
    }

    /// The encoder of Muse, Imagen and their like: 4.76 thousand million parameters.
    package static var xxl: T5TextConfiguration {
        var c = T5TextConfiguration()
        (c.width, c.mlpWidth, c.layerCount, c.headCount) = (4096, 10240, 24, 64)
        (c.isGated, c.activation) = (true, .geluTanh)
        return c
    }
}
