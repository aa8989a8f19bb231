package import TTICore

/// A backend that computes nothing and writes down what it was asked for: FLOP, bytes and shapes of every operation, the
/// bytes of the weights that were prepared, and how much arena a request needs (`arena.peak`).
///
/// It needs no weights (host tensors of which only the shape is known will do), no memory and no device, so the cost of a
/// model of any size follows from its configuration. Fused operations are written down as the primitives of their defaults,
/// whose peak is at least that of any override; what is joined is read where it is.
package final class AccountingBackend: Backend {
    package let name = "accounting"
    package let weightType: DType
    package let activationType: DType
    package let cacheType: DType
    package let kernelType: DType
    package let arena: Arena
    package var attentionForm = AttentionForm.flash
    /// All operations since the last `reset`, in order.
    package private(set) var operations: [OperationRecord] = []
    /// Bytes of everything that was prepared, by the type it is held in.
    package private(set) var preparedBytes: [DType: Int] = [:]
    /// How many numbers were prepared: the model's parameters (tables of positions that are computed count too).
    package private(set) var preparedParameterCount = 0
    /// Whether what is joined is read where it is, as by a backend, or copied first, as the defaults do.
    package var readsJoinedInPlace = true
    /// Where in the sequence decoding stands: positions live on the device, and this device has none. nil counts the whole
    /// capacity of the cache.
    package var decodePosition: Int?
    private var zeros: [Float] = []

    package init(
        weightType: DType, cacheType: DType? = nil, activationType: DType = .float32, kernelType: DType? = nil
    ) {
        self.weightType = weightType
        self.cacheType = cacheType ?? weightType.besideMatrices
        self.activationType = activationType
        self.kernelType = kernelType ?? weightType.besideMatrices
        arena = Arena(buffer: Buffer(address: 0, byteCount: 1 << 60) {})
    }

    /// The sum over all operations since the last `reset`.
    package var totals: OperationTotals { OperationTotals(operations) }

    /// The sum by operation name.
    package var totalsByName: [String: OperationTotals] {
        Dictionary(grouping: operations, by: \.name).mapValues { OperationTotals($0) }
    }

    /// Bytes of everything that was prepared.
    package var preparedByteCount: Int { preparedBytes.values.reduce(0, +) }

    /// Forgets the operations and the arena's peak, not what was prepared.
    package func reset() {
        operations.removeAll()
        arena.resetPeak()
    }

    // MARK: Memory

    package func reserve(arenaBytes: Int) throws(DeviceError) { arena.rewind(to: 0) }
    package func allocate(_ shape: Shape, _ dtype: DType) -> Tensor { arena.allocate(shape, dtype) }

    package func prepare(matrix: HostTensor, for use: MatrixUse) throws(DeviceError) -> PreparedMatrix {
        precondition(matrix.shape.rank == 2, "a matrix of \(matrix.shape)")
        let tensor = prepared(matrix.shape, weightType)
        return PreparedMatrix(
            outputs: matrix.shape[0], inputs: matrix.shape[1], byteCount: tensor.byteCount, form: tensor.buffer)
    }

    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        precondition(convolution.shape.rank == 4, "a kernel of \(convolution.shape)")
        let (outputs, inputs) = (convolution.shape[0], convolution.shape[1])
        let tensor = prepared(convolution.shape, kernelType(outputs: outputs, inputs: inputs))
        return PreparedConvolution(
            outputs: outputs, inputs: inputs, kernelHeight: convolution.shape[2], kernelWidth: convolution.shape[3],
            byteCount: tensor.byteCount, form: tensor.buffer)
    }

    package func prepare(depthwise: HostTensor) throws(DeviceError) -> Tensor {
        prepared([depthwise.shape[2], depthwise.shape[3], depthwise.shape[0]], .float32)
    }

    package func prepare(table: HostTensor) throws(DeviceError) -> Tensor {
        prepared(table.shape, weightType.besideMatrices)
    }

    package func prepare(constant: HostTensor) throws(DeviceError) -> Tensor {
        prepared(constant.shape, constant.dtype.isFloatingPoint ? .float32 : .int32)
    }

    package func write(_ source: HostTensor, to tensor: Tensor) {
        precondition(source.elementCount == tensor.elementCount, "\(source.shape) to \(tensor.shape)")
    }

    /// Zeros; the same array for results of one size, so that a plan of many images holds one.
    package func read(_ tensor: Tensor) throws(DeviceError) -> [Float] {
        if zeros.count != tensor.elementCount { zeros = [Float](repeating: 0, count: tensor.elementCount) }
        return zeros
    }

    /// Zeros.
    package func readIntegers(_ tensor: Tensor) throws(DeviceError) -> [Int32] {
        [Int32](repeating: 0, count: tensor.elementCount)
    }

    package func synchronize() throws(DeviceError) {}

    package func record(_ body: @escaping () -> Void) -> any Program {
        body()
        return AccountedProgram(body)
    }

    package func copy(_ source: Tensor, to target: Tensor) {
        precondition(source.byteCount == target.byteCount, "\(source.shape) to \(target.shape)")
        note("copy", "\(source.shape)", flops: 0, reads: [source], writes: [target])
    }

    // MARK: What the operations share

    /// A tensor outside the arena.
    private func prepared(_ shape: Shape, _ dtype: DType) -> Tensor {
        let tensor = Tensor(
            buffer: Buffer(address: 0, byteCount: shape.elementCount * dtype.byteCount) {}, byteOffset: 0, shape: shape,
            dtype: dtype)
        preparedBytes[dtype, default: 0] += tensor.byteCount
        if dtype != .int32 { preparedParameterCount += tensor.elementCount }
        return tensor
    }

    /// - Parameters:
    ///   - weights: parameters that are touched besides those among `reads`.
    ///   - attention: what attends to what, for attention.
    func note(
        _ name: String, _ shapes: String, kind: OperatorClass? = nil, flops: Int, weights: Int = 0,
        weightBytes: Int = 0, reads: [Tensor?] = [], bytesRead: Int = 0, writes: [Tensor] = [], bytesWritten: Int = 0,
        attention: AttentionShape? = nil
    ) {
        let read = reads.compactMap { $0 }
        // What is not in the arena was prepared: a parameter.
        let constants = read.reduce(0) {
            $0 + ($1.buffer === arena.buffer || !$1.dtype.isFloatingPoint ? 0 : $1.elementCount)
        }
        operations.append(
            OperationRecord(
                name: name, kind: kind ?? OperatorClass(operation: name), shapes: shapes, flops: flops,
                parameters: weights + constants, weightBytes: weightBytes,
                bytesRead: read.reduce(bytesRead) { $0 + $1.byteCount },
                bytesWritten: writes.reduce(bytesWritten) { $0 + $1.byteCount }, attention: attention))
    }
}

private final class AccountedProgram: Program {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
    func replay() { body() }
}
