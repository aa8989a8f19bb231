internal import TTI
internal import TTIAccounting
internal import TTICore
internal import TTIFormats

/// `tti-ar compare`: the modes side by side on this machine.
enum CompareCommand: Command {
    static let syntax = CommandSyntax(
        name: "compare", operands: "", operandCount: 0...0,
        summary:
            "The modes side by side: where time goes, what bounds each stage, in which regime it is.",
        options: [
            Option(
                "--preset", "NAME,…",
                "Published shapes with random weights instead of the checkpoints that ship; \"bench --help\" lists them."
            ),
            Option("-m, --checkpoint, --model", "NAME,…", "These checkpoints instead."),
            Option("--size", "N", "Pixels of an image's side (each model's own)."),
            Option("--repeats", "N", "How often each is measured (3), after once to warm up."),
            Option(
                "--clock", "wall|processor",
                "processor: with --threads 1, what work takes when nobody else has the core (wall)."),
            Option("--plot", "FILE.svg", "Draw roofline, operator time and sequence lengths."),
            CommonOptions.attention, CommonOptions.backend, CommonOptions.dtype, CommonOptions.threads,
            CommonOptions.json, CommonOptions.quiet, CommonOptions.help,
        ],
        notes: [
            "Times are of one image with guidance, without a stopwatch; shares by class of operators are from one more run in which "
                + "every operation is waited for. Of shapes with random weights a few steps stand for all.",
            "Bytes are what has to come from memory: weights, keys and values (and scores, with --attention eager). A stage is "
                + "prefill-like when it does more FLOP for each byte than the ridge: the FLOP that this machine does in the time of one byte, both measured in "
                + "the same process.",
        ])

    static func run(_ arguments: Arguments) throws {
        let values = arguments.values
        func names(_ option: String) throws(TTIError) -> [String] {
            guard let text = try values.path(option) else { return [] }
            return text.split(separator: ",").map(String.init)
        }
        var comparison = Comparison()
        (comparison.presets, comparison.checkpoints) = (try names("preset"), try names("checkpoint"))
        comparison.side = try values.integer("size", in: 16...4096)
        comparison.repeats = try values.integer("repeats", in: 1...1000) ?? 3
        comparison.device = try values.device()
        comparison.precision = try values.precision()
        comparison.attention = try values.attention()
        comparison.clock = try values.choice("clock", WorkClock.self) ?? .wall
        if comparison.clock == .processor, comparison.device != .cpu(threads: 1) {
            throw usage("option", "--clock processor measures one thread; add --threads 1")
        }
        let plot = try values.path("plot")
        if let plot { try AtomicFile.check(plot, ifExists: .overwrite) }
        var progress = Progress(isQuiet: values.isOn("quiet"))
        progress.begin("measuring")
        let report = try comparison.run { progress.begin("measuring \(harmless($0, limit: 60))") }
        progress.end("measured \(report.models.count) models")
        if let plot { _ = try AtomicFile.write(Array(ComparisonPlot(report).text.utf8), to: plot) }
        try values.isOn("json") ? Output.json(json(report)) : Output.write(Array(text(report).utf8))
    }

    // MARK: JSON

    private static func json(_ report: Comparison.Report) -> JSON {
        [
            "backend": JSON(report.backend), "device": JSON(report.device), "threads": JSON(report.threads),
            "commit": JSON(commit), "attention": JSON(report.attention.rawValue),
            "clock": JSON(report.clock.rawValue),
            "ceilings": [
                "read_gb_s": JSON(report.ceilings.readGBs), "copy_gb_s": JSON(report.ceilings.copyGBs),
                "tflop_s": JSON(report.ceilings.teraFLOPs),
                "tile_bf16_tflop_s": report.ceilings.tileTeraFLOPs.map { JSON($0) } ?? .null,
            ],
            "models": .list(report.models.map { json($0, report) }),
        ]
    }

    private static func json(_ model: Comparison.Model, _ report: Comparison.Report) -> JSON {
        [
            "name": JSON(model.name), "dtype": JSON(model.precision.rawValue), "seconds": JSON(model.seconds),
            "ridge_flop_per_byte": JSON(report.ridge(model.precision)), "peak_memory_bytes": JSON(model.peakMemory),
            "stages": .list(model.stages.map { json($0, model, report) }),
        ]
    }

