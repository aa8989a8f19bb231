internal import CTTIKernels
internal import Glibc
package import TTICore

/// The CPU: our own kernels (CTTIKernels). Activations are float32; weights are float32 or bfloat16 (which
/// are widened in registers), and so is the key-value cache.
///
/// With bfloat16 weights and AMX or AVX-512's BF16, products of 16 tokens of a batch entry and more round their activations to
/// bfloat16 too (`roundsRows`), and with AMX so does attention of as many queries; nothing else does. With int8 weights every product quantises its
/// rows; tables and the cache are bfloat16, and so are convolutions but on tiles, which do these in int8, too.
///
/// Operations run at once, on the caller's thread and the pool's, but for the last product or convolution, which is done when the
/// next operation comes or its result is asked for: it may have been moved by then (`HeldWork`).
package final class CPUBackend: Backend {
    /// Which kernels are used; tests force each.
    package enum InstructionSet: String, CaseIterable, Sendable {
        case portable, avx2, avx512, avx512bf16, amx

        /// Whether this processor has it.
        package var isAvailable: Bool { ctti_has_isa(isa) }
        /// The fastest that this processor has.
        package static var best: InstructionSet {
            switch ctti_best_isa() {
            case CTTI_AMX: .amx
            case CTTI_AVX512BF16: .avx512bf16
            case CTTI_AVX512: .avx512
            case CTTI_AVX2: .avx2
            default: .portable
            }
        }
        var isa: ctti_isa {
            switch self {
            case .portable: CTTI_PORTABLE
            case .avx2: CTTI_AVX2
            case .avx512: CTTI_AVX512
            case .avx512bf16: CTTI_AVX512BF16
            case .amx: CTTI_AMX
            }
        }
    }

    package let name = "cpu"
    package let weightType: DType
    package var activationType: DType { .float32 }
    package var cacheType: DType { weightType.besideMatrices }
    package private(set) var arena: Arena
    package let pool: ThreadPool
    package let instructionSet: InstructionSet
    var isa: ctti_isa { instructionSet.isa }
    /// Eager attention is for comparison.
    package var attentionForm = AttentionForm.flash
    /// Forms other than the automatic one are for comparison.
    package var convolutionForm = ConvolutionForm.automatic { willSet { finishHeld() } }
    /// int8 beside int8 matrices where tiles multiply integers twice as fast as bfloat16. Elsewhere Winograd's transforms of wider
    /// numbers are as fast.
    package let kernelType: DType
    /// Whether ceilings are measured in processor time, which is for one thread.
    package var measuresProcessorTime = false
    /// Set by operations of choice that meet a number that is not finite; reported by `synchronize`.
    var sawNonFinite = false
    /// The last operation, when it is not done yet.
    var held: HeldWork?
    /// What `withScratch` gives; grown and kept.
    var scratch = Buffer(address: 0, byteCount: 0) {}
    /// What a group norm does to each channel (`factors(of:for:)`); grown and kept.
    var normFactors = Buffer(address: 0, byteCount: 0) {}

    /// - Parameters:
    ///   - weightType: float32, bfloat16 or int8; traps otherwise.
    ///   - threads: how many threads work on an operation.
    ///   - kernelType: nil for what is fastest.
    package init(
        weightType: DType, threads: Int, instructionSet: InstructionSet = .best, kernelType: DType? = nil
    ) {
        precondition([.float32, .bfloat16, .int8].contains(weightType), "weights in \(weightType)")
        self.weightType = weightType
        self.instructionSet = instructionSet
        self.kernelType = kernelType ?? CPUBackend.kernelType(beside: weightType, instructionSet)
        pool = ThreadPool(threadCount: threads)
        arena = Arena(buffer: Buffer(address: 0, byteCount: 0) {})
    }

    package static func kernelType(beside weightType: DType, _ instructionSet: InstructionSet) -> DType {
        instructionSet == .amx ? weightType : weightType.besideMatrices
    }

    // MARK: Memory

    package func reserve(arenaBytes: Int) throws(DeviceError) {
        finishHeld()
        guard arenaBytes > arena.buffer.byteCount else { return arena.rewind(to: 0) }
        arena = Arena(buffer: Buffer(address: 0, byteCount: 0) {})
        arena = Arena(buffer: try CPUBackend.allocatePages(arenaBytes))
    }

    package func allocate(_ shape: Shape, _ dtype: DType) -> Tensor {
        finishHeld()
        return arena.allocate(shape, dtype)
    }

    /// Zeroed pages of their own, given back when the buffer goes.
    static func allocatePages(_ byteCount: Int) throws(DeviceError) -> Buffer {
        let length = max(byteCount, 1)
        let pages = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let pages = unsafe pages, unsafe pages != MAP_FAILED else {
            throw DeviceError(.outOfMemory, "out of memory: the system refused \(byteCount) bytes")
        }
        if length >= 2 << 20 { unsafe _ = madvise(pages, length, MADV_HUGEPAGE) }
        let address = UInt(bitPattern: pages)
        return Buffer(address: address, byteCount: byteCount) { unsafe munmap(pages, length) }
    }

    /// A tensor outside the arena.
    func allocateOwned(_ shape: Shape, _ dtype: DType) throws(DeviceError) -> Tensor {
        let buffer = try CPUBackend.allocatePages(shape.elementCount * dtype.byteCount)
        return Tensor(buffer: buffer, byteOffset: 0, shape: shape, dtype: dtype)
    }

    package func prepare(constant: HostTensor) throws(DeviceError) -> Tensor {
        let tensor = try allocateOwned(constant.shape, constant.dtype.isFloatingPoint ? .float32 : .int32)
        write(constant, to: tensor)
        return tensor
    }

    package func prepare(table: HostTensor) throws(DeviceError) -> Tensor {
        precondition(table.shape.rank == 2, "a table \(table.shape)")
        let tensor = try allocateOwned(table.shape, weightType.besideMatrices)
        write(table, to: tensor)
        return tensor
    }

    package func prepare(depthwise: HostTensor) throws(DeviceError) -> Tensor {
        precondition(depthwise.shape.rank == 4 && depthwise.shape[1] == 1, "a depthwise kernel \(depthwise.shape)")
        return try prepare(constant: depthwise.channelsLast())
    }

    package func write(_ source: HostTensor, to tensor: Tensor) {
        precondition(source.elementCount == tensor.elementCount, "\(source.shape) to \(tensor.shape)")
        finishHeld()
        guard let bytes = unsafe source.bytes?.baseAddress else { return }
        let (count, size) = (tensor.elementCount, source.dtype.byteCount)
        let chunk = 1 << 18
        let target = unsafe tensor.pointer
        pool.forEach((count + chunk - 1) / chunk) { index in
            let first = index * chunk
            unsafe CPUBackend.convert(
                bytes + first * size, source.dtype, to: target + first * tensor.dtype.byteCount, tensor.dtype,
                count: min(chunk, count - first))
        }
    }

    package func read(_ tensor: Tensor) throws(DeviceError) -> [Float] {
        try synchronize()
        let count = tensor.elementCount
        switch tensor.dtype {
        case .float32: return unsafe [Float](UnsafeBufferPointer(start: tensor.floats, count: count))
        case .bfloat16: return (0..<count).map { unsafe BFloat16(bits: tensor.halves[$0]).float }
        case .int32: return (0..<count).map { unsafe Float(tensor.integers[$0]) }
        default: preconditionFailure("reading \(tensor.dtype)")
        }
    }

    package func readIntegers(_ tensor: Tensor) throws(DeviceError) -> [Int32] {
        try synchronize()
        precondition(tensor.dtype == .int32, "\(tensor.dtype) as int32")
        return unsafe [Int32](UnsafeBufferPointer(start: tensor.integers, count: tensor.elementCount))
    }

    package func synchronize() throws(DeviceError) {
        finishHeld()
        guard sawNonFinite else { return }
        sawNonFinite = false
        throw DeviceError(.notANumber, "a logit that is not finite reached the choice of a token")
    }

    package func record(_ body: @escaping () -> Void) -> any Program {
        let program = ClosureProgram {
            body()
            self.finishHeld()
        }
        program.replay()
        return program
    }

    package func copy(_ source: Tensor, to target: Tensor) {
        precondition(source.byteCount == target.byteCount, "\(source.shape) to \(target.shape)")
        finishHeld()
        let (to, from, count) = unsafe (target.pointer, source.pointer, source.byteCount)
        let chunk = 1 << 18
        if source.overlaps(target) || count <= chunk { return unsafe _ = memmove(to, from, count) }
        pool.forEach((count + chunk - 1) / chunk) { index in
            unsafe _ = memcpy(to + index * chunk, from + index * chunk, min(chunk, count - index * chunk))
        }
    }
}

