internal import TTIAccounting
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
    /// Units timed in a row, at each place of the sequence.
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
        /// Seconds: of the whole sequence where work is issued ahead, else of all places together.
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
        let place = try ChosenDevice(device)
        let weightType = place.weightType(precision, onCPU: what == .decode ? .bfloat16 : .float32)
        let schedule = try BenchmarkSchedule(self, subject.sequenceLength, isIssuedAhead: !place.isCPU)
        // Counted from shapes alone: memory, bytes, FLOP.
        let counted = try count(subject, weightType, place, at: schedule.meanPosition)
        try counted.need.check(on: place, "\(subject.name) in \(Precision(weightType).rawValue)") { fits in
            remedy(subject, weightType, place, fits: fits)
        }

        let backend = try makeBackend(place, weightType, attention: attention)
        let before = try backend.measureCeilings()
        let preparation = try subject.load(what, sizes, on: backend, isCounting: false)
        try backend.reserve(arenaBytes: counted.need.work)
        let timed = try preparation(backend)
        let samples = try schedule.sample(timed, progress)
        let after = try backend.measureCeilings()
        return Outcome(
            what: what, preset: subject.name, backend: backend.name, device: backend.deviceName,
            threads: backend.threadCount, precision: Precision(weightType), rows: rows, repeats: samples.repeats,
            seconds: SampleQuantiles(samples.all),
            positions: what == .decode ? samples.byPosition.map { ($0, SampleQuantiles($1).median) } : [],
            tokens: timed.tokens, bytes: counted.bytes, flops: counted.flops, ceilings: before.best(after),
            peakMemory: counted.need.weights + counted.need.work)
    }

    private var sizes: BenchmarkSizes { BenchmarkSizes(rows: rows, tokens: tokens, side: side) }

    /// What a unit takes.
    private struct Counted {
        let need: MemoryNeed
        let bytes: Int
        let flops: Int
    }

    private func count(
        _ subject: BenchmarkSubject, _ weightType: DType, _ place: ChosenDevice, at position: Int = 0
    ) throws -> Counted {
        let counter = AccountingBackend(place.types(weightType), attention: attention)
        let work = try subject.load(what, sizes, on: counter, isCounting: true)(counter)
        let preparationPeak = counter.arena.peak
        counter.reset()
        counter.decodePosition = subject.prefixLength + position
        try work.run(0)
        let cost = counter.cost
        return Counted(
            need: MemoryNeed(weights: counter.preparedByteCount, work: max(preparationPeak, counter.arena.peak)),
            bytes: cost.bytes, flops: cost.flops)
    }

    /// What would fit: a shorter type of weights, or a smaller shape of the same family.
    private func remedy(
        _ subject: BenchmarkSubject, _ weightType: DType, _ place: ChosenDevice, fits: (MemoryNeed) -> Bool
    ) -> String? {
        let types: [DType] = weightType == .float32 ? [.bfloat16, .int8] : weightType == .bfloat16 ? [.int8] : []
        for type in types where (try? count(subject, type, place)).map({ fits($0.need) }) ?? false {
            return "--dtype \(Precision(type).rawValue)"
        }
        for name in BenchmarkSubject.smaller(than: subject.name) {
            guard let smaller = try? BenchmarkSubject(preset: name) else { continue }
            if let counted = try? count(smaller, weightType, place), fits(counted.need) { return "--preset \(name)" }
        }
        return rows > 2 ? "a smaller --batch" : nil
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
