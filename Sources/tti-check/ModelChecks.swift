internal import TTI
internal import TTIAccounting
internal import TTICPU
internal import TTICore
internal import TTIFormats
internal import TTIGeneration
internal import TTITestSupport

/// Holds whole models against themselves and against the same on the CPU: the checkpoints that ship, from prompt to pixels.
struct ModelChecks {
    let options: CheckOptions
    let report: CheckReport

    private static let names = ["scenes-ar", "scenes-masked", "scenes-diffusion"]
    private static let prompt = "a large red cube to the left of a small blue sphere"
    private static let seeds: [UInt64] = [3, 4, 1 << 40]

    func run() throws {
        for name in ModelChecks.names
        where options.filters.isEmpty || options.filters.contains(where: { name.contains($0) }) {
            let checkpoint = try PipelineCheckpoint(CheckpointFolder(path: options.checkpoints + "/" + name))
            for type in options.types { try check(checkpoint, name, type) }
        }
    }

    /// What a run made: tokens or latents, and pixels where they were asked for.
    private struct Made {
        let codes: [ImageCode]
        let pixels: [[Float]]
    }

    private func check(_ checkpoint: PipelineCheckpoint, _ name: String, _ type: DType) throws {
        let backend = try options.makeBackend(type)
        let pipeline = try checkpoint.makePipeline(on: backend, weights: .files)
        let together = try make(pipeline, checkpoint, ModelChecks.seeds)
        var failures: [String] = []
        var count = 0
        func expect(_ isRight: Bool, _ failure: String) {
            count += 1
            if !isRight { failures.append(failure) }
        }

        expect(together.pixels.allSatisfy { $0.allSatisfy(\.isFinite) }, "pixels are not finite")
        expect(Set(together.codes).count == ModelChecks.seeds.count, "different seeds give the same image")
        for (index, seed) in ModelChecks.seeds.enumerated() {
            let alone = try make(pipeline, checkpoint, [seed], pixels: index == 0)
            expect(alone.codes[0] == together.codes[index], "seed \(seed) is another image alone than in a batch")
            if index == 0 { expect(alone.pixels == Array(together.pixels.prefix(1)), "its pixels differ too") }
        }
        expect(try make(pipeline, checkpoint, ModelChecks.seeds).codes == together.codes, "a second run differs")

        // A stopwatch that stands still passes everything on, and does recorded work again instead of replaying it.
        let passing = TimingBackend(backend)
        passing.isOn = false
        let direct = try make(
            checkpoint.makePipeline(on: passing, weights: .files), checkpoint, ModelChecks.seeds, pixels: false)
        expect(direct.codes == together.codes, "replays make something else than direct work")

        if type == .float32, options.backend != "cpu" {
            let processor = CPUBackend(weightType: .float32, threads: ThreadPool.defaultThreadCount)
            let reference = try checkpoint.makePipeline(on: processor, weights: .files)
            for isGreedy in checkpoint.kind == .autoregressive ? [true, false] : [false] {
                let here = try make(pipeline, checkpoint, ModelChecks.seeds, isGreedy: isGreedy)
                let there = try make(reference, checkpoint, ModelChecks.seeds, isGreedy: isGreedy)
                let what = isGreedy ? "greedy" : "standard"
                if checkpoint.kind == .diffusion {
                    let latents = difference(here.codes.map(\.latents), there.codes.map(\.latents))
                    expect(latents.isWithin(.pipeline), "\(what) latents are not the CPU's: \(latents)")
                } else {
                    let places = zip(here.codes, there.codes).flatMap { zip($0.tokens, $1.tokens) }
                    let others = places.count { $0 != $1 }
                    expect(others == 0, "\(others) of \(places.count) \(what) tokens are not the CPU's")
                }
                // Of the CPU's own codes, so that only the way to pixels is compared.
                if !options.isQuick {
                    let pixels = difference(try pipeline.decode(there.codes), there.pixels)
                    expect(pixels.isWithin(.pipeline), "pixels are not the CPU's: \(pixels)")
                }
            }
        }
        report.add("\(options.backend) \(name)", type, count: count, failures: failures)
    }

    private func difference(_ results: [[Float]], _ expected: [[Float]]) -> Difference {
        Difference(results.joined().map(Double.init), from: expected.joined().map(Double.init))
    }

    private func make(
        _ pipeline: any ImagePipeline, _ checkpoint: PipelineCheckpoint, _ seeds: [UInt64], isGreedy: Bool = false,
        pixels: Bool = true
    ) throws -> Made {
        var settings = pipeline.defaults
        if isGreedy { settings.temperature = [0, 0] }
        if options.isQuick, checkpoint.kind != .autoregressive {
            (settings.steps, settings.gridHeight, settings.gridWidth) = (4, 8, 8)
        }
        let batch = ImageBatch(
            items: seeds.map {
                .init(prompt: pipeline.tokenize(ModelChecks.prompt), negative: pipeline.tokenize(""), seed: $0)
            }, settings: settings)
        try pipeline.check(batch)
        let plan = try GenerationPlan(of: batch, checkpoint, NumberTypes(pipeline.backend))
        try pipeline.backend.reserve(arenaBytes: plan.arenaBytes)
        pipeline.prepare(batch)
        let count = options.isQuick ? min(pipeline.stepCount, 4) : pipeline.stepCount
        for step in 0..<count { pipeline.step(step) }
        let codes = try pipeline.codes()
        return Made(codes: codes, pixels: pixels && !options.isQuick ? try pipeline.decode(codes) : [])
    }
}
