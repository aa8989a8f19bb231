internal import Glibc
package import TTICore

/// The oracle: every primitive as plain loops in binary64, every fused operation as its default. Slow, and meant to be
/// read beside the doc comments of `Backend`.
///
/// New tensors are filled with NaN (-1 when they hold integers), so that whoever reads what was never written notices.
package final class ReferenceBackend: Backend {
    package let name = "reference"
    package let weightType: DType
    package let activationType: DType
    package let cacheType: DType
    /// Whether products of 16 tokens (or pixels) of an entry and more are done as AMX and AVX-512's BF16 do them: with
    /// activations rounded to bfloat16, and rounded sums of the taps that meet in a pixel of an upsampled image.
    package let roundsProducts: Bool
    /// Whether attention of 16 queries and more rounds its operands to bfloat16, as AMX does; softmax's weights are exact here.
    package let roundsAttention: Bool
    /// Whether a row that is a token of its own (decoding) is rounded before it is multiplied: to int8 beside such weights, and
    /// after a norm to an activation.
    package let roundsRows: Bool
    package let kernelType: DType
    package private(set) var arena: Arena
    /// Set by operations of choice that meet a number that is not finite; reported by `synchronize`.
    var sawNonFinite = false

    /// - Parameters:
    ///   - weightType: what matrices, kernels and tables are rounded to; float64 keeps them as they come. With int8, rows that
    ///     are multiplied are rounded too.
    ///   - activationType: float64 keeps a chain of operations exact, float32 and bfloat16 round after each; constants stay
    ///     exact.
    ///   - cacheType: what keys and values are rounded to.
    ///   - roundsProducts: only for weights in bfloat16 or int8, and so is `roundsAttention`.
    ///   - roundsRows: as the property says.
    ///   - kernelType: int8 for kernels between many channels in integers, beside matrices of such.
    ///   - arenaBytes: how much memory there is before anyone reserves; pages that are never touched cost nothing.
    package init(
        weightType: DType = .float64, activationType: DType = .float64, cacheType: DType = .float64,
        roundsProducts: Bool = false, roundsAttention: Bool = false, roundsRows: Bool = true,
        kernelType: DType? = nil, arenaBytes: Int = 1 << 30
    ) {
        precondition([.float64, .float32, .bfloat16, .int8].contains(weightType), "weights in \(weightType)")
        precondition([.float64, .float32, .bfloat16].contains(activationType), "activations in \(activationType)")
        precondition([.float64, .float32, .bfloat16].contains(cacheType), "a cache in \(cacheType)")
        self.weightType = weightType
        self.activationType = activationType
        self.cacheType = cacheType
        self.roundsProducts = roundsProducts && weightType.besideMatrices == .bfloat16
        self.roundsAttention = roundsAttention && weightType.besideMatrices == .bfloat16
        self.roundsRows = roundsRows
        self.kernelType = kernelType ?? weightType.besideMatrices
        arena = Arena(buffer: ReferenceBackend.pages(arenaBytes))
    }

    private var constantType: DType { activationType == .bfloat16 ? .float64 : activationType }

    /// What is asked for counts binary32 activations; there is room for twice that.
    package func reserve(arenaBytes: Int) throws(DeviceError) {
        let needed = 2 * arenaBytes + (1 << 20)
        if needed > arena.buffer.byteCount {
            arena = Arena(buffer: ReferenceBackend.pages(needed))
        } else {
            arena.rewind(to: 0)
        }
    }

    package func allocate(_ shape: Shape, _ dtype: DType) -> Tensor {
        let tensor = arena.allocate(shape, dtype)
        if tensor.byteCount > 0 { unsafe _ = memset(tensor.pointer, 0xff, tensor.byteCount) }
        return tensor
    }

    package func prepare(matrix: HostTensor, for use: MatrixUse) throws(DeviceError) -> PreparedMatrix {
        precondition(matrix.shape.rank == 2, "a matrix of \(matrix.shape)")
        return PreparedMatrix(
            outputs: matrix.shape[0], inputs: matrix.shape[1], byteCount: matrix.elementCount * weightType.byteCount,
            form: ReferenceWeights(rounded(matrix)))
    }

    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        precondition(convolution.shape.rank == 4, "a kernel of \(convolution.shape)")
        let (outputs, inputs) = (convolution.shape[0], convolution.shape[1])
        let taps = convolution.shape[2] * convolution.shape[3]
        let source =
            kernelType(outputs: outputs, inputs: inputs) == .int8
            ? int8Rounded(convolution.doubles(), width: inputs * taps) : rounded(convolution)
        var turned = [Double](repeating: 0, count: source.count)
        for output in 0..<outputs {
            for input in 0..<inputs {
                for tap in 0..<taps {
                    turned[(output * taps + tap) * inputs + input] = source[(output * inputs + input) * taps + tap]
                }
            }
        }
        return PreparedConvolution(
            outputs: outputs, inputs: inputs, kernelHeight: convolution.shape[2], kernelWidth: convolution.shape[3],
            byteCount: turned.count * weightType.byteCount, form: ReferenceWeights(turned))
    }

    package func prepare(depthwise: HostTensor) throws(DeviceError) -> Tensor {
        let (channels, height, width) = (depthwise.shape[0], depthwise.shape[2], depthwise.shape[3])
        precondition(depthwise.shape[1] == 1, "a depthwise kernel of \(depthwise.shape)")
        let source = depthwise.doubles()
        let tensor = owned([height, width, channels], constantType)
        var turned = source
        for channel in 0..<channels {
            for tap in 0..<height * width { turned[tap * channels + channel] = source[channel * height * width + tap] }
        }
        tensor.store(turned)
        return tensor
    }

    package func prepare(table: HostTensor) throws(DeviceError) -> Tensor {
        let tensor = owned(table.shape, weightType.besideMatrices)
        write(table, to: tensor)
        return tensor
    }

    package func prepare(constant: HostTensor) throws(DeviceError) -> Tensor {
        let tensor = owned(constant.shape, constant.dtype.isFloatingPoint ? constantType : .int32)
        write(constant, to: tensor)
        return tensor
    }

    package func write(_ source: HostTensor, to tensor: Tensor) {
        precondition(source.elementCount == tensor.elementCount, "\(source.shape) to \(tensor.shape)")
        precondition(tensor.dtype != .int32 || !source.dtype.isFloatingPoint, "\(source.dtype) as int32")
        tensor.store(source.doubles())
    }

    package func read(_ tensor: Tensor) throws(DeviceError) -> [Float] { try readDoubles(tensor).map { Float($0) } }

    /// The elements without rounding.
    package func readDoubles(_ tensor: Tensor) throws(DeviceError) -> [Double] {
        try synchronize()
        return tensor.doubles()
    }

    package func readIntegers(_ tensor: Tensor) throws(DeviceError) -> [Int32] {
        try synchronize()
        precondition(tensor.dtype == .int32, "\(tensor.dtype) as int32")
        return tensor.doubles().map { Int32($0) }
    }

    package func synchronize() throws(DeviceError) {
        guard sawNonFinite else { return }
        sawNonFinite = false
        throw DeviceError(.notANumber, "a logit that is not finite reached the choice of a token")
    }

    package func record(_ body: @escaping () -> Void) -> any Program {
        body()
        return ReferenceProgram(body)
    }

    package func copy(_ source: Tensor, to target: Tensor) {
        precondition(source.dtype == target.dtype, "\(source.dtype) to \(target.dtype)")
        precondition(source.elementCount == target.elementCount, "\(source.shape) to \(target.shape)")
        unsafe memmove(target.pointer, source.pointer, source.byteCount)
    }

    // MARK: What the operations share

    /// A result in `activationType`.
    func result(_ values: [Double], _ shape: Shape) -> Tensor {
        let tensor = allocate(shape, activationType)
        tensor.store(values)
        return tensor
    }

    /// A result of integers.
    func result(_ values: [Int], _ shape: Shape) -> Tensor {
        let tensor = allocate(shape, .int32)
        tensor.store(values.map { Double($0) })
        return tensor
    }

    /// The elements, as `weightType` can hold them; kernels are bfloat16 beside int8.
    private func rounded(_ source: HostTensor) -> [Double] {
        if weightType == .int8 && source.shape.rank == 2 {
            return int8Rounded(source.doubles(), width: source.shape[1])
        }
        return source.doubles().map { weightType.besideMatrices.rounding($0) }
    }

    /// A tensor outside the arena.
    private func owned(_ shape: Shape, _ dtype: DType) -> Tensor {
        Tensor(
            buffer: ReferenceBackend.pages(shape.elementCount * dtype.byteCount), byteOffset: 0, shape: shape,
            dtype: dtype)
    }

    private static func pages(_ byteCount: Int) -> Buffer {
        let length = max(byteCount, 1)
        let pages = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let pages = unsafe pages, unsafe pages != MAP_FAILED else { fatalError("no room for \(byteCount) bytes") }
        return Buffer(address: UInt(bitPattern: pages), byteCount: byteCount) { unsafe munmap(pages, length) }
    }
}

/// Weights in binary64: `[outputs, inputs]`, or `[outputs, kernel height, kernel width, inputs]`.
final class ReferenceWeights {
    let values: [Double]
    init(_ values: [Double]) { self.values = values }
}

private final class ReferenceProgram: Program {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
    func replay() { body() }
}