    private static func json(
        _ stage: Comparison.Stage, _ model: Comparison.Model, _ report: Comparison.Report
    ) -> JSON {
        let rates = StageRates(stage, model.precision, report.ceilings)
        var operators = JSONObject()
        for kind in OperatorClass.allCases where stage.cost.flops(kind) + stage.cost.operandBytes(kind) > 0 {
            operators.set(
                ByteString(kind.rawValue),
                [
                    "seconds": JSON(stage.secondsByClass[kind] ?? 0), "flops": JSON(stage.cost.flops(kind)),
                    "bytes": JSON(stage.cost.operandBytes(kind)),
                ])
        }
        return [
            "stage": JSON(stage.cost.name), "passes": JSON(stage.cost.count), "seconds": JSON(stage.seconds),
            "flops": JSON(stage.cost.flops), "bytes": JSON(stage.cost.streamedBytes),
            "operand_bytes": JSON(stage.cost.operandBytes),
            "weight_bytes_per_pass": JSON(stage.cost.weightBytesPerPass),
            "flop_per_byte": JSON(stage.cost.intensity), "gb_s": JSON(rates.gigabytes),
            "tflop_s": JSON(rates.teraFLOPs), "bandwidth_share": JSON(rates.bandwidthShare),
            "matrix_share": JSON(rates.matrixShare),
            "regime": JSON(report.regime(stage, model.precision).rawValue),
            "sequence_lengths": .list(shortened(stage.cost.lengths).map { JSON($0) }), "operators": .members(operators),
        ]
    }

    // MARK: Table

    private static func text(_ report: Comparison.Report) -> String {
        let ceilings = report.ceilings
        var text =
            "\(report.backend), \(report.device), \(report.threads) threads, \(report.clock.rawValue) time, \(report.attention.rawValue) attention; measured here: reads "
            + "\(decimals(ceilings.readGBs, 1)) GB/s, \(decimals(ceilings.teraFLOPs * 1000, 0)) GFLOP/s in float32"
            + (ceilings.tileTeraFLOPs.map { ", \(decimals($0 * 1000, 0)) in bf16" } ?? "") + "\n"
        for model in report.models {
            text +=
                "\n\(harmless(model.name)), \(model.precision.rawValue): \(durationText(seconds: model.seconds)) an image, "
                + "\(byteText(model.peakMemory)) of memory, ridge \(decimals(report.ridge(model.precision), 1)) FLOP/byte\n"
            var rows = [
                ["stage", "time", "share", "FLOP", "bytes", "FLOP/byte", "bandwidth", "arithmetic", "regime"]
            ]
            for stage in model.stages {
                let rates = StageRates(stage, model.precision, ceilings)
                let passes = stage.cost.count == 1 ? "" : " ×\(stage.cost.count)"
                rows.append([
                    stage.cost.name + passes, durationText(seconds: stage.seconds),
                    percent(stage.seconds / model.seconds), countText(stage.cost.flops),
                    byteText(stage.cost.streamedBytes), decimals(stage.cost.intensity, 1),
                    percent(rates.bandwidthShare), percent(rates.matrixShare),
                    report.regime(stage, model.precision).rawValue,
                ])
            }
            text += columns(rows)
            var operators = [["", "all"] + model.stages.map(\.cost.name)]
            let kinds = OperatorClass.allCases.map { kind in
                (kind, model.stages.reduce(0) { $0 + ($1.secondsByClass[kind] ?? 0) })
            }
            for (kind, seconds) in kinds.sorted(by: { $0.1 > $1.1 }) where seconds > 0 {
                operators.append(
                    [kind.rawValue, percent(seconds / model.seconds)]
                        + model.stages.map { percent(($0.secondsByClass[kind] ?? 0) / max($0.seconds, 1e-12)) })
            }
            text += columns(operators)
        }
        return text
    }
}

/// What a stage's time amounts to.
struct StageRates {
    let gigabytes: Double
    let teraFLOPs: Double
    let bandwidthShare: Double
    let matrixShare: Double

    init(_ stage: Comparison.Stage, _ precision: Precision, _ ceilings: MeasuredCeilings) {
        let seconds = max(stage.seconds, 1e-12)
        gigabytes = Double(stage.cost.streamedBytes) / seconds / 1e9
        teraFLOPs = Double(stage.cost.flops) / seconds / 1e12
        bandwidthShare = gigabytes / ceilings.readGBs
        matrixShare = teraFLOPs / ceilings.matrixTeraFLOPs(precision)
    }
}

/// A share as whole percent; what is below one keeps a digit.
func percent(_ share: Double) -> String {
    share > 0 && share < 0.00995 ? decimals(share * 100, 1) + " %" : decimals(share * 100, 0) + " %"
}

/// Columns under their headings: the first one to the left, the others to the right.
func columns(_ rows: [[String]]) -> String {
    let widths = (0..<(rows.first?.count ?? 0)).map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        let cells = row.indices.map { $0 == 0 ? padRight(row[$0], widths[$0]) : padLeft(row[$0], widths[$0]) }
        return "  " + cells.joined(separator: "  ") + "\n"
    }.joined()
}

/// A long list by some of its elements: the first, the last and evenly between.
func shortened(_ lengths: [Int], to limit: Int = 64) -> [Int] {
    lengths.count <= limit ? lengths : (0..<limit).map { lengths[$0 * (lengths.count - 1) / (limit - 1)] }
}
