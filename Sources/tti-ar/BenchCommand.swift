internal import TTI
internal import TTICore
internal import TTIFormats

/// `tti-ar bench`: speed, beside what the machine can do at best.
enum BenchCommand: Command {
    static let syntax = CommandSyntax(
        name: "bench", operands: "decode|step|prefill|detokenize", operandCount: 1...1,
        summary:
            "Speed of a published shape with random weights, or of a checkpoint, beside the ceilings measured in the same process.",
        options: [
            Option(
                "--preset", "NAME",
                "parti-350m, parti-750m, parti-3b, parti-20b, dalle-mini, dalle-mega, llamagen-xl (decode, prefill); "
                    + "muse-600m, muse-3b, amused-256, amused-512, sd15, sdxl (step, prefill); vqgan-f16, amused-vq, sd-vae "
                    + "(detokenize)."),
            Option("-m, --checkpoint, --model", "DIR|NAME", "Measure this checkpoint instead."),
            Option("--batch", "N", "Rows (2: one image with guidance; detokenize: 1 image)."),
            Option("--tokens", "N", "Tokens of the sequence (the network's)."),
            Option(
                "--steps", "N",
                "Units timed in a row at each place (on a CPU decode 8, else 1; on a GPU decode 32, else 16)."),
            Option("--repeats", "N", "How often (5); ends after two minutes all the same."),
            Option("--size", "N", "Pixels of an image's side (the network's; detokenize 256; sd15 512, sdxl 1024)."),
            CommonOptions.variant, CommonOptions.backend, CommonOptions.dtype, CommonOptions.attention,
            CommonOptions.threads,
            CommonOptions.json, CommonOptions.quiet, CommonOptions.help,
        ],
        notes: [
            "A unit is a token of every image (decode), a step of masked decoding or diffusion, a prompt (prefill), or the pictures of a batch. "
                + "Bytes are what has to come from memory: weights, keys and values.",
            "A GPU is waited for once after units in a row, whose mean is one sample; decode there is the whole sequence from its "
                + "first token to its last.",
        ])

    static func run(_ arguments: Arguments) throws {
        let values = arguments.values
        let names = Benchmark.What.allCases.map(\.rawValue)
        guard let name = arguments.operands.first else {
            throw usage("argument", "what is to be measured? one of \(names.joined(separator: ", "))")
        }
        guard let what = Benchmark.What(rawValue: name) else {
            let nearest = nearestName(to: name, among: names).map { "; did you mean \($0)?" } ?? ""
            throw usage(
                "argument",
                "there is nothing to measure called \(quoted(name, limit: 60)), but \(names.joined(separator: ", "))\(nearest)"
            )
        }
        var benchmark = Benchmark(what)
        benchmark.preset = values["preset"]
        benchmark.checkpoint = try values.path("checkpoint").map { .named($0) }
        if benchmark.preset != nil, benchmark.checkpoint != nil {
            throw usage("option", "--preset and --checkpoint both say what to measure; give one of them")
        }
        benchmark.variant = try values.path("variant")
        benchmark.rows = try values.integer("batch", in: 1...256) ?? (what == .detokenize ? 1 : 2)
        benchmark.tokens = try values.integer("tokens", in: 1...65536)
        benchmark.steps = try values.integer("steps", in: 1...1024)
        benchmark.repeats = try values.integer("repeats", in: 1...10_000) ?? 5
        benchmark.side = try values.integer("size", in: 16...4096)
        benchmark.device = try values.device()
        benchmark.precision = try values.precision()
        benchmark.attention = try values.attention()
        var progress = Progress(isQuiet: values.isOn("quiet"))
        let title = "\(name) \(benchmark.preset.map { harmless($0, limit: 30) } ?? "checkpoint")"
        progress.begin(title)
        let outcome = try benchmark.run { done, count in
            if done == 0 { progress.begin(title) } else { progress.step(done, of: count, unit: "repeat") }
        }
        progress.end(title)
        try values.isOn("json") ? Output.json(json(outcome)) : Output.write(Array(text(outcome).utf8))
    }

