package import TTIAccounting

/// A list of operations by their shapes: the small language in which models that are not in the house are described. Every
/// line costs what `AccountingBackend` says that the operation costs; a test compares the two.
package struct OperatorShapes: Sendable {
    package private(set) var operations: [OperationRecord] = []
    /// Bytes of an activation, of a weight, of a cached key or value.
    let elementBytes: Int
    /// Numbers in all weights so far that were not there before (`reusing` counts none).
    package private(set) var parameters = 0
    private var countsParameters = true

    package init(elementBytes: Int) { self.elementBytes = elementBytes }

    /// The same weights once more.
    mutating func reusing(_ body: (inout OperatorShapes) -> Void) {
        let counted = countsParameters
        countsParameters = false
        body(&self)
        countsParameters = counted
    }

    private mutating func note(
        _ name: String, _ shapes: String, kind: OperatorClass? = nil, flops: Int, weights: Int = 0, read: Int,
        written: Int, attention: AttentionShape? = nil
    ) {
        if countsParameters { parameters += weights }
        operations.append(
            OperationRecord(
                name: name, kind: kind ?? OperatorClass(operation: name), shapes: shapes, flops: flops,
                parameters: weights, weightBytes: weights * elementBytes, bytesRead: read * elementBytes,
                bytesWritten: written * elementBytes, attention: attention))
    }

    // MARK: Operations

    /// `rows` times a matrix, with a bias or without, and a residual that is read.
    mutating func linear(_ rows: Int, _ inputs: Int, _ outputs: Int, bias: Bool = false, residual: Bool = false) {
        note(
            "linear", "[\(rows), \(inputs)] × [\(outputs), \(inputs)]", flops: 2 * rows * inputs * outputs,
            weights: inputs * outputs + (bias ? outputs : 0), read: rows * inputs + (residual ? rows * outputs : 0),
            written: rows * outputs)
    }

    /// A convolution by the size of its result.
    /// - Parameters:
    ///   - area: of an image that is read, where it is not that of the result.
    ///   - taps: of the kernel: 9 for 3×3, 3 over frames.
    mutating func convolve(
        _ images: Int, _ pixels: Int, _ inputs: Int, _ outputs: Int, taps: Int = 9, area: Int? = nil,
        residual: Bool = false
    ) {
        note(
            "convolve", "[\(images), \(pixels), \(inputs)] × [\(outputs), \(inputs), \(taps)]",
            flops: 2 * images * pixels * inputs * outputs * taps, weights: inputs * outputs * taps + outputs,
            read: images * (area ?? pixels) * inputs + (residual ? images * pixels * outputs : 0),
            written: images * pixels * outputs)
    }

    /// Self-attention or attention to another sequence; a causal one counts the pairs that it sees.
    mutating func attention(
        _ kind: OperatorClass, _ rows: Int, _ queries: Int, _ keys: Int, heads: Int, _ headWidth: Int,
        isCausal: Bool = false
    ) {
        let width = heads * headWidth
        let pairs = isCausal ? queries * (queries + 1) / 2 : queries * keys
        note(
            "attention", "[\(rows), \(queries), \(width)] over \(keys), \(heads) heads", kind: kind,
            flops: rows * pairs * (4 * width + 4 * heads), read: rows * (queries + 2 * keys) * width,
            written: rows * queries * width,
            attention: AttentionShape(rows: rows, queries: queries, keys: keys, heads: heads, headWidth: headWidth))
    }

    /// One query a row over a cache of `keys`.
    mutating func decodeAttention(_ rows: Int, _ keys: Int, heads: Int, _ headWidth: Int) {
        let width = heads * headWidth
        note(
            "decodeAttention", "[\(rows), 1, \(width)] over \(keys), \(heads) heads",
            flops: rows * keys * (4 * width + 4 * heads), read: rows * (1 + 2 * keys) * width, written: rows * width,
            attention: AttentionShape(rows: rows, queries: 1, keys: keys, heads: heads, headWidth: headWidth))
    }

    /// A layer norm (8 FLOP an element) or an RMS norm (4) of `rows` rows, with a weight and without a bias.
    mutating func norm(_ rows: Int, _ width: Int, isRMS: Bool = false) {
        note(
            "norm", "[\(rows), \(width)]", flops: (isRMS ? 4 : 8) * rows * width, weights: width, read: rows * width,
            written: rows * width)
    }

    /// A group norm with SiLU (12 FLOP an element) or without (8).
    mutating func groupNorm(_ elements: Int, channels: Int, silu: Bool = true) {
        note(
            "groupNorm", "[\(elements / channels), \(channels)]", flops: (silu ? 12 : 8) * elements,
            weights: 2 * channels, read: elements, written: elements)
    }

    /// value · activation(gate): two halves of `[rows, 2 · width]`.
    mutating func gate(_ rows: Int, _ width: Int) {
        note("gate", "[\(rows), \(2 * width)]", flops: 5 * rows * width, read: 2 * rows * width, written: rows * width)
    }

    /// Something elementwise on two operands.
    mutating func add(_ elements: Int) {
        note("add", "[\(elements)]", flops: elements, read: 2 * elements, written: elements)
    }

    /// Moves numbers: a concatenation, a lookup.
    mutating func move(_ elements: Int) {
        note("concatenate", "[\(elements)]", flops: 0, read: elements, written: elements)
    }
}
