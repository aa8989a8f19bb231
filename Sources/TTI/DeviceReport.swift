internal import Glibc
internal import TTICPU
internal import TTICore
internal import TTIFormats

/// A device of this machine, with what it was measured to do at best.
package struct DeviceReport: Sendable {
    package let backend: String
    package let name: String
    package let threads: Int
    package let instructionSet: String
    /// Bytes of memory that the device has, and that are free.
    package let memory: (total: Int, free: Int)
    package let ceilings: MeasuredCeilings

    /// Measures the CPU, which takes about a second.
    package static func cpu(threads: Int?) throws(TTIError) -> DeviceReport {
        try translatingErrors {
            let backend = try CPUBackend.make(weightType: .float32, threads: threads)
            return DeviceReport(
                backend: backend.name, name: processorName(), threads: backend.pool.threadCount,
                instructionSet: backend.instructionSet.rawValue, memory: hostMemory(),
                ceilings: try MeasuredCeilings(backend))
        }
    }
}

/// What a machine was measured to do at best.
package struct MeasuredCeilings: Sendable {
    package let readGBs: Double
    package let copyGBs: Double
    /// Multiply-adds of float32.
    package let teraFLOPs: Double
    /// Tiles of bfloat16 and of int8, where the processor has them.
    package let tileTeraFLOPs: Double?
    package let tileTeraOPs: Double?

    init(_ backend: CPUBackend) throws {
        // Far more than caches hold, and little enough for a small machine.
        let bytes = min(512 << 20, max(64 << 20, hostMemory().free / 8))
        readGBs = try backend.measureReadBandwidth(bytes: bytes)
        copyGBs = try backend.measureCopyBandwidth(bytes: bytes / 2)
        teraFLOPs = backend.measureMatrixRate()
        tileTeraFLOPs = backend.measureTileRate(.bfloat16)
        tileTeraOPs = backend.measureTileRate(.int8)
    }

    private init(
        readGBs: Double, copyGBs: Double, teraFLOPs: Double, tileTeraFLOPs: Double?, tileTeraOPs: Double?
    ) {
        (self.readGBs, self.copyGBs, self.teraFLOPs) = (readGBs, copyGBs, teraFLOPs)
        (self.tileTeraFLOPs, self.tileTeraOPs) = (tileTeraFLOPs, tileTeraOPs)
    }

    /// The better one of each.
    func best(_ other: MeasuredCeilings) -> MeasuredCeilings {
        func larger(_ a: Double?, _ b: Double?) -> Double? { a.map { max($0, b ?? 0) } }
        return MeasuredCeilings(
            readGBs: max(readGBs, other.readGBs), copyGBs: max(copyGBs, other.copyGBs),
            teraFLOPs: max(teraFLOPs, other.teraFLOPs), tileTeraFLOPs: larger(tileTeraFLOPs, other.tileTeraFLOPs),
            tileTeraOPs: larger(tileTeraOPs, other.tileTeraOPs))
    }

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

/// Throws when the host has less memory free than is needed, before any of it is taken: an allocation that the system
/// promised and cannot keep ends the process.
func checkHostMemory(weights: Int, work: Int) throws(TTIError) {
    let free = hostMemory().free
    guard free > 0, weights + work > free else { return }
    let remedy = work > weights ? "try a smaller size, or --batch 1" : "try --dtype bf16, or a smaller checkpoint"
    throw TTIError(
        .outOfMemory, "device.memory",
        "\(byteText(weights + work)) of memory are needed (weights \(byteText(weights)), work \(byteText(work))), \(byteText(free)) are "
            + "free; \(remedy)")
}

/// A file that the system makes up, whose size it does not say.
private func textOfSystemFile(_ path: String) throws -> String {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    return String(decoding: try readToEnd(descriptor: descriptor, name: path, limit: 1 << 22), as: UTF8.self)
}