    private static func json(_ outcome: Benchmark.Outcome) -> JSON {
        let seconds = outcome.seconds.median
        let rates = Rates(outcome)
        var json: JSON = [
            "what": JSON(outcome.what.rawValue), "preset": JSON(outcome.preset), "backend": JSON(outcome.backend),
            "device": JSON(outcome.device), "threads": JSON(outcome.threads), "dtype": JSON(outcome.precision.rawValue),
            "batch": JSON(outcome.rows), "commit": JSON(commit), "repeats": JSON(outcome.repeats),
            "median_ms": JSON(seconds * 1000), "best_ms": JSON(outcome.seconds.best * 1000),
            "p10_ms": JSON(outcome.seconds.p10 * 1000), "p90_ms": JSON(outcome.seconds.p90 * 1000),
            "tokens_per_s": JSON(rates.tokens), "bytes": JSON(outcome.bytes), "flops": JSON(outcome.flops),
            "gb_s": JSON(rates.gigabytes), "tflop_s": JSON(rates.teraFLOPs),
            "bandwidth_share": finite(rates.bandwidthShare), "matrix_share": finite(rates.matrixShare),
            "ceilings": [
                "read_gb_s": JSON(outcome.ceilings.readGBs), "copy_gb_s": JSON(outcome.ceilings.copyGBs),
                "tflop_s": JSON(outcome.ceilings.teraFLOPs),
                "tile_bf16_tflop_s": outcome.ceilings.tileTeraFLOPs.map { JSON($0) } ?? .null,
                "tile_int8_top_s": outcome.ceilings.tileTeraOPs.map { JSON($0) } ?? .null,
            ],
            "peak_memory_bytes": JSON(outcome.peakMemory),
        ]
        if outcome.what == .decode, var object = json.object {
            object.set(
                "positions",
                .list(
                    outcome.positions.map {
                        ["position": JSON($0.position), "median_ms": JSON($0.median * 1000)]
                    }))
            json = .members(object)
        }
        return json
    }

    /// A share of what was not measured is null.
    private static func finite(_ share: Double) -> JSON { share.isFinite ? JSON(share) : .null }

    /// What the median amounts to.
    private struct Rates {
        let tokens: Double
        let gigabytes: Double
        let teraFLOPs: Double
        let bandwidthShare: Double
        let matrixShare: Double

        init(_ outcome: Benchmark.Outcome) {
            let seconds = max(outcome.seconds.median, 1e-9)
            tokens = Double(outcome.tokens) / seconds
            gigabytes = Double(outcome.bytes) / seconds / 1e9
            teraFLOPs = Double(outcome.flops) / seconds / 1e12
            bandwidthShare = gigabytes / outcome.ceilings.readGBs
            matrixShare = teraFLOPs / outcome.ceilings.matrixTeraFLOPs(outcome.precision)
        }
    }

    private static func text(_ outcome: Benchmark.Outcome) -> String {
        let rates = Rates(outcome)
        let seconds = outcome.seconds
        var rows = [
            (
                "\(outcome.what.rawValue) \(outcome.preset)",
                "\(outcome.backend), \(harmless(outcome.device)), \(outcome.threads) thread\(outcome.threads == 1 ? "" : "s"), "
                    + "\(outcome.precision.rawValue), \(outcome.rows) rows"
            ),
            (
                "median",
                "\(durationText(seconds: seconds.median)) (best \(durationText(seconds: seconds.best)), 10 % "
                    + "\(durationText(seconds: seconds.p10)), 90 % \(durationText(seconds: seconds.p90)); \(outcome.repeats) repeats)"
            ),
            ("tokens", "\(decimals(rates.tokens, 1)) a second"),
            (
                "bandwidth",
                "\(byteText(outcome.bytes)) at \(decimals(rates.gigabytes, 1)) GB/s: \(decimals(rates.bandwidthShare * 100, 0)) % of the "
                    + "\(decimals(outcome.ceilings.readGBs, 1)) GB/s read here"
            ),
            (
                "arithmetic",
                "\(countText(outcome.flops)) FLOP at \(decimals(rates.teraFLOPs * 1000, 1)) GFLOP/s: \(decimals(rates.matrixShare * 100, 0)) % "
                    + "of \(decimals(outcome.ceilings.matrixTeraFLOPs(outcome.precision) * 1000, 1)) GFLOP/s"
            ),
        ]
        for place in outcome.positions {
            rows.append(("position \(place.position)", durationText(seconds: place.median)))
        }
        rows.append(("memory", byteText(outcome.peakMemory)))
        return table(rows, indent: 0)
    }
}
