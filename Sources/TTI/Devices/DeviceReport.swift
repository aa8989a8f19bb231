internal import Glibc
internal import TTICPU
package import TTICUDA
package import TTICore
internal import TTIFormats

/// A device of this machine, with what it was measured to do at best.
package struct DeviceReport: Sendable {
    package let backend: String
    package let name: String
    /// Of a CPU.
    package let processor: (threads: Int, instructionSet: String)?
    /// Of a GPU: 90 is compute capability 9.0.
    package let graphics: (capability: Int, multiprocessors: Int, cacheBytes: Int)?
    /// Bytes of memory that the device has, and that are free.
    package let memory: (total: Int, free: Int)
    package let ceilings: MeasuredCeilings

    /// Measures the CPU, which takes about a second.
    package static func cpu(threads: Int?) throws(TTIError) -> DeviceReport {
        try translatingErrors {
            let backend = try CPUBackend.make(weightType: .float32, threads: threads)
            return DeviceReport(
                backend: backend.name, name: processorName(),
                processor: (backend.pool.threadCount, backend.instructionSet.rawValue), graphics: nil,
                memory: hostMemory(), ceilings: try backend.measureCeilings())
        }
    }

    /// Measures a GPU; its kernels are compiled first when that was never done.
    package static func cuda(_ device: CUDAReport.Device) throws(TTIError) -> DeviceReport {
        try translatingErrors {
            let backend = try makeBackend(ChosenDevice(.cuda(ordinal: device.ordinal)), .bfloat16)
            return DeviceReport(
                backend: backend.name, name: device.name, processor: nil,
                graphics: (device.capability, device.multiprocessorCount, device.cacheBytes),
                memory: (device.memory.total, device.memory.free), ceilings: try backend.measureCeilings())
        }
    }
}

extension MeasuredCeilings {
    /// The rate that products can have at best, in this precision.
    package func matrixTeraFLOPs(_ precision: Precision) -> Double {
        switch precision {
        case .bfloat16: tileTeraFLOPs ?? teraFLOPs
        case .int8: tileTeraOPs ?? teraFLOPs
        default: teraFLOPs
        }
    }
}

/// The processor as the system calls it.
package func processorName() -> String {
    let text = (try? textOfSystemFile("/proc/cpuinfo")) ?? ""
    for line in text.split(separator: "\n") where line.hasPrefix("model name") {
        return harmless(line.drop { $0 != ":" }.dropFirst().drop { $0 == " " })
    }
    return "unknown processor"
}

/// Memory of this machine, or what this process's control group may use if that is less.
package func hostMemory() -> (total: Int, free: Int) {
    var total = 0
    var free = 0
    for line in ((try? textOfSystemFile("/proc/meminfo")) ?? "").split(separator: "\n") {
        let words = line.split(separator: " ")
        guard words.count >= 2, let kibibytes = Int(words[1]) else { continue }
        if words[0] == "MemTotal:" { total = kibibytes * 1024 }
        if words[0] == "MemAvailable:" { free = kibibytes * 1024 }
    }
    if let text = try? textOfSystemFile("/sys/fs/cgroup/memory.max"), let limit = Int(text.prefix { $0 != "\n" }) {
        let used =
            (try? textOfSystemFile("/sys/fs/cgroup/memory.current")).flatMap { Int($0.prefix { $0 != "\n" }) } ?? 0
        total = min(total, limit)
        free = min(free, max(0, limit - used))
    }
    return (total, free)
}

/// A file that the system makes up, whose size it does not say.
private func textOfSystemFile(_ path: String) throws -> String {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    return String(decoding: try readToEnd(descriptor: descriptor, name: path, limit: 1 << 22), as: UTF8.self)
}