/// The CPU's program: the work itself, done again from the same mark of the arena.
private final class ClosureProgram: Program {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
    func replay() { body() }
}

extension Tensor {
    // The elements as C sees them; each traps when the type is another.
    var pointer: UnsafeMutableRawPointer {
        guard let pointer = unsafe UnsafeMutableRawPointer(bitPattern: address) else {
            preconditionFailure("a tensor without memory: \(shape)")
        }
        return unsafe pointer
    }
    var floats: UnsafeMutablePointer<Float> {
        precondition(dtype == .float32, "\(dtype) as float32")
        return unsafe pointer.assumingMemoryBound(to: Float.self)
    }
    var halves: UnsafeMutablePointer<UInt16> {
        precondition(dtype == .bfloat16, "\(dtype) as bfloat16")
        return unsafe pointer.assumingMemoryBound(to: UInt16.self)
    }
    var integers: UnsafeMutablePointer<Int32> {
        precondition(dtype == .int32, "\(dtype) as int32")
        return unsafe pointer.assumingMemoryBound(to: Int32.self)
    }
}

extension Columns {
    /// The first element of the range in the first row.
    var floats: UnsafeMutablePointer<Float> { unsafe tensor.floats + start }
    /// The same in any type.
    var pointer: UnsafeMutableRawPointer { unsafe tensor.pointer + start * tensor.dtype.byteCount }
    /// Elements from one row to the next.
    var rowStride: Int { tensor.shape.last }
}
