/// One operation that was asked for, and what it costs on any device: arithmetic and memory traffic that cannot be avoided.
///
/// FLOP: 2 for a multiply-add of a product; elsewhere 1 for each arithmetic operation and for each exponential, root or the
/// like. Keys that a mask by shape (causal, window) hides are not counted; padding is.
///
/// Bytes: every input once and every output once, weights in their own type. What a cache does between is not counted.
package struct OperationRecord: Sendable {
    /// The name of the requirement, such as "linear".
    package let name: String
    package let kind: OperatorClass
    /// Shapes of the operands, such as "[2, 1, 1024] × [4096, 1024]".
    package let shapes: String
    package let flops: Int
    /// Parameters that are touched.
    package let parameters: Int
    /// Bytes of weights and tables that are read.
    package let weightBytes: Int
    /// Bytes of everything else that is read.
    package let bytesRead: Int
    package let bytesWritten: Int
    /// What attends to what; nil for other operations (of eager attention its first one has it).
    package var attention: AttentionShape?

    package init(
        name: String, kind: OperatorClass, shapes: String, flops: Int, parameters: Int = 0, weightBytes: Int = 0,
        bytesRead: Int = 0, bytesWritten: Int = 0, attention: AttentionShape? = nil
    ) {
        (self.name, self.kind, self.shapes) = (name, kind, shapes)
        (self.flops, self.parameters, self.weightBytes) = (flops, parameters, weightBytes)
        (self.bytesRead, self.bytesWritten, self.attention) = (bytesRead, bytesWritten, attention)
    }

    /// All bytes.
    package var bytes: Int { weightBytes + bytesRead + bytesWritten }
    /// FLOP for each byte; 0 when nothing moves.
    package var intensity: Double { bytes == 0 ? 0 : Double(flops) / Double(bytes) }
}

/// The extents of one call of attention.
package struct AttentionShape: Sendable, Hashable {
    package let rows: Int
    package let queries: Int
    /// The sequence length: of all keys, whatever a mask hides.
    package let keys: Int
    package let heads: Int
    package let headWidth: Int

    package init(rows: Int, queries: Int, keys: Int, heads: Int, headWidth: Int) {
        (self.rows, self.queries, self.keys, self.heads, self.headWidth) = (rows, queries, keys, heads, headWidth)
    }

    /// Elements of the matrix of scores, which flash attention never writes.
    package var scoreCount: Int { rows * heads * queries * keys }
}

/// The cost of many operations together.
package struct OperationTotals: Sendable {
    package private(set) var calls = 0
    package private(set) var flops = 0
    package private(set) var weightBytes = 0
    package private(set) var bytesRead = 0
    package private(set) var bytesWritten = 0

    package init(_ records: some Sequence<OperationRecord>) {
        for record in records { add(record) }
    }

    package mutating func add(_ record: OperationRecord) {
        calls += 1
        flops += record.flops
        weightBytes += record.weightBytes
        bytesRead += record.bytesRead
        bytesWritten += record.bytesWritten
    }

    /// All bytes.
    package var bytes: Int { weightBytes + bytesRead + bytesWritten }
    /// FLOP for each byte; 0 when nothing moves.
    package var intensity: Double { bytes == 0 ? 0 : Double(flops) / Double(bytes) }
}
