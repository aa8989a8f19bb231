internal import CTTICUDA
internal import Glibc
package import TTICore

/// A GPU through the CUDA driver: our own kernels, compiled by NVRTC when the program first meets the device.
///
/// With float32 weights everything is float32; with bfloat16 or int8 weights activations are bfloat16. Sums, norms,
/// softmax and sampling are float32 always. Operations are issued in order on one stream and nothing waits for them but
/// `read` and `synchronize`. A recorded step is one CUDA graph.
///
/// Which kernel does a product is decided by the tokens of one entry of the batch (one: matrix-vector work; more: tiles),
/// and no kernel's order of summation depends on how many rows there are: batch n equals n singles, bit for bit.
package final class CUDABackend: Backend {
    package let name: String
    package let weightType: DType
    package var activationType: DType { weightType == .float32 ? .float32 : .bfloat16 }
    package var cacheType: DType { activationType }
    package private(set) var arena = Arena(buffer: Buffer(address: 0, byteCount: 0) {})
    /// Eager attention is for comparison.
    package var attentionForm = AttentionForm.flash
    package let device: CUDADevice
    let memory: DeviceMemory
    let kernels: KernelLibrary
    let staging: Staging
    /// cuBLASLt, where it is found: nothing needs it.
    let matrixLibrary: MatrixLibrary?
    let productChoices: ProductChoices
    /// `[1]` int32: set by operations of choice that meet a number that is not finite.
    let nonFinite: Tensor
    /// By the rows of an entry of the batch.
    var tilePlans: [TileProduct: [Int: TilePlan]] = [:]
    var hopperPlans: [HopperPlan.Size: [Int: HopperPlan]] = [:]
    /// Of the norm that was issued last.
    var latestIntegers: IntegersOfNorm?
    /// Where the arena stood when the recording began.
    private var recordingMark = 0
    /// Memory between kernels of one operation, outside the arena; grows, never in a recording.
    private var scratches: [String: Buffer] = [:]
    /// How many kernel files had to be compiled; the others were on the disk.
    package var compiledKernelFiles: Int { kernels.compiledCount }

    /// - Parameters:
    ///   - weightType: float32, bfloat16 or int8; traps otherwise.
    /// - Throws: `.unavailable`: no driver, device or compiler; `.outOfMemory`.
    package init(weightType: DType, ordinal: Int = 0) throws(DeviceError) {
        precondition([.float32, .bfloat16, .int8].contains(weightType), "weights in \(weightType)")
        self.weightType = weightType
        device = try CUDADevice(ordinal: ordinal)
        name = "cuda:\(ordinal)"
        memory = DeviceMemory(device)
        kernels = try KernelLibrary(device, activations: weightType == .float32 ? .float32 : .bfloat16)
        staging = try Staging(device, memory)
        matrixLibrary = weightType == .bfloat16 ? MatrixLibrary(device, memory) : nil
        productChoices = ProductChoices(device)
        nonFinite = Tensor(buffer: try memory.allocate(4), byteOffset: 0, shape: [1], dtype: .int32)
        device.fill(nonFinite.address, 4)
    }

    // MARK: Memory

    package func reserve(arenaBytes: Int) throws(DeviceError) {
        guard arenaBytes > arena.buffer.byteCount else { return arena.rewind(to: 0) }
        latestIntegers = nil
        arena = Arena(buffer: Buffer(address: 0, byteCount: 0) {})
        try device.synchronize()
        arena = Arena(buffer: try memory.allocate(max(arenaBytes, 4 << 20)))
    }

    package func allocate(_ shape: Shape, _ dtype: DType) -> Tensor { arena.allocate(shape, dtype) }

    /// A tensor outside the arena.
    func allocateOwned(_ shape: Shape, _ dtype: DType) throws(DeviceError) -> Tensor {
        Tensor(
            buffer: try memory.allocate(shape.elementCount * dtype.byteCount), byteOffset: 0, shape: shape, dtype: dtype
        )
    }

    /// Memory that one kernel of an operation leaves something in for the next; its contents are undefined.
    /// - Parameter isZeroed: it begins as zeros; what is written there stays until it grows.
    func scratch(_ name: String, _ byteCount: Int, isZeroed: Bool = false) -> UInt {
        // Which may use it too, and make it grow.
        device.issueHeld()
        if let buffer = scratches[name], buffer.byteCount >= byteCount { return buffer.address }
        precondition(!device.isRecording, "scratch '\(name)' grows in a recording")
        do {
            // What uses the old one may still be under way.
            try device.synchronize()
            let buffer = try memory.allocate(byteCount + byteCount / 2)
            if isZeroed { device.fill(buffer.address, buffer.byteCount) }
            scratches[name] = buffer
            return buffer.address
        } catch {
            device.keep(error)
            return 0
        }
    }

    /// int32 counters that are zero between operations: a kernel that counts one up sets it back.
    func counters(_ count: Int) -> UInt { scratch("counters", 4 * count, isZeroed: true) }

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
        write(source, to: tensor, rows: 1, stride: tensor.elementCount)
    }

    /// Fills a matrix whose rows are `stride` elements apart; what lies between is set to zero.
    /// - Parameter block: elements of 64 bytes when the matrix lies in panels (weights.cu), or 0.
    func write(_ source: HostTensor, to tensor: Tensor, rows: Int, stride: Int, block: Int = 0) {
        guard let bytes = unsafe source.bytes, source.elementCount > 0 else { return }
        let width = source.elementCount / rows
        if tensor.dtype == .int32 {
            let values = source.dtype == .int32 ? unsafe bytes : nil
            if let values = unsafe values { return unsafe send(values, to: tensor.address) }
            let integers = source.integers()
            return unsafe integers.withUnsafeBytes { unsafe send($0, to: tensor.address) }
        }
        if source.dtype == tensor.dtype, stride == width, block == 0 { return unsafe send(bytes, to: tensor.address) }
        guard let from = CUDABackend.convertible[source.dtype] else {
            let floats = HostTensor(source.floats(), source.shape)
            return write(floats, to: tensor, rows: rows, stride: stride, block: block)
        }
        guard let to = CUDABackend.convertible[tensor.dtype] else { preconditionFailure("writing \(tensor.dtype)") }
        let size = source.dtype.byteCount
        // Rows without gaps may be cut anywhere.
        let isDense = stride == width && block == 0
        unsafe staging.send(bytes, rowBytes: (isDense ? 1 : width) * size) { address, range in
            let (count, start) = (range.count, range.lowerBound)
            let target = tensor.address.device
            let parameters =
                isDense
                ? tti_convert(
                    y: target + UInt64(start * tensor.dtype.byteCount), x: UInt64(address), rows: 1,
                    width: Int64(count),
                    y_stride: Int64(count), first_row: 0, from: from, to: to, block: 0)
                : tti_convert(
                    y: target, x: UInt64(address), rows: Int64(count), width: Int64(width), y_stride: Int64(stride),
                    first_row: Int64(start), from: from, to: to, block: Int32(block))
            launch("convert", elements: isDense ? count : count * stride, parameters)
        }
    }

    static let convertible: [DType: Int32] = [
        .float32: Int32(TTI_FLOAT32.rawValue), .float16: Int32(TTI_FLOAT16.rawValue),
        .bfloat16: Int32(TTI_BFLOAT16.rawValue),
    ]

    private func send(_ bytes: UnsafeRawBufferPointer, to target: UInt) {
        unsafe staging.send(bytes, rowBytes: 1) { address, range in
            device.copy(range.count, from: address, to: target + UInt(range.lowerBound))
        }
    }

    package func read(_ tensor: Tensor) throws(DeviceError) -> [Float] {
        switch tensor.dtype {
        case .float32: return try elements(of: tensor, Float(0))
        case .bfloat16: return try elements(of: tensor, UInt16(0)).map { BFloat16(bits: $0).float }
        case .int32: return try elements(of: tensor, Int32(0)).map { Float($0) }
        default: preconditionFailure("reading \(tensor.dtype)")
        }
    }

    package func readIntegers(_ tensor: Tensor) throws(DeviceError) -> [Int32] {
        precondition(tensor.dtype == .int32, "\(tensor.dtype) as int32")
        return try elements(of: tensor, Int32(0))
    }

    private func elements<Element: BitwiseCopyable>(
        of tensor: Tensor, _ zero: Element
    ) throws(DeviceError) -> [Element] {
        try synchronize()
        return try copyToHost(tensor, zero)
    }

    private func copyToHost<Element: BitwiseCopyable>(
        _ tensor: Tensor, _ zero: Element
    ) throws(DeviceError) -> [Element] {
        var values = [Element](repeating: zero, count: tensor.elementCount)
        if values.isEmpty { return values }
        device.makeCurrent()
        unsafe values.withUnsafeMutableBytes { bytes in
            _ = device.check(
                unsafe device.driver.pointee.copy_to_host(
                    bytes.baseAddress, tensor.address.device, tensor.byteCount, device.stream),
                "a copy of \(tensor.byteCount) bytes to the host")
        }
        try device.synchronize()
        return values
    }

    package func synchronize() throws(DeviceError) {
        try device.synchronize()
        guard try copyToHost(nonFinite, Int32(0))[0] != 0 else { return }
        device.fill(nonFinite.address, 4)
        throw DeviceError(.notANumber, "a logit that is not finite reached the choice of a token")
    }

    package func record(_ body: @escaping () -> Void) -> any Program {
        // Done once as it is: whatever is found out or allocated at first use is there when the graph is made.
        // What the body leaves in the arena is its own too: every replay writes it again.
        // What comes before is no part of it, either time.
        device.issueHeld()
        let mark = arena.mark
        body()
        recordingMark = mark
        defer { recordingMark = 0 }
        return unsafe CUDAProgram(device, device.capture(body), body, scratches: Array(scratches.values))
    }

    /// Whether keys, values or a position were there before the recording began, so that the kernel before one of its kernels
    /// has not written them (a step changes them in the place of its own token only, and the position at its end).
    func isSettled(_ tensor: Tensor) -> Bool {
        device.isRecording && (tensor.buffer !== arena.buffer || tensor.byteOffset + tensor.byteCount <= recordingMark)
    }

    package func copy(_ source: Tensor, to target: Tensor) {
        precondition(source.byteCount == target.byteCount, "\(source.shape) to \(target.shape)")
        let (from, to, count) = (source.address, target.address, source.byteCount)
        if from == to || count == 0 { return }
        if from + UInt(count) <= to || to + UInt(count) <= from {
            launch("copy", elements: count, each: 16, tti_copy(y: to.device, x: from.device, bytes: Int64(count)))
        } else {
            // They overlap, and threads have no order: by way of other memory.
            let between = scratch("copy", count)
            launch("copy", elements: count, each: 16, tti_copy(y: between.device, x: from.device, bytes: Int64(count)))
            launch("copy", elements: count, each: 16, tti_copy(y: to.device, x: between.device, bytes: Int64(count)))
        }
    }

    // MARK: Kernels

    /// Starts a kernel of blocks of 256 threads, each thread for `each` elements.
    func launch<Parameters: BitwiseCopyable>(
        _ kernel: String, elements: Int, each: Int = 4, _ parameters: Parameters
    ) {
        let perBlock = 256 * each
        launch(kernel, grid: ((elements + perBlock - 1) / perBlock, 1, 1), threads: 256, parameters)
    }

    /// Starts a kernel; nothing when the grid is empty.
    func launch<Parameters: BitwiseCopyable>(
        _ kernel: String, grid: (Int, Int, Int), threads: Int, shared: Int = 0, _ parameters: Parameters
    ) {
        if grid.0 * grid.1 * grid.2 == 0 { return }
        guard let kernel = kernels.kernel(kernel, shared: shared) else { return }
        device.launch(kernel, grid: grid, threads: threads, shared: shared, parameters)
    }

    /// Elements that a thread takes in 16 bytes of activations.
    var lanes: Int { 16 / activationType.byteCount }
}

