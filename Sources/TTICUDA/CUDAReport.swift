internal import CTTICUDA
package import TTICore

/// What of CUDA is on this machine, found without compiling anything.
package struct CUDAReport: Sendable {
    /// A library that was found.
    package struct Library: Sendable {
        /// "13.0"
        package let version: String
        package let path: String
    }

    /// A device that can be used.
    package struct Device: Sendable {
        package let ordinal: Int
        package let name: String
        /// 90 for compute capability 9.0.
        package let capability: Int
        package let multiprocessorCount: Int
        /// Bytes of the second-level cache.
        package let cacheBytes: Int
        /// Bytes.
        package let memory: (free: Int, total: Int)
    }

    /// What cannot be used, and why, in one sentence.
    package struct Fault: Sendable {
        /// nil: none of them can.
        package let ordinal: Int?
        package let reason: String

        package init(ordinal: Int?, reason: String) { (self.ordinal, self.reason) = (ordinal, reason) }
    }

    package private(set) var driver: Library?
    /// NVRTC.
    package private(set) var compiler: Library?
    package private(set) var devices: [Device] = []
    package private(set) var faults: [Fault] = []

    /// Looks at everything.
    package init() {
        compiler = CUDAReport.compiler()
        do {
            let found = try CUDADriver()
            driver = CUDAReport.driver(found)
            for ordinal in 0..<found.deviceCount {
                do { devices.append(try CUDAReport.device(ordinal: ordinal)) } catch {
                    faults.append(Fault(ordinal: ordinal, reason: error.description))
                }
            }
            if !devices.isEmpty, compiler == nil {
                faults.append(Fault(ordinal: nil, reason: CUDAReport.noCompiler.description))
            }
        } catch { faults.append(Fault(ordinal: nil, reason: error.description)) }
    }

    /// A device and its memory.
    /// - Throws: `.unavailable`: why it cannot be used.
    package static func device(ordinal: Int) throws(DeviceError) -> Device {
        let device = try CUDADevice(ordinal: ordinal)
        // Held until the process ends: a backend that is made next need not wait for the context again.
        var context: ctti_handle?
        var handle: Int32 = 0
        unsafe _ = device.driver.pointee.device(&handle, Int32(ordinal))
        unsafe _ = device.driver.pointee.retain_context(&context, handle)
        return Device(
            ordinal: ordinal, name: device.name, capability: device.capability,
            multiprocessorCount: device.multiprocessorCount, cacheBytes: device.cacheBytes, memory: device.memory)
    }

    /// Whether there is a driver at all: a machine that is meant to have a GPU.
    package static var hasDriver: Bool { unsafe ctti_find_driver(nil) != nil }

    /// Throws when kernels cannot be compiled.
    package static func checkCompiler() throws(DeviceError) {
        guard compiler() != nil else { throw noCompiler }
    }

    private static var noCompiler: DeviceError {
        var search = ctti_search()
        unsafe _ = ctti_find_compiler(&search)
        return DeviceError(
            .unavailable,
            "NVRTC, which compiles the kernels, was not found (\(text(search.text))); install nvidia-cuda-dev or `pip install nvidia-cuda-nvrtc`, set TTI_CUDA_PATH to where libnvrtc is, or use --backend cpu"
        )
    }

    private static func driver(_ driver: CUDADriver) -> Library {
        Library(
            version: "\(driver.version / 1000).\(driver.version % 1000 / 10)",
            path: file(of: unsafe unsafeBitCast(driver.entries.pointee.`init`, to: UInt.self)))
    }

    private static func compiler() -> Library? {
        guard let compiler = unsafe ctti_find_compiler(nil) else { return nil }
        var version: (major: Int32, minor: Int32) = (0, 0)
        unsafe _ = compiler.pointee.version(&version.major, &version.minor)
        return Library(
            version: "\(version.major).\(version.minor)",
            path: file(of: unsafe unsafeBitCast(compiler.pointee.version, to: UInt.self)))
    }

    /// The library that an entry point lies in.
    private static func file(of entry: UInt) -> String {
        var path = [CChar](repeating: 0, count: 4096)
        unsafe ctti_file_of_entry(entry, &path, path.count)
        return String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
