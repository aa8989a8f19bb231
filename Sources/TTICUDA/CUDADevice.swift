internal import CTTICUDA
internal import Glibc
package import TTICore

/// A GPU, a stream of work on it, and the first thing that went wrong there.
///
/// Work is issued without waiting. What the driver refuses is kept and thrown by `synchronize`; nothing is issued after it.
@safe
package final class CUDADevice {
    package let ordinal: Int
    /// "NVIDIA H200"
    package let name: String
    /// 90 for compute capability 9.0.
    package let capability: Int
    package let multiprocessorCount: Int
    /// Bytes of the second-level cache.
    package let cacheBytes: Int
    /// Shared memory that a block can have.
    let sharedBytesOfBlock: Int
    let driver: UnsafePointer<ctti_cuda_driver>
    let context: ctti_handle
    let stream: ctti_handle
    /// What comes before the next piece of work.
    private(set) var held: HeldProduct?
    /// How often work was asked for: when it is as it was, memory is, too.
    private(set) var turn = 0
    /// Kernels that were started.
    package private(set) var launches = 0
    /// What was refused first.
    private(set) var fault: DeviceError?
    /// Whether a step is being recorded: nothing may be allocated or waited for.
    private(set) var isRecording = false
    /// Wait after every kernel, so that a fault names its operation (TTI_CUDA_SYNC=1).
    private let waitsAlways: Bool
    /// Let a kernel begin before the one before it ends (programmatic dependent launch); not with TTI_CUDA_NO_OVERLAP.
    private let overlaps: Bool
    private let handle: Int32
    /// Whether the next kernel begins only when all before it have ended: they write what later ones read without waiting.
    var isNextInOrder = false

    /// - Throws: `.unavailable`: no such device, or one that is too old; `.lost`: the driver gave it up.
    package init(ordinal: Int) throws(DeviceError) {
        let found = try CUDADriver()
        guard ordinal < found.deviceCount else {
            throw DeviceError(
                .unavailable,
                "there is no cuda:\(ordinal); this machine has \(found.deviceCount == 1 ? "cuda:0 only" : "cuda:0 to cuda:\(found.deviceCount - 1)")"
            )
        }
        let driver = unsafe found.entries
        func value(_ attribute: Int32, _ handle: Int32) -> Int {
            var value: Int32 = 0
            unsafe _ = driver.pointee.device_attribute(&value, attribute, handle)
            return Int(value)
        }
        var handle: Int32 = 0
        unsafe _ = driver.pointee.device(&handle, Int32(ordinal))
        var characters = [CChar](repeating: 0, count: 128)
        unsafe _ = driver.pointee.device_name(&characters, 128, handle)
        name = String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        capability = 10 * value(75, handle) + value(76, handle)
        guard capability >= 80 else {
            throw DeviceError(
                .unavailable,
                "\(name) has compute capability \(capability / 10).\(capability % 10), and 8.0 (Ampere) or newer is needed; use --backend cpu"
            )
        }
        multiprocessorCount = value(16, handle)
        cacheBytes = value(38, handle)
        sharedBytesOfBlock = value(97, handle)
        var context: ctti_handle?
        var stream: ctti_handle?
        let status = unsafe driver.pointee.retain_context(&context, handle)
        guard status == 0, let context = unsafe context, unsafe driver.pointee.set_context(context) == 0,
            unsafe driver.pointee.create_stream(&stream, 1) == 0, let stream = unsafe stream
        else {
            throw DeviceError(
                .unavailable,
                "\(name) cannot be used (\(unsafe CUDADriver.name(of: status, driver))); use --backend cpu")
        }
        self.ordinal = ordinal
        self.handle = handle
        unsafe self.driver = driver
        unsafe self.context = context
        unsafe self.stream = stream
        waitsAlways = unsafe getenv("TTI_CUDA_SYNC").map { unsafe $0[0] == 49 } ?? false
        overlaps = unsafe capability >= 90 && !waitsAlways && getenv("TTI_CUDA_NO_OVERLAP") == nil
    }

    deinit {
        makeCurrent()
        unsafe _ = driver.pointee.synchronize_stream(stream)
        unsafe _ = driver.pointee.destroy_stream(stream)
        unsafe _ = driver.pointee.release_context(handle)
    }

    /// Bytes that are free, and that there are.
    package var memory: (free: Int, total: Int) {
        makeCurrent()
        var (free, total) = (0, 0)
        unsafe _ = driver.pointee.memory_info(&free, &total)
        return (free, total)
    }

    /// The driver works on the device of the calling thread.
    func makeCurrent() { unsafe _ = driver.pointee.set_context(context) }

    // MARK: Faults

    /// Keeps what went wrong, if something did.
    /// - Returns: whether all is well.
    @discardableResult
    func check(_ status: ctti_status, _ what: @autoclosure () -> String) -> Bool {
        if status == 0 { return true }
        if fault == nil { fault = error(status, what()) }
        return false
    }

    /// What a status of the driver means to a user.
    func error(_ status: ctti_status, _ what: String) -> DeviceError {
        let name = unsafe CUDADriver.name(of: status, driver)
        if status == 2 {
            let memory = self.memory
            return DeviceError(
                .outOfMemory,
                "out of memory on \(self.name): \(what), and \(memory.free >> 20) MiB of \(memory.total >> 20) are free; try --dtype bf16, a smaller --batch, or --backend cpu"
            )
        }
        return DeviceError(
            .lost,
            "\(self.name) failed in \(what) (\(name)); run again with TTI_CUDA_SYNC=1 to see which operation it was")
    }

    /// Waits for everything that was issued.
    /// - Throws: what went wrong since the last time.
    func synchronize(_ what: String = "work that was issued before") throws(DeviceError) {
        issueHeld()
        makeCurrent()
        precondition(!isRecording, "waiting in a recording")
        if fault == nil { check(unsafe driver.pointee.synchronize_stream(stream), what) }
        if let fault {
            // A lost device stays lost; other faults are reported once.
            if fault.kind != .lost { self.fault = nil }
            throw fault
        }
    }

    // MARK: Work

    /// Keeps a product back until the next piece of work is issued or waited for.
    func hold(_ product: HeldProduct) {
        issueHeld()
        held = product
    }

    func issueHeld() {
        turn += 1
        guard let product = held else { return }
        held = nil
        product.run()
    }

    /// Starts a kernel after everything that was issued before.
    /// - Parameters:
    ///   - shared: bytes of dynamic shared memory.
    ///   - parameters: the kernel's structure of Parameters.h.
    func launch<Parameters: BitwiseCopyable>(
        _ kernel: CUDAKernel, grid: (Int, Int, Int), threads: Int, shared: Int, _ parameters: Parameters
    ) {
        issueHeld()
        if fault != nil { return }
        precondition(
            grid.0 > 0 && grid.1 > 0 && grid.2 > 0 && grid.1 < 65536 && grid.2 < 65536, "\(kernel.name) of \(grid)")
        makeCurrent()
        // The next kernel may begin before this one ends: it waits for it itself (programmatic dependent launch).
        var attribute = ctti_launch_attribute()
        attribute.id = 6
        unsafe attribute.value.programmatic_serialization = 1
        var parameters = parameters
        let status = unsafe withUnsafeMutablePointer(to: &attribute) { attribute in
            unsafe withUnsafeMutablePointer(to: &parameters) { structure in
                var configuration = unsafe ctti_launch_configuration(
                    grid_x: UInt32(grid.0), grid_y: UInt32(grid.1), grid_z: UInt32(grid.2), block_x: UInt32(threads),
                    block_y: 1, block_z: 1, shared_bytes: UInt32(shared), stream: stream, attributes: attribute,
                    attribute_count: overlaps && !isNextInOrder ? 1 : 0)
                var list: [UnsafeMutableRawPointer?] = unsafe [UnsafeMutableRawPointer(structure)]
                return unsafe driver.pointee.launch(&configuration, kernel.function, &list, nil)
            }
        }
        isNextInOrder = false
        launches += 1
        check(status, "the kernel '\(kernel.name)'")
        if waitsAlways, !isRecording {
            check(unsafe driver.pointee.synchronize_stream(stream), "the kernel '\(kernel.name)'")
        }
    }

    /// Copies within the device's memory; the two do not overlap.
    func copy(_ bytes: Int, from source: UInt, to target: UInt) {
        issueHeld()
        if fault != nil || bytes == 0 { return }
        makeCurrent()
        check(unsafe driver.pointee.copy(UInt64(target), UInt64(source), bytes, stream), "a copy of \(bytes) bytes")
    }

    /// Sets every byte.
    func fill(_ address: UInt, _ bytes: Int, _ byte: UInt8 = 0) {
        issueHeld()
        if fault != nil || bytes == 0 { return }
        makeCurrent()
        check(unsafe driver.pointee.fill(UInt64(address), byte, bytes, stream), "filling \(bytes) bytes")
    }

    /// How long what `body` issues takes on the device; waits for it. nil when the device has failed.
    package func milliseconds(_ body: () -> Void) -> Float? {
        issueHeld()
        makeCurrent()
        var (start, end): (ctti_handle?, ctti_handle?) = (nil, nil)
        guard fault == nil, unsafe driver.pointee.create_event(&start, 0) == 0,
            unsafe driver.pointee.create_event(&end, 0) == 0
        else { return nil }
        defer {
            unsafe _ = driver.pointee.destroy_event(start)
            unsafe _ = driver.pointee.destroy_event(end)
        }
        check(unsafe driver.pointee.record_event(start, stream), "marking a time")
        body()
        issueHeld()
        check(unsafe driver.pointee.record_event(end, stream), "marking a time")
        guard check(unsafe driver.pointee.synchronize_event(end), "waiting for a time") else { return nil }
        var time: Float = 0
        return unsafe driver.pointee.elapsed(&time, start, end) == 0 ? time : nil
    }

    // MARK: Recording

    /// What `body` issues, as a graph that can be replayed; nothing of it is done.
    /// - Returns: nil when the device has failed.
    func capture(_ body: () -> Void) -> ctti_handle? {
        issueHeld()
        makeCurrent()
        guard fault == nil, check(unsafe driver.pointee.begin_capture(stream, 2), "the beginning of a recording") else {
            return nil
        }
        isRecording = true
        body()
        issueHeld()
        isRecording = false
        var graph: ctti_handle?
        guard check(unsafe driver.pointee.end_capture(stream, &graph), "the end of a recording"),
            let graph = unsafe graph
        else { return nil }
        defer { unsafe _ = driver.pointee.destroy_graph(graph) }
        var program: ctti_handle?
        check(unsafe driver.pointee.instantiate(&program, graph, 0), "preparing a recording")
        return unsafe program
    }

    /// Keeps a fault for the next `synchronize`.
    func keep(_ error: DeviceError) { if fault == nil { fault = error } }

    func replay(_ program: ctti_handle) {
        issueHeld()
        if fault != nil { return }
        makeCurrent()
        check(unsafe driver.pointee.launch_graph(program, stream), "a replay")
    }

    func destroy(program: ctti_handle) {
        makeCurrent()
        unsafe _ = driver.pointee.destroy_program(program)
    }
}

/// A step of work as a graph of kernels.
@safe
final class CUDAProgram: Program {
    private let device: CUDADevice
    private let program: ctti_handle?
    /// What was recorded; it holds the weights that the graph reads.
    private let body: () -> Void
    /// The memory between kernels that the graph writes: operations that need more get other memory later, and this one must
    /// not go to anybody else before the graph does.
    private let scratches: [Buffer]

    init(_ device: CUDADevice, _ program: ctti_handle?, _ body: @escaping () -> Void, scratches: [Buffer]) {
        self.device = device
        self.body = body
        self.scratches = scratches
        unsafe self.program = program
    }

    deinit { if let program = unsafe program { unsafe device.destroy(program: program) } }

    func replay() { if let program = unsafe program { unsafe device.replay(program) } }
}
