internal import CTTICUDA
internal import Glibc
package import TTICore

/// The CUDA driver of this machine: whether it can be used, and how many devices it has.
@safe
package struct CUDADriver {
    let entries: UnsafePointer<ctti_cuda_driver>
    /// 13000 for CUDA 13.0.
    package let version: Int
    package let deviceCount: Int

    /// The oldest driver that has every entry point: CUDA 11.8's.
    private static let oldestVersion = 11080

    /// Looks for the driver and wakes it up.
    /// - Throws: `.unavailable`, saying what is missing.
    package init() throws(DeviceError) {
        var search = ctti_search()
        guard let entries = unsafe ctti_find_driver(&search) else {
            throw DeviceError(
                .unavailable,
                "no CUDA driver was found (\(text(search.text))); install NVIDIA's driver, or use --backend cpu")
        }
        unsafe self.entries = entries
        var version: Int32 = 0
        unsafe _ = entries.pointee.driver_version(&version)
        guard Int(version) >= CUDADriver.oldestVersion else {
            throw DeviceError(
                .unavailable,
                "the CUDA driver is of CUDA \(version / 1000).\(version % 1000 / 10), and 11.8 or newer is needed; update it, or use --backend cpu"
            )
        }
        self.version = Int(version)
        let status = unsafe entries.pointee.`init`(0)
        var count: Int32 = 0
        guard status == 0, unsafe entries.pointee.device_count(&count) == 0, count > 0 else {
            let reason = status == 0 ? "no device" : unsafe CUDADriver.name(of: status, entries)
            throw DeviceError(.unavailable, "the CUDA driver has no device to use (\(reason)); use --backend cpu")
        }
        deviceCount = Int(count)
    }

    /// The driver's name of a status, such as CUDA_ERROR_OUT_OF_MEMORY.
    static func name(of status: ctti_status, _ entries: UnsafePointer<ctti_cuda_driver>) -> String {
        var name: UnsafePointer<CChar>?
        guard unsafe entries.pointee.error_name(status, &name) == 0, let name = unsafe name else {
            return "CUDA error \(status)"
        }
        return unsafe String(cString: name)
    }
}

/// A C array of characters as a string.
func text<T>(_ characters: T) -> String {
    unsafe withUnsafeBytes(of: characters) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}
