internal import CTTICUDA
internal import Glibc
internal import TTICore

/// The way from host memory to the device: pinned memory in two halves, so that reading a file into one overlaps copying
/// the other.
@safe
final class Staging {
    private let device: CUDADevice
    /// Pinned host memory, and as much on the device for what is converted there.
    private let host: UnsafeMutableRawPointer
    private let raw: Buffer
    private let done: [ctti_handle]
    private var half = 0
    private var used = 0
    static let halfBytes = 16 << 20

    init(_ device: CUDADevice, _ memory: DeviceMemory) throws(DeviceError) {
        self.device = device
        device.makeCurrent()
        var host: UnsafeMutableRawPointer?
        var events: [ctti_handle] = unsafe []
        let status = unsafe device.driver.pointee.allocate_host(&host, 2 * Staging.halfBytes, 0)
        guard status == 0, let host = unsafe host else {
            throw DeviceError(
                .outOfMemory, "out of memory: the system refused \(2 * Staging.halfBytes >> 20) MiB of pinned memory")
        }
        for _ in 0..<2 {
            var event: ctti_handle?
            guard unsafe device.driver.pointee.create_event(&event, 2) == 0, let event = unsafe event else {
                throw DeviceError(.lost, "\(device.name) gives no events")
            }
            unsafe events.append(event)
        }
        unsafe self.host = host
        unsafe done = events
        raw = try memory.allocate(2 * Staging.halfBytes)
    }

    deinit {
        device.makeCurrent()
        unsafe _ = device.driver.pointee.synchronize_stream(device.stream)
        for index in unsafe done.indices { unsafe _ = device.driver.pointee.destroy_event(done[index]) }
        unsafe _ = device.driver.pointee.release_host(host)
    }

    /// Puts bytes on the device, in pieces of whole rows, and hands each piece's device address to `body`, which issues
    /// what is to be done with it. The source may go as soon as this returns.
    /// - Parameter rowBytes: at most half the staging memory.
    func send(_ source: UnsafeRawBufferPointer, rowBytes: Int, _ body: (UInt, Range<Int>) -> Void) {
        precondition(rowBytes > 0 && rowBytes <= Staging.halfBytes && !device.isRecording, "rows of \(rowBytes) bytes")
        device.makeCurrent()
        let rows = source.count / rowBytes
        var row = 0
        while row < rows {
            let fitting = (Staging.halfBytes - used) / rowBytes
            if fitting == 0 {
                next()
                continue
            }
            let count = min(rows - row, fitting)
            let offset = half * Staging.halfBytes + used
            let piece = unsafe UnsafeRawBufferPointer(rebasing: source[row * rowBytes..<(row + count) * rowBytes])
            guard let start = piece.baseAddress else { return }
            unsafe memcpy(host + offset, start, piece.count)
            let target = raw.address + UInt(offset)
            device.check(
                unsafe device.driver.pointee.copy_to_device(UInt64(target), host + offset, piece.count, device.stream),
                "a copy of \(piece.count) bytes to the device")
            body(target, row..<row + count)
            used = (used + piece.count + 255) & ~255
            row += count
        }
        // Kernels ask for weights before they wait for the kernel before them, but not before that one has begun.
        device.isNextInOrder = true
    }

    /// The other half, as soon as what was sent from it has been used.
    private func next() {
        let events = unsafe done
        device.check(unsafe device.driver.pointee.record_event(events[half], device.stream), "marking a copy")
        half = 1 - half
        used = 0
        // An event that was never recorded is done.
        device.check(unsafe device.driver.pointee.synchronize_event(events[half]), "waiting for a copy")
    }
}
