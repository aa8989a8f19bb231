package import TTIAccounting

/// A part of making one image, such as the text encoder or all steps, as operations and how often each is done.
package struct StageCost: Sendable {
    package struct Counted: Sendable {
        package let operation: OperationRecord
        package let times: Int
    }

    /// "text", "step", "token", "pixels".
    package let name: String
    /// How often the stage is passed through for an image.
    package let count: Int
    package private(set) var operations: [Counted] = []
    /// Sequence length at every call of self-attention in the smallest pattern that repeats: one pass, or, where the
    /// sequence grows, one call of every pass.
    package private(set) var lengths: [Int] = []
    /// Bytes of the weights that one pass reads.
    package private(set) var weightBytesPerPass = 0

    package init(name: String, count: Int) { (self.name, self.count) = (name, count) }

    /// Adds what one pass does.
    /// - Parameter times: for how many passes it stands.
    package mutating func add(_ pass: [OperationRecord], times: Int) {
        operations += pass.map { Counted(operation: $0, times: times) }
        if lengths.isEmpty {
            lengths = pass.compactMap { $0.kind == .crossAttention ? nil : $0.attention?.keys }
        }
        weightBytesPerPass = max(weightBytesPerPass, pass.reduce(0) { $0 + $1.weightBytes })
    }

    /// The sequence grows by one with every pass.
    package mutating func setGrowingLength(from first: Int = 1) {
        lengths = lengths.isEmpty ? [] : Array(first..<first + count)
    }

    func named(_ name: String) -> StageCost {
        var result = StageCost(name: name, count: count)
        (result.operations, result.lengths, result.weightBytesPerPass) = (operations, lengths, weightBytesPerPass)
        return result
    }

    /// Each operation replaced by others.
    func mapped(_ body: (OperationRecord) -> [OperationRecord]) -> StageCost {
        var result = self
        result.operations = operations.flatMap { counted in
            body(counted.operation).map { Counted(operation: $0, times: counted.times) }
        }
        return result
    }

    private func sum(_ value: (OperationRecord) -> Int) -> Int {
        operations.reduce(0) { $0 + $1.times * value($1.operation) }
    }

    /// Of all passes.
    package var flops: Int { sum(\.flops) }
    /// Every operand of every operation once.
    package var operandBytes: Int { sum(\.bytes) }
    /// What has to come from memory: weights, keys and values, and scores where they are written. Other activations stay in
    /// caches.
    package var streamedBytes: Int { sum(\.streamedBytes) }
    /// FLOP for each streamed byte.
    package var intensity: Double { streamedBytes == 0 ? 0 : Double(flops) / Double(streamedBytes) }

    package func flops(_ kind: OperatorClass) -> Int { sum { $0.kind == kind ? $0.flops : 0 } }
    package func operandBytes(_ kind: OperatorClass) -> Int { sum { $0.kind == kind ? $0.bytes : 0 } }
}

extension OperationRecord {
    /// What of an operation has to come from memory, or go there.
    package var streamedBytes: Int {
        let scores = name.hasPrefix("attention") && name != "attention" ? bytesWritten : 0
        return weightBytes + (kind.isAttention && name != "append" ? bytesRead + scores : 0)
    }
}

/// Which kind of work a stage is (Golden et al. 2024).
package enum Regime: String, Sendable {
    /// Many tokens share every weight: bound by arithmetic, as reading a prompt is.
    case prefillLike = "prefill-like"
    /// Few tokens share every weight: bound by bandwidth, as writing one token after the other is.
    case decodeLike = "decode-like"

    /// - Parameters:
    ///   - intensity: FLOP for each byte.
    ///   - ridge: FLOP that a device does in the time of one byte.
    package init(intensity: Double, ridge: Double) { self = intensity >= ridge ? .prefillLike : .decodeLike }
}
