internal import CTTICUDA
internal import TTICore

/// Gathers operations of decoding while a step is recorded, and issues those that follow each other as one kernel
/// (decode_run.cu), which goes on reading weights where separate kernels would wait for each other.
final class DecodeRuns {
    /// An operation as a run takes it.
    struct Operation {
        var parameters: tti_decode_operation
        /// What is streamed; nil: nothing.
        var weights: tti_decode_weights?
        /// Bytes of shared memory: what the rows and their norm take, and the sums of the warps.
        var rowsBytes: Int
        var partsBytes = 0
        /// Does it with a kernel of its own.
        var issueAlone: (CUDABackend) -> Void
    }

    private unowned let backend: CUDABackend
    /// All operations that were issued in runs, and their weights.
    private var operations: [tti_decode_operation] = []
    private var weights: [tti_decode_weights] = []
    private var runCount = 0
    private var gathered: [Operation] = []
    /// Where the device finds weights, operations and counters, of which there are at most `capacity`.
    let memory: Buffer
    private let capacity: Int

    /// - Parameter capacity: how many operations the recording has.
    init(_ backend: CUDABackend, capacity: Int) throws(DeviceError) {
        self.backend = backend
        self.capacity = capacity
        memory = try backend.memory.allocate(capacity * (DecodeRuns.operationBytes + DecodeRuns.weightBytes + 8))
    }

    private static let operationBytes = MemoryLayout<tti_decode_operation>.stride
    private static let weightBytes = MemoryLayout<tti_decode_weights>.stride

    /// Puts an operation off, to be issued in a run.
    func add(_ operation: Operation) {
        precondition(operations.count + gathered.count < capacity, "more operations than the first time")
        let products = gathered.count { $0.weights != nil }
        if products == Int(TTI_RUN_WEIGHTS) { flush() }
        gathered.append(operation)
        backend.device.putOff = { [unowned self] in flush() }
    }

    /// Issues what was put off.
    func flush() {
        let run = gathered
        gathered = []
        backend.device.putOff = nil
        let form = Form(run, on: backend.device)
        guard run.count >= backend.shortestRun, let form else { return run.forEach { $0.issueAlone(backend) } }
        let products = run.compactMap(\.weights)
        let parameters = tti_decode_run(
            operations: address(of: operations.count, DecodeRuns.operationBytes, after: DecodeRuns.weightBytes),
            weights: address(of: weights.count, DecodeRuns.weightBytes, after: 0),
            counters: address(of: runCount, 8, after: DecodeRuns.operationBytes + DecodeRuns.weightBytes),
            count: Int32(run.count), weight_count: Int32(products.count), parts_bytes: Int32(form.partsBytes),
            rows_bytes: Int32(form.rowsBytes))
        operations += run.map(\.parameters)
        weights += products
        runCount += 1
        backend.launch(
            "decode_run_\(form.slots)", grid: (backend.device.multiprocessorCount, 1, 1), threads: 256,
            shared: form.sharedBytes, parameters)
    }

    private func address(of index: Int, _ size: Int, after bytes: Int) -> UInt64 {
        memory.address.device + UInt64(capacity * bytes + index * size)
    }

    /// Gives the device what the recorded kernels read; to be done before they run.
    func upload() throws(DeviceError) {
        backend.device.fill(memory.address, memory.byteCount)
        unsafe weights.withUnsafeBytes { unsafe backend.send($0, to: memory.address) }
        unsafe operations.withUnsafeBytes {
            unsafe backend.send($0, to: memory.address + UInt(capacity * DecodeRuns.weightBytes))
        }
        try backend.device.synchronize()
    }

    /// How a run's blocks use their shared memory.
    struct Form {
        /// Slots of each warp's queue of weights.
        let slots: Int
        let partsBytes, rowsBytes, sharedBytes: Int

        /// nil: it does not fit.
        init?(_ run: [Operation], on device: CUDADevice) {
            let parts = run.reduce(0) { max($0, $1.partsBytes) }
            let rows = run.reduce(0) { max($0, $1.rowsBytes) }
            let products = run.count { $0.weights != nil }
            // 4 KB are fixed arrays.
            let left = device.sharedBytesOfBlock - (4 << 10)
            func bytes(_ slots: Int) -> Int { 8 * 512 * slots + 16 * products + parts + rows }
            guard let slots = [40, 24].first(where: { bytes($0) <= left }) else { return nil }
            (self.slots, partsBytes, rowsBytes, sharedBytes) = (slots, parts, rows, bytes(slots))
        }
    }
}

extension CUDABackend {
    /// Whether operations of decoding are gathered into runs on this device.
    var makesRuns: Bool { activationType == .bfloat16 && device.capability >= 90 && device.allowsRuns }

    /// Issues a product: in a recording, together with the operations beside it.
    func issue(_ parameters: tti_decode_linear, _ matrix: DeviceMatrix, alone: @escaping (CUDABackend) -> Void) {
        let isInt8 = matrix.elements.dtype == .int8
        let (rows, unit) = (Int(parameters.rows), isInt8 ? 64 : 32)
        let blocks = (matrix.inputs + unit - 1) / unit
        let eights = matrix.outputs / 8
        guard makesRuns, parameters.rows == parameters.group, matrix.outputs % 8 == 0, eights < 1 << 16,
            blocks < 1 << 16
        else { return alone(self) }
        let padded = blocks * unit
        let rowBytes = isInt8 ? padded * 3 + 128 : padded * 2 + 64
        let most = Int(TTI_RUN_TILES)
        let perBlock = (eights + device.multiprocessorCount - 1) / device.multiprocessorCount
        let groups = (perBlock + most - 1) / most
        var operation = tti_decode_operation()
        operation.linear = parameters
        operation.kind = Int32((isInt8 ? TTI_DECODE_INT8 : TTI_DECODE_BFLOAT16).rawValue)
        issue(
            DecodeRuns.Operation(
                parameters: operation,
                weights: tti_decode_weights(
                    weight: matrix.elements.device, stride: Int32(matrix.stride * matrix.elements.dtype.byteCount),
                    eights: UInt16(eights), blocks: UInt16(blocks)),
                rowsBytes: rows * rowBytes + (parameters.norm == 0 ? 0 : 8 * padded),
                partsBytes: 2 * 8 * rows * 32 * ((perBlock + groups - 1) / groups), issueAlone: alone))
    }

    /// Issues single-query attention: in a recording, together with the operations beside it.
    func issue(
        _ parameters: tti_decode_attention, team: Int, chunks: Int, alone: @escaping (CUDABackend) -> Void
    ) {
        let kinds = [4: TTI_DECODE_ATTENTION_4, 8: TTI_DECODE_ATTENTION_8, 16: TTI_DECODE_ATTENTION_16]
        guard makesRuns, let kind = kinds[team] else { return alone(self) }
        var operation = tti_decode_operation()
        operation.attention = parameters
        operation.kind = Int32(kind.rawValue)
        operation.chunks = Int32(chunks)
        issue(DecodeRuns.Operation(parameters: operation, weights: nil, rowsBytes: 9 << 10, issueAlone: alone))
    }

    private func issue(_ operation: DecodeRuns.Operation) {
        if let runs {
            runs.add(operation)
        } else {
            runnableCount += 1
            operation.issueAlone(self)
        }
    }
}
