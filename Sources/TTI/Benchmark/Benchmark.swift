internal import TTIAccounting
internal import TTICPU
package import TTICore
internal import TTIFormats
internal import TTIModels

/// A measurement of speed: a part of a published shape with random weights, or of a checkpoint, beside the ceilings of the
/// same machine in the same minute.
package struct Benchmark: Sendable {
    /// What is measured.
    package enum What: String, Sendable, CaseIterable {
        /// One token of every image.
        case decode
        /// One step of masked decoding.
        case step
        /// Everything that is done once per prompt.
        case prefill
        /// Tokens to pixels.
        case detokenize
    }

    package var what: What
    package var preset: String?
    package var checkpoint: CheckpointSource?
    package var variant: String?
    /// Two rows are one image with guidance.
    package var rows = 2
    /// Tokens of the sequence.
    package var tokens: Int?
    /// Units timed in a row, at each place.
    package var steps: Int?
    /// How often that is repeated.
    package var repeats = 5
    /// Pixels of an image's side.
    package var side: Int?
    package var device = ComputeDevice.automatic
    package var precision = Precision.automatic
    package var attention = AttentionForm.flash

    package init(_ what: What) { self.what = what }

    /// What was measured. Times are of one unit: a token of every image, a step, a prompt, all pictures of the batch.
    package struct Outcome: Sendable {
        package let what: What
        package let preset: String
        package let backend: String
        package let device: String
        package let threads: Int
        package let precision: Precision
        package let rows: Int
        package let repeats: Int
        /// Seconds, of all places together.
        package let seconds: SampleQuantiles
        /// Where in the sequence, and the median there; empty when it makes no difference.
        package let positions: [(position: Int, median: Double)]
        /// Image tokens of a unit.
        package let tokens: Int
        /// What has to come from memory: weights, keys and values.
        package let bytes: Int
        package let flops: Int
        package let ceilings: MeasuredCeilings
        /// Weights and arena.
        package let peakMemory: Int
    }

    /// How long a measurement may go on after its first repeat.
    private static let budget = Duration.seconds(120)

    /// - Parameters:
    ///   - progress: called after every repeat: how many are done, of how many.
    /// - Throws: `TTIError`: usage, outOfMemory before anything large is allocated.
    package func run(progress: (Int, Int) -> Void = { _, _ in }) throws(TTIError) -> Outcome {
        try translatingErrors { try measured(progress) }
    }

    private func measured(_ progress: (Int, Int) -> Void) throws -> Outcome {
        let subject =
            try preset.map { try BenchmarkSubject(preset: $0) }
            ?? BenchmarkSubject(
                checkpoint ?? .demo(what == .decode ? .autoregressive : .parallel), variant: variant, what: what)
        let weightType: DType =
            switch precision {
            case .float32: .float32
            case .bfloat16: .bfloat16
            case .int8: .int8
            case .automatic: what == .decode ? .bfloat16 : .float32
            }
        let sizes = BenchmarkSizes(rows: rows, tokens: tokens, side: side)
        // Counted from shapes alone: memory, bytes, FLOP.
        let counter = AccountingBackend(weightType: weightType)
        counter.attentionForm = attention
        let counted = try subject.load(what, sizes, on: counter, isCounting: true)
        let weightBytes = counter.preparedByteCount
        let work = try counted(counter)
        let places = try positions(subject, sizes)
        let preparationPeak = counter.arena.peak
        counter.reset()
        counter.decodePosition = places.reduce(0, +) / max(1, places.count)
        try work.run(places[0])
        let cost = counter.cost
        let arenaBytes = max(preparationPeak, counter.arena.peak)
        try checkMemory(weightBytes + arenaBytes, subject.name, weightType)

        let threads: Int? = if case .cpu(let threads) = device { threads } else { nil }
        let backend = try CPUBackend.make(weightType: weightType, threads: threads)
        backend.attentionForm = attention
        let before = try MeasuredCeilings(backend)
        let preparation = try subject.load(what, sizes, on: backend, isCounting: false)
        try backend.reserve(arenaBytes: arenaBytes)
        let timed = try preparation(backend)
        let samples = try sample(timed, places, progress)
        let after = try MeasuredCeilings(backend)
        let all = samples.flatMap { $0 }
        return Outcome(
            what: what, preset: subject.name, backend: backend.name, device: processorName(),
            threads: backend.pool.threadCount, precision: Precision(weightType), rows: rows,
            repeats: all.count / (places.count * unitsInARow), seconds: SampleQuantiles(all),
            positions: what == .decode ? zip(places, samples).map { ($0, SampleQuantiles($1).median) } : [],
            tokens: timed.tokens, bytes: cost.bytes, flops: cost.flops, ceilings: before.best(after),
            peakMemory: weightBytes + arenaBytes)
    }

    private var unitsInARow: Int { steps ?? (what == .decode ? 8 : 1) }

    /// Where in the sequence units are timed: early and late for decoding.
    private func positions(_ subject: BenchmarkSubject, _ sizes: BenchmarkSizes) throws(TTIError) -> [Int] {
        guard what == .decode, case .parti(let c) = subject.network else { return [0] }
        let length = min(tokens ?? c.imageLength, c.imageLength)
        guard length >= unitsInARow else {
            throw TTIError(
                .usage, "usage.bench",
                "\(unitsInARow) tokens in a row do not fit a sequence of \(length); give fewer --steps or more --tokens"
            )
        }
        let late = length - unitsInARow
        return late == 0 ? [0] : [min(16, late / 2), late]
    }

    /// Seconds of every unit, by place. The first repeat warms up and is not kept.
    private func sample(_ work: BenchmarkWork, _ places: [Int], _ progress: (Int, Int) -> Void) throws -> [[Double]] {
        var samples = [[Double]](repeating: [], count: places.count)
        let clock = ContinuousClock()
        let begin = clock.now
        for pass in 0...repeats {
            for (index, place) in places.enumerated() {
                for unit in 0..<unitsInARow {
                    let start = clock.now
                    try work.run(what == .decode ? place + unit : 0)
                    if pass > 0 { samples[index].append((clock.now - start).seconds) }
                }
            }
            progress(pass, repeats)
            if pass > 0, clock.now - begin > Benchmark.budget { break }
        }
        return samples
    }

    /// Refuses before anything is allocated.
    private func checkMemory(_ needed: Int, _ name: String, _ weightType: DType) throws(TTIError) {
        // Weights are packed from a copy; a twentieth on top is for that and for the process.
        let needed = needed + needed / 20
        let free = hostMemory().free
        guard needed > free else { return }
        var remedy = "a smaller preset fits"
        if weightType == .float32, needed / 2 < free { remedy = "--dtype bf16 needs \(byteText(needed / 2))" }
        throw TTIError(
            .outOfMemory, "device.memory",
            "\(name) needs \(byteText(needed)) in \(Precision(weightType).rawValue), \(byteText(free)) are free; \(remedy)"
        )
    }
}

/// Times in order.
package struct SampleQuantiles: Sendable {
    package let median: Double
    package let best: Double
    package let p10: Double
    package let p90: Double

    init(_ values: [Double]) {
        let sorted = values.sorted()
        func at(_ share: Double) -> Double {
            sorted.isEmpty ? 0 : sorted[Int((Double(sorted.count - 1) * share).rounded())]
        }
        (median, best, p10, p90) = (at(0.5), at(0), at(0.1), at(0.9))
    }
}

extension AccountingBackend {
    /// Arithmetic, and what has to come from memory: weights, and keys and values. Activations stay in caches.
    fileprivate var cost: (bytes: Int, flops: Int) {
        operations.reduce((0, 0)) { sum, operation in
            let isAttention = operation.kind.isAttention
            return (
                sum.0 + operation.weightBytes + (isAttention && operation.name != "append" ? operation.bytesRead : 0),
                sum.1 + operation.flops
            )
        }
    }
}
