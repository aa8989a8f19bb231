internal import TTI
internal import TTIFormats

/// `tti-ar devices`: what there is, with measured bandwidth and matrix rate.
enum DevicesCommand: Command {
    static let syntax = CommandSyntax(
        name: "devices", operands: "", operandCount: 0...0,
        summary: "The devices of this machine, with measured bandwidth and matrix rate.",
        options: [CommonOptions.threads, CommonOptions.json, CommonOptions.quiet, CommonOptions.help])

    static func run(_ arguments: Arguments) throws {
        let threads = try arguments.values.integer("threads", in: 1...4096)
        var progress = Progress(isQuiet: arguments.values.isOn("quiet") || arguments.values.isOn("json"))
        progress.begin("measuring")
        let cpu = try DeviceReport.cpu(threads: threads)
        progress.clear()
        let absent = "this build has no CUDA backend yet"
        guard !arguments.values.isOn("json") else {
            return try Output.json([
                "devices": [
                    [
                        "backend": JSON(cpu.backend), "name": JSON(cpu.name), "threads": JSON(cpu.threads),
                        "instruction_set": JSON(cpu.instructionSet), "memory_bytes": JSON(cpu.memory.total),
                        "free_bytes": JSON(cpu.memory.free), "read_gb_s": JSON(cpu.ceilings.readGBs),
                        "copy_gb_s": JSON(cpu.ceilings.copyGBs), "tflop_s": JSON(cpu.ceilings.teraFLOPs),
                        "tile_bf16_tflop_s": cpu.ceilings.tileTeraFLOPs.map { JSON($0) } ?? .null,
                        "tile_int8_top_s": cpu.ceilings.tileTeraOPs.map { JSON($0) } ?? .null,
                        "dtypes": ["f32", "bf16", "int8"],
                    ]
                ],
                "unavailable": [["backend": "cuda", "reason": JSON(absent)]],
            ])
        }
        try Output.write(
            Array(
                table(
                    [
                        (
                            cpu.backend,
                            "\(cpu.name), \(cpu.threads) thread\(cpu.threads == 1 ? "" : "s"), \(cpu.instructionSet), memory "
                                + "\(byteText(cpu.memory.total)) (\(byteText(cpu.memory.free)) free)"
                        ),
                        (
                            "",
                            "reads \(decimals(cpu.ceilings.readGBs, 1)) GB/s, copies \(decimals(cpu.ceilings.copyGBs, 1)) GB/s, "
                                + "\(decimals(cpu.ceilings.teraFLOPs * 1000, 0)) GFLOP/s in float32"
                                + (cpu.ceilings.tileTeraFLOPs.map { ", \(decimals($0 * 1000, 0)) on tiles in bf16" }
                                    ?? "")
                                + " (measured now)"
                        ),
                        ("cuda", absent),
                    ], indent: 0
                ).utf8))
    }
}
