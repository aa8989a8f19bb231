internal import TTICPU
internal import TTICUDA
internal import TTICore
internal import TTIFormats

/// A backend of a device of this machine: one that computes, and that can say what its device is and does at best.
protocol DeviceBackend: Backend {
    /// "NVIDIA H200".
    var deviceName: String { get }
    /// CPU threads that work on an operation.
    var threadCount: Int { get }
    /// Bytes of memory that are free for weights and work.
    var freeMemory: Int { get }
    /// What the device does at best, measured now, which takes about a second.
    func measureCeilings() throws(DeviceError) -> MeasuredCeilings
}

/// The one place that makes a backend.
/// - Throws: `TTIError`: unavailable, outOfMemory.
func makeBackend(
    _ device: ChosenDevice, _ weightType: DType, attention: AttentionForm = .flash
) throws(TTIError) -> any DeviceBackend {
    switch device.kind {
    case .cpu(let threads):
        let backend = try CPUBackend.make(weightType: weightType, threads: threads)
        backend.attentionForm = attention
        return backend
    case .cuda(let ordinal):
        let backend = try translatingErrors { try CUDABackend(weightType: weightType, ordinal: ordinal) }
        backend.attentionForm = attention
        return backend
    }
}

extension CPUBackend: DeviceBackend {
    var deviceName: String { processorName() }
    var threadCount: Int { pool.threadCount }
    var freeMemory: Int { hostMemory().free }

    func measureCeilings() throws(DeviceError) -> MeasuredCeilings {
        // Far more than caches hold, and little enough for a small machine.
        let bytes = min(512 << 20, max(64 << 20, hostMemory().free / 8))
        return MeasuredCeilings(
            readGBs: try measureReadBandwidth(bytes: bytes), copyGBs: try measureCopyBandwidth(bytes: bytes / 2),
            teraFLOPs: measureMatrixRate(), tileTeraFLOPs: measureTileRate(.bfloat16),
            tileTeraOPs: measureTileRate(.int8))
    }
}

extension CUDABackend: DeviceBackend {
    var deviceName: String { device.name }
    /// The one that issues the work.
    var threadCount: Int { 1 }
    var freeMemory: Int { device.memory.free }
}
