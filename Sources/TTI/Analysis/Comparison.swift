package import TTIAccounting
internal import TTICPU
package import TTICore
internal import TTIFormats
internal import TTIGeneration

/// Models side by side on one machine: where time goes, what bounds each stage.
package struct Comparison: Sendable {
    /// Published shapes, with random weights; empty: the checkpoints that ship.
    package var presets: [String] = []
    /// Checkpoints by name or folder; empty, with no presets: those that ship.
    package var checkpoints: [String] = []
    package var side: Int?
    package var repeats = 3
    package var device = ComputeDevice.automatic
    package var precision = Precision.automatic
    package var attention = AttentionForm.flash
    /// Processor time is for one thread.
    package var clock = WorkClock.wall

    package init() {}

    /// A stage as it was counted and measured.
    package struct Stage: Sendable {
        package let cost: StageCost
        /// Seconds of all passes of an image: the median of the repeats, without a stopwatch.
        package let seconds: Double
        /// Seconds by class: the shares that a stopwatch at every operation found, of `seconds`.
        package let secondsByClass: [OperatorClass: Double]
    }

    package struct Model: Sendable {
        package let name: String
        package let precision: Precision
        package let stages: [Stage]
        /// Weights and work.
        package let peakMemory: Int
        package var seconds: Double { stages.reduce(0) { $0 + $1.seconds } }
    }

    package struct Report: Sendable {
        package let backend: String
        package let device: String
        package let threads: Int
        package let attention: AttentionForm
        package let clock: WorkClock
        package let ceilings: MeasuredCeilings
        package let models: [Model]

        /// FLOP in the time of a byte, as measured.
        package func ridge(_ precision: Precision) -> Double {
            ceilings.matrixTeraFLOPs(precision) * 1000 / ceilings.readGBs
        }

        package func regime(_ stage: Stage, _ precision: Precision) -> Regime {
            Regime(intensity: stage.cost.intensity, ridge: ridge(precision))
        }
    }

    private static let prompt = "a large red cube to the left of a small blue sphere"
    /// What ships, in the order of the papers.
    private static let modes: [GenerationMode] = [.parallel, .autoregressive, .diffusion]

    /// - Parameter progress: called before every model with its name.
    /// - Throws: `TTIError`: usage, a broken checkpoint, too little memory.
    package func run(progress: (String) -> Void = { _ in }) throws(TTIError) -> Report {
        try translatingErrors {
            var sources = checkpoints
            if presets.isEmpty, sources.isEmpty {
                sources = Comparison.modes.map { nameOfShippedCheckpoint(for: $0) }.filter {
                    findShippedCheckpoint(named: $0) != nil
                }
            }
            let place = try ChosenDevice(device)
            let yardstick = try makeBackend(place, .float32)
            (yardstick as? CPUBackend)?.measuresProcessorTime = clock == .processor
            let before = try yardstick.measureCeilings()
            var models: [Model] = []
            for name in sources {
                progress(name)
                models.append(try measure(checkpoint: name, place))
            }
            for name in presets {
                progress(name)
                models.append(try measure(preset: name, place))
            }
            return Report(
                backend: yardstick.name, device: yardstick.deviceName, threads: yardstick.threadCount,
                attention: attention, clock: clock, ceilings: before.best(try yardstick.measureCeilings()),
                models: models)
        }
    }

    private func backend(_ weightType: DType, _ device: ChosenDevice) throws -> TimingBackend {
        TimingBackend(
            try makeBackend(device, weightType, attention: attention), splitsFused: true, clock: clock)
    }

    private func measure(checkpoint name: String, _ device: ChosenDevice) throws -> Model {
        let source = CheckpointSource.named(name)
        let opened = try PipelineCheckpoint(source.folder(variant: nil))
        let counting = try Engine(counting: opened, for: device, precision: precision, attention: attention)
        var request = GenerationRequest(Comparison.prompt)
        (request.width, request.height) = (side, side)
        let batch = try counting.batch(for: request)
        let plan = try counting.plan(batch)
        guard let counter = counting.backend as? AccountingBackend else { preconditionFailure("no counting backend") }
        let costs = try StageWork.stages(counting.pipeline, batch, opened.networks).map { try $0.cost(counter) }
        try MemoryNeed(weights: counting.weightBytes, work: plan.arenaBytes).check(on: device, name)

        let timing = try backend(counter.weightType, device)
        timing.isOn = false
        let pipeline = try opened.makePipeline(on: timing, weights: .files)
        try timing.reserve(arenaBytes: plan.arenaBytes)
        let works = StageWork.stages(pipeline, batch, opened.networks)
        return Model(
            name: try fileName(source.name()), precision: Precision(counter.weightType),
            stages: try measure(works, costs, timing) { Array(0..<$0.count) },
            peakMemory: counting.weightBytes + plan.arenaBytes)
    }

    private func measure(preset name: String, _ device: ChosenDevice) throws -> Model {
        let isDecoding = try BenchmarkSubject(preset: name).sequenceLength != nil
        let weightType = device.weightType(precision, onCPU: isDecoding ? .bfloat16 : .float32)
        var stages: [Stage] = []
        var peak = 0
        for stage in try PresetStage.stages(preset: name, PresetStage.Sizes(side: side)) {
            let counter = AccountingBackend(device.types(weightType), attention: attention)
            let counted = try stage.cost(on: counter)
            try MemoryNeed(weights: counted.weightBytes, work: counted.arenaBytes).check(on: device, name)
            peak = max(peak, counted.weightBytes + counted.arenaBytes)
            let timing = try backend(weightType, device)
            timing.isOn = false
            let work = try stage.work(on: timing, arenaBytes: counted.arenaBytes)
            stages += try measure([work], [counted.cost], timing) { work in
                work.isDecoding ? (0..<4).map { (2 * $0 + 1) * work.count / 8 } : [0]
            }
        }
        return Model(name: name, precision: Precision(weightType), stages: stages, peakMemory: peak)
    }

    /// Runs the stages one after the other: once to warm up, `repeats` times without a stopwatch, once with. A GPU gets another
    /// round before the last: divided by the stopwatch, fused operations have products whose kernels are still to be chosen.
    /// - Parameter passes: which passes stand for all passes of a stage.
    private func measure(
        _ works: [StageWork], _ costs: [StageCost], _ timing: TimingBackend, passes: (StageWork) -> [Int]
    ) throws -> [Stage] {
        var samples = [[Double]](repeating: [], count: works.count)
        var shares = [[OperatorClass: Double]](repeating: [:], count: works.count)
        for round in 0...repeats + (timing.issuesAhead ? 2 : 1) {
            timing.isOn = round > repeats
            for (index, work) in works.enumerated() {
                timing.reset()
                let indices = passes(work)
                let start = clock.now
                for pass in indices { try work.run(pass) }
                let seconds = (clock.now - start) * Double(work.count) / Double(max(1, indices.count))
                if timing.isOn {
                    shares[index] = timing.secondsByClass
                } else if round > 0 {
                    samples[index].append(seconds)
                }
            }
        }
        return works.indices.map { index in
            let seconds = SampleQuantiles(samples[index]).median
            let total = shares[index].values.reduce(0, +)
            return Stage(
                cost: costs[index], seconds: seconds,
                secondsByClass: shares[index].mapValues { total > 0 ? $0 / total * seconds : 0 })
        }
    }
}
