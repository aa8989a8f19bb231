internal import CTTICUDA
internal import TTICore

/// Memory of a GPU: large pieces from the driver, small ones cut from slabs, because each of the driver's takes 2 MiB.
final class DeviceMemory {
    private let device: CUDADevice
    private var slab: Buffer?
    private var used = 0
    private static let slabBytes = 16 << 20
    private static let alignment = 256

    init(_ device: CUDADevice) { self.device = device }

    /// Memory of its own, given back when the buffer goes.
    /// - Throws: `.outOfMemory`
    func allocate(_ byteCount: Int) throws(DeviceError) -> Buffer {
        let rounded = (max(byteCount, 1) + DeviceMemory.alignment - 1) & ~(DeviceMemory.alignment - 1)
        if rounded > DeviceMemory.slabBytes / 8 { return try allocateWhole(rounded) }
        if slab == nil || used + rounded > DeviceMemory.slabBytes {
            slab = try allocateWhole(DeviceMemory.slabBytes)
            used = 0
        }
        guard let slab else { preconditionFailure("no slab") }
        defer { used += rounded }
        // The piece keeps its slab alive.
        return Buffer(address: slab.address + UInt(used), byteCount: rounded) { withExtendedLifetime(slab) {} }
    }

    private func allocateWhole(_ byteCount: Int) throws(DeviceError) -> Buffer {
        device.makeCurrent()
        precondition(!device.isRecording, "allocating in a recording")
        var address: UInt64 = 0
        let status = unsafe device.driver.pointee.allocate(&address, byteCount)
        // What went wrong before says more than its consequences.
        if status != 0, let fault = device.fault { throw fault }
        guard status == 0 else { throw device.error(status, "\(byteCount >> 20) MiB are needed") }
        let device = device
        return Buffer(address: UInt(address), byteCount: byteCount) {
            device.makeCurrent()
            unsafe _ = device.driver.pointee.release(address)
        }
    }
}
