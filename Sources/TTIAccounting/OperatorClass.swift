/// What kind of work an operation is: the classes by which time, FLOP and bytes are added up.
package enum OperatorClass: String, Sendable, CaseIterable {
    /// Products with a matrix of weights.
    case linear
    case convolution
    /// Self-attention over the places of an image or a text, all at once.
    case spatialAttention = "attention.spatial"
    /// Self-attention over the frames of a video.
    case temporalAttention = "attention.temporal"
    /// Attention to another sequence, such as the text.
    case crossAttention = "attention.cross"
    /// One query over a cache.
    case decodeAttention = "attention.decode"
    case norm
    /// Sums, activations, gates, modulations.
    case elementwise
    /// Guidance, the choice of tokens, a scheduler's update.
    case sampling
    /// What only moves numbers: lookups, gathers, concatenations, copies.
    case other

    /// The class of an operation by its name; attention over whole sequences counts as self-attention here.
    package init(operation name: String) {
        self =
            switch name {
            case "linear", "normLinear", "joinedLinear", "gatedFeedForward", "nearestCode": .linear
            case "convolve", "depthwiseConvolve", "groupNormConvolve", "joinedGroupNormConvolve": .convolution
            case "attention": .spatialAttention
            case "append", "decodeAttention", "qkvDecodeAttention": .decodeAttention
            case "norm", "groupNorm", "joinedGroupNorm", "globalResponseNorm", "normModulate": .norm
            case "add", "activate", "gate", "modulate", "rotate": .elementwise
            case "guide", "sample", "guideAndSample", "maskedPlaces", "unmask", "combine": .sampling
            default: .other
            }
    }

    package var isAttention: Bool { rawValue.hasPrefix("attention") }
}
