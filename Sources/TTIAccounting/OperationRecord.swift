/// One operation that was asked for, and what it costs on any device: arithmetic and memory traffic that cannot be avoided.
///
/// FLOP: 2 for a multiply-add of a product; elsewhere 1 for each arithmetic operation and for each exponential, root or the
/// like. Keys that a mask by shape (causal, window) hides are not counted; padding is.
///
/// Bytes: every input once and every output once, weights in their own type. What a cache does between is not counted.
package struct OperationRecord: Sendable {
    /// The name of the requirement, such as "linear".
    package let name: String
    /// Shapes of the operands, such as "[2, 1, 1024] × [4096, 1024]".
    package let shapes: String
    package let flops: Int
    /// Bytes of weights and tables that are read.
    package let weightBytes: Int
    /// Bytes of everything else that is read.
    package let bytesRead: Int
    package let bytesWritten: Int

    /// All bytes.
    package var bytes: Int { weightBytes + bytesRead + bytesWritten }
    /// FLOP for each byte; 0 when nothing moves.
    package var intensity: Double { bytes == 0 ? 0 : Double(flops) / Double(bytes) }
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
