internal import TTI
internal import TTICUDA
internal import TTICore
internal import TTIFormats

/// `tti-ar devices`: what there is, with measured bandwidth and matrix rate.
enum DevicesCommand: Command {
    static let syntax = CommandSyntax(
        name: "devices", operands: "", operandCount: 0...0,
        summary:
            "The devices of this machine, with measured bandwidth and matrix rate, and why a GPU cannot be used.",
        options: [CommonOptions.threads, CommonOptions.json, CommonOptions.quiet, CommonOptions.help])

    static func run(_ arguments: Arguments) throws {
        let threads = try arguments.values.integer("threads", in: 1...4096)
        var progress = Progress(isQuiet: arguments.values.isOn("quiet") || arguments.values.isOn("json"))
        progress.begin("measuring cpu")
        var reports = [try DeviceReport.cpu(threads: threads)]
        let cuda = CUDAReport()
        var faults = cuda.faults
        for device in cuda.compiler == nil ? [] : cuda.devices {
            progress.begin("measuring cuda:\(device.ordinal)")
            do { reports.append(try DeviceReport.cuda(device)) } catch {
                faults.append(CUDAReport.Fault(ordinal: device.ordinal, reason: TTIError(translating: error).message))
            }
        }
        progress.clear()
        guard !arguments.values.isOn("json") else { return try Output.json(json(reports, cuda, faults)) }
        var rows: [(String, String)] = []
        for report in reports { rows += [(report.backend, summary(report)), ("", rates(report.ceilings))] }
        if let driver = cuda.driver { rows.append(("driver", "CUDA \(driver.version), \(harmless(driver.path))")) }
        if let compiler = cuda.compiler {
            rows.append(("compiler", "NVRTC \(compiler.version), \(harmless(compiler.path))"))
        }
        for fault in faults { rows.append((name(fault), "not usable: " + harmless(fault.reason, limit: 1000))) }
        try Output.write(Array(table(rows, indent: 0).utf8))
    }

    private static func name(_ fault: CUDAReport.Fault) -> String { fault.ordinal.map { "cuda:\($0)" } ?? "cuda" }

    private static func summary(_ report: DeviceReport) -> String {
        var text = harmless(report.name)
        if let processor = report.processor {
            text += ", \(processor.threads) thread\(processor.threads == 1 ? "" : "s"), \(processor.instructionSet)"
        }
        if let graphics = report.graphics {
            text +=
                ", compute capability \(capability(graphics.capability)), \(graphics.multiprocessors) multiprocessors, "
                + "\(byteText(graphics.cacheBytes)) of cache"
        }
        return text + ", memory \(byteText(report.memory.total)) (\(byteText(report.memory.free)) free)"
    }

    private static func capability(_ number: Int) -> String { "\(number / 10).\(number % 10)" }

    private static func rates(_ ceilings: MeasuredCeilings) -> String {
        guard ceilings.readGBs > 0 else { return "not measured" }
        return "reads \(decimals(ceilings.readGBs, 1)) GB/s, copies \(decimals(ceilings.copyGBs, 1)) GB/s, "
            + "\(decimals(ceilings.teraFLOPs * 1000, 0)) GFLOP/s in float32"
            + (ceilings.tileTeraFLOPs.map { ", \(decimals($0 * 1000, 0)) in bf16" } ?? "") + " (measured now)"
    }

    private static func json(_ reports: [DeviceReport], _ cuda: CUDAReport, _ faults: [CUDAReport.Fault]) -> JSON {
        func library(_ library: CUDAReport.Library?) -> JSON {
            library.map { ["version": JSON($0.version), "path": JSON($0.path)] } ?? .null
        }
        return [
            "devices": .list(reports.map(json)), "cuda_driver": library(cuda.driver), "nvrtc": library(cuda.compiler),
            "unavailable": .list(faults.map { ["backend": JSON(name($0)), "reason": JSON($0.reason)] }),
        ]
    }

    private static func json(_ report: DeviceReport) -> JSON {
        var members: JSON = ["backend": JSON(report.backend), "name": JSON(report.name)]
        var object = members.object ?? JSONObject()
        func add(_ key: ByteString, _ value: JSON) { object.set(key, value) }
        if let processor = report.processor {
            add("threads", JSON(processor.threads))
            add("instruction_set", JSON(processor.instructionSet))
        }
        if let graphics = report.graphics {
            add("compute_capability", JSON(capability(graphics.capability)))
            add("multiprocessors", JSON(graphics.multiprocessors))
            add("cache_bytes", JSON(graphics.cacheBytes))
        }
        add("memory_bytes", JSON(report.memory.total))
        add("free_bytes", JSON(report.memory.free))
        add("read_gb_s", rate(report.ceilings.readGBs))
        add("copy_gb_s", rate(report.ceilings.copyGBs))
        add("tflop_s", rate(report.ceilings.teraFLOPs))
        add("tile_bf16_tflop_s", rate(report.ceilings.tileTeraFLOPs))
        add("tile_int8_top_s", rate(report.ceilings.tileTeraOPs))
        add("dtypes", ["f32", "bf16", "int8"])
        members = .members(object)
        return members
    }

    /// What was not measured is null.
    private static func rate(_ value: Double?) -> JSON { value.flatMap { $0 > 0 ? JSON($0) : nil } ?? .null }
}
