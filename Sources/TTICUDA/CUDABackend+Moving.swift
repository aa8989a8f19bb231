package import TTICore

/// A product whose kernels are not issued yet: a scope may still move its result, and then nothing needs to be copied.
final class HeldProduct {
    /// Where the result goes.
    private(set) var result: Tensor
    /// What the kernels read at other places than they write.
    private let operands: [Tensor]
    /// What a thread reads right before it writes there.
    private let residual: Tensor?
    private let issue: (Tensor, PartialStatistics?) -> Void
    /// What the next piece of work wants of the result besides it.
    var statistics: PartialStatistics?

    init(
        _ result: Tensor, of operands: [Tensor], adding residual: Tensor?,
        issue: @escaping (Tensor, PartialStatistics?) -> Void
    ) {
        self.result = result
        self.operands = operands
        self.residual = residual
        self.issue = issue
    }

    func run() { issue(result, statistics) }

    /// - Returns: false when the result must be made where it was and copied.
    func move(to target: Tensor) -> Bool {
        let canReplace = residual.map { $0.address == target.address || !$0.overlaps(target) } ?? true
        guard canReplace, !operands.contains(where: { $0.overlaps(target) }) else { return false }
        result = Tensor(
            buffer: target.buffer, byteOffset: target.byteOffset, shape: result.shape, dtype: result.dtype)
        return true
    }
}

extension CUDABackend {
    /// Issues a product when the next piece of work is asked for, or what it made.
    /// - Parameters:
    ///   - operands: all that it reads in the arena, but for the residual.
    ///   - issue: does it, into the tensor that it gets; allocates nothing in the arena. A convolution may leave statistics.
    func hold(
        _ result: Tensor, of operands: [Tensor], adding residual: Tensor?,
        issue: @escaping (Tensor, PartialStatistics?) -> Void
    ) {
        device.hold(HeldProduct(result, of: operands, adding: residual, issue: issue))
    }

    package func redirect(_ source: Tensor, to target: Tensor) -> Bool {
        guard let held = device.held, held.result.address == source.address,
            held.result.byteCount == source.byteCount
        else { return false }
        return held.move(to: target)
    }
}