extension UInt {
    /// As Parameters.h has it.
    var device: UInt64 { UInt64(self) }
}

extension Tensor {
    /// The address as Parameters.h has it.
    var device: UInt64 { UInt64(address) }
}

extension Optional where Wrapped == Tensor {
    /// The address; 0 for nothing.
    var device: UInt64 { self?.device ?? 0 }
}

extension Columns {
    /// The address of the first element of the range in the first row.
    var device: UInt64 { tensor.device + UInt64(start * tensor.dtype.byteCount) }
    /// Elements from one row to the next.
    var rowStride: Int { tensor.shape.last }
}

extension HostTensor {
    /// Integers of any type as int32.
    func integers() -> [Int32] {
        guard let bytes = unsafe bytes else { return [Int32](repeating: 0, count: elementCount) }
        return (0..<elementCount).map { index in
            switch dtype {
            case .int64, .uint64:
                unsafe Int32(truncatingIfNeeded: bytes.loadUnaligned(fromByteOffset: index * 8, as: Int64.self))
            case .int32, .uint32: unsafe bytes.loadUnaligned(fromByteOffset: index * 4, as: Int32.self)
            case .int16: unsafe Int32(bytes.loadUnaligned(fromByteOffset: index * 2, as: Int16.self))
            case .uint16: unsafe Int32(bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
            case .int8: unsafe Int32(bytes.loadUnaligned(fromByteOffset: index, as: Int8.self))
            case .uint8, .bool: unsafe Int32(bytes[index])
            default: preconditionFailure("\(dtype) as int32")
            }
        }
    }
}
