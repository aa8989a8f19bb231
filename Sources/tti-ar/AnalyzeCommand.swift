internal import TTI
internal import TTIAccounting
internal import TTICore
internal import TTIFormats

/// `tti-ar analyze`: what models cost, from their shapes alone.
enum AnalyzeCommand: Command {
    static let syntax = CommandSyntax(
        name: "analyze", operands: "", operandCount: 0...0,
        summary: "What models of any size cost, from shapes alone: no weights, no device.",
        options: [
            Option(
                "--model, --preset", "NAME,…",
                "\(ModelCost.suite.joined(separator: ", ")) (all of them: the suite of \"Generative AI Beyond LLMs\"), or presets of bench."
            ),
            Option("--size", "N", "Pixels of the finished image's side (each model's own)."),
            Option("--frames", "N", "Frames of a video (16, 11)."),
            Option("--tokens", "N", "Tokens of a language model's prompt, and as many that it writes (1024)."),
            Option("--batch", "N", "Images (1), each with guidance where there is guidance."),
            Option("--steps", "N", "Steps of the first loop (the paper's)."),
            Option(
                "--device", "h200|a100|cpu|BW,FLOPS",
                "Predict times by roofline: on a known device, this CPU measured now, or GB/s,TFLOP/s[,µs a launch] (h200)."
            ),
            Option("--attention", "flash|eager", "eager: with all scores written and read (flash)."),
            Option("--dtype", "bf16|f32", "Of weights and activations (bf16)."),
            Option(
                "--sweep", nil, "Sizes from 64 to 1024 of the first model, frames of video attention, scores in memory."
            ),
            CommonOptions.json, CommonOptions.help,
        ],
        notes: [
            "Bytes count every operand of every operation once. A predicted time is what an operation's bytes or its arithmetic take, "
                + "whichever is more, and one launch: at best, without fusing. FLOP/byte of a stage is by what has to come from memory "
                + "(weights, keys and values); of a model it is by the bytes of all its weights, as in the paper.",
            "Where each model's sizes come from is in --json (source) and in the article Reproduction.",
        ])

    static func run(_ arguments: Arguments) throws {
        let values = arguments.values
        var sizes = ModelSizes()
        sizes.side = try values.integer("size", in: 8...16384)
        sizes.frames = try values.integer("frames", in: 1...4096)
        sizes.tokens = try values.integer("tokens", in: 1...1_000_000)
        sizes.images = try values.integer("batch", in: 1...4096) ?? 1
        sizes.steps = try values.integer("steps", in: 1...10_000)
        sizes.attention = try values.attention()
        let precision = try values.precision()
        guard precision != .int8 else {
            throw values.fault("dtype", "int8", "is none of bf16, f32: what int8 costs depends on the device")
        }
        sizes.precision = precision == .automatic ? .bfloat16 : precision
        let choice = values["device"] ?? "h200"
        guard let device = try DeviceChoice(choice)?.device(sizes.precision) else {
            throw values.fault("device", choice, "is none of h200, a100, cpu, GB/s,TFLOP/s[,µs]")
        }
        let names = try values.path("model").map { $0.split(separator: ",").map(String.init) } ?? ModelCost.suite
        let analyses = try names.map { try Analysis($0, sizes, device) }
        let sweep =
            values.isOn("sweep")
            ? try SizeSweep(names.contains("stable-diffusion") ? "stable-diffusion" : names[0], sizes, device) : nil
        if values.isOn("json") {
            return try Output.json(json(analyses, sizes, device, sweep))
        }
        try Output.write(Array(text(analyses, sizes, device, sweep).utf8))
    }

    // MARK: JSON

    private static func json(
        _ analyses: [Analysis], _ sizes: ModelSizes, _ device: RooflineDevice, _ sweep: SizeSweep?
    ) -> JSON {
        var object: JSON = [
            "device": [
                "name": JSON(device.name), "gb_s": JSON(device.bandwidth / 1e9),
                "tflop_s": JSON(device.matrixRate / 1e12), "launch_us": JSON(device.launch * 1e6),
                "ridge_flop_per_byte": JSON(device.ridge),
            ],
            "dtype": JSON(sizes.precision.rawValue), "attention": JSON(sizes.attention.rawValue),
            "batch": JSON(sizes.images), "models": .list(analyses.map(\.json)),
        ]
        if let sweep, var members = object.object {
            members.set("sizes", sweep.json)
            members.set("frames", VideoSweep.json)
            members.set("score_memory", ScoreTable.json)
            object = .members(members)
        }
        return object
    }

    // MARK: Tables

    private static func text(
        _ analyses: [Analysis], _ sizes: ModelSizes, _ device: RooflineDevice, _ sweep: SizeSweep?
    ) -> String {
        var text =
            "\(harmless(device.name)): \(decimals(device.bandwidth / 1e9, 0)) GB/s, \(decimals(device.matrixRate / 1e12, 1)) TFLOP/s, "
            + "ridge \(decimals(device.ridge, 1)) FLOP/byte; \(sizes.precision.rawValue), \(sizes.attention.rawValue) attention, "
            + "\(sizes.images) image\(sizes.images == 1 ? "" : "s")\n\n"
        text += columns(
            [["model", "weights", "FLOP", "bytes", "FLOP/weight byte", "time", "eager", "gain", "attention gain"]]
                + analyses.map { analysis in
                    [
                        analysis.cost.name, countText(analysis.cost.parameters), countText(analysis.cost.flops),
                        byteText(analysis.cost.operandBytes),
                        decimals(analysis.cost.intensityByCapacity(sizes.precision), 0),
                        durationText(seconds: analysis.seconds), durationText(seconds: analysis.eagerSeconds),
                        decimals(analysis.eagerSeconds / analysis.seconds, 2) + "×",
                        decimals(analysis.eagerAttentionSeconds / max(analysis.attentionSeconds, 1e-15), 1) + "×",
                    ]
                })
        text += "\nShares of FLOP, and of the predicted time, by class of operators:\n"
        let kinds = OperatorClass.allCases.filter { kind in analyses.contains { $0.share(kind).time > 0 } }
        text += columns(
            [[""] + kinds.map(\.rawValue)]
                + analyses.flatMap { analysis in
                    [
                        [analysis.cost.name + ", FLOP"] + kinds.map { percent(analysis.share($0).flops) },
                        ["time"] + kinds.map { percent(analysis.share($0).time) },
                    ]
                })
        text += "\nStages; sequence length at every call of self-attention of a pass, or from token to token:\n"
        text += columns(
            [["", "passes", "FLOP", "FLOP/byte", "regime", "time", "lengths"]]
                + analyses.flatMap { analysis in
                    analysis.cost.stages.map { stage in
                        [
                            analysis.cost.name + ", " + stage.name, String(stage.count), countText(stage.flops),
                            decimals(stage.intensity, 1),
                            Regime(intensity: stage.intensity, ridge: device.ridge).rawValue,
                            durationText(seconds: device.seconds(stage)), lengthText(stage.lengths),
                        ]
                    }
                })
        if let sweep { text += sweep.text + VideoSweep.text + ScoreTable.text }
        return text
    }

    /// "4096×2 1024×2 …": runs of equal lengths; of a growing sequence its ends.
    static func lengthText(_ lengths: [Int]) -> String {
        guard let first = lengths.first, let last = lengths.last else { return "none" }
        var runs: [(length: Int, count: Int)] = []
        for length in lengths {
            if runs.last?.length == length { runs[runs.count - 1].count += 1 } else { runs.append((length, 1)) }
        }
        guard runs.count <= 9 else { return "\(first), … \(lengths.max() ?? last) …, \(last)" }
        return runs.map { $0.count == 1 ? "\($0.length)" : "\($0.length)×\($0.count)" }.joined(separator: " ")
    }
}

/// A model with its predicted times on a device.
struct Analysis {
    let cost: ModelCost
    let device: RooflineDevice
    private let eager: ModelCost
    let seconds: Double
    let eagerSeconds: Double

    /// - Throws: a usage error for a name or a size that there is not.
    init(_ name: String, _ sizes: ModelSizes, _ device: RooflineDevice) throws(TTIError) {
        cost = try ModelCost(name, sizes)
        var other = sizes
        other.attention = .eager
        eager = try ModelCost(name, other)
        self.device = device
        seconds = cost.stages.reduce(0) { $0 + device.seconds($1) }
        eagerSeconds = eager.stages.reduce(0) { $0 + device.seconds($1) }
    }

    private func attentionSeconds(_ cost: ModelCost) -> Double {
        OperatorClass.allCases.filter(\.isAttention).reduce(0) { sum, kind in
            cost.stages.reduce(sum) { $0 + device.seconds($1, kind) }
        }
    }
    var attentionSeconds: Double { attentionSeconds(cost) }
    var eagerAttentionSeconds: Double { attentionSeconds(eager) }

    func share(_ kind: OperatorClass, eager isEager: Bool = false) -> (flops: Double, time: Double) {
        let cost = isEager ? eager : cost
        let time = cost.stages.reduce(0) { $0 + device.seconds($1, kind) }
        return (
            Double(cost.stages.reduce(0) { $0 + $1.flops(kind) }) / Double(max(1, cost.flops)),
            time / (isEager ? eagerSeconds : seconds)
        )
    }

    var json: JSON {
        [
            "name": JSON(cost.name), "source": JSON(cost.source), "parameters": JSON(cost.parameters),
            "flops": JSON(cost.flops), "bytes": JSON(cost.operandBytes),
            "flop_per_weight_byte": JSON(Double(cost.flops) / Double(2 * cost.parameters)),
            "seconds": JSON(seconds), "eager_seconds": JSON(eagerSeconds),
            "attention_seconds": JSON(attentionSeconds), "eager_attention_seconds": JSON(eagerAttentionSeconds),
            "operators": operators(eager: false), "eager_operators": operators(eager: true),
            "stages": .list(
                cost.stages.map { stage in
                    [
                        "stage": JSON(stage.name), "passes": JSON(stage.count), "flops": JSON(stage.flops),
                        "bytes": JSON(stage.streamedBytes), "operand_bytes": JSON(stage.operandBytes),
                        "flop_per_byte": JSON(stage.intensity),
                        "regime": JSON(Regime(intensity: stage.intensity, ridge: device.ridge).rawValue),
                        "seconds": JSON(device.seconds(stage)),
                        "sequence_lengths": .list(shortened(stage.lengths).map { JSON($0) }),
                    ]
                }),
        ]
    }

    private func operators(eager isEager: Bool) -> JSON {
        var object = JSONObject()
        for kind in OperatorClass.allCases {
            let share = share(kind, eager: isEager)
            guard share.time > 0 else { continue }
            object.set(
                ByteString(kind.rawValue), ["flop_share": JSON(share.flops), "time_share": JSON(share.time)])
        }
        return .members(object)
    }
}
