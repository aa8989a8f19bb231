import TTIAccounting
package import TTICore
package import TTIGeneration

/// A pipeline on a device, and its double that only counts: the work of one `ImageGenerator`, confined to whoever holds its
/// lock.
package final class Engine {
    package let checkpoint: PipelineCheckpoint
    package let backend: any Backend
    /// Where the work is done; nil where it is only counted.
    private let computing: (any DeviceBackend)?
    private let device: ChosenDevice
    /// "NVIDIA H200", or the processor's name.
    package var deviceName: String { device.name }
    package let pipeline: any ImagePipeline
    /// Bytes of prepared weights.
    package let weightBytes: Int
    /// Seconds that loading took.
    package private(set) var loadSeconds: Double
    /// What a batch of a given form takes, counted once.
    private var plans: [PlanKey: GenerationPlan] = [:]

    package init(
        checkpoint: PipelineCheckpoint, device: ChosenDevice, precision: Precision, attention: AttentionForm = .flash
    ) throws {
        let start = ContinuousClock.now
        self.checkpoint = checkpoint
        self.device = device
        let weightType = Engine.weightType(precision, checkpoint.kind, device)
        let counter = AccountingBackend(device.types(weightType))
        _ = try translatingErrors { try checkpoint.makePipeline(on: counter, weights: .shapes) }
        weightBytes = counter.preparedByteCount
        try MemoryNeed(weights: weightBytes, work: 0).check(on: device)
        let made = try makeBackend(device, weightType, attention: attention)
        (backend, computing) = (made, made)
        pipeline = try translatingErrors {
            let pipeline = try checkpoint.makePipeline(on: made, weights: .files)
            try made.synchronize()
            return pipeline
        }
        loadSeconds = start.secondsSinceThen
    }

    /// An engine that loads no weights and computes nothing: it checks requests and counts what they take.
    package init(
        counting checkpoint: PipelineCheckpoint, for device: ChosenDevice, precision: Precision,
        attention: AttentionForm = .flash
    ) throws {
        self.checkpoint = checkpoint
        self.device = device
        let weightType = Engine.weightType(precision, checkpoint.kind, device)
        let counter = AccountingBackend(device.types(weightType), attention: attention)
        (backend, computing) = (counter, nil)
        pipeline = try translatingErrors { try checkpoint.makePipeline(on: counter, weights: .shapes) }
        weightBytes = counter.preparedByteCount
        loadSeconds = 0
    }

    /// On a CPU bf16 where decoding is bound by the bytes of the weights, f32 where it is bound by arithmetic that most CPUs
    /// do in float32 anyway.
    package static func weightType(
        _ precision: Precision, _ kind: PipelineCheckpoint.Kind, _ device: ChosenDevice
    ) -> DType {
        device.weightType(precision, onCPU: kind == .autoregressive ? .bfloat16 : .float32)
    }

    /// Seconds that loading took, for the first image that is made; 0 afterwards.
    func takeLoadSeconds() -> Double {
        defer { loadSeconds = 0 }
        return loadSeconds
    }

    // MARK: Plan

    private struct PlanKey: Hashable {
        let settings: GenerationSettings
        let images: Int
        let isOnePrompt: Bool
        let firstStep: Int
        let masked: Int
        let keepsPicture: Bool
    }

    /// What a batch takes, from shapes alone.
    package func plan(_ batch: ImageBatch) throws -> GenerationPlan {
        let key = PlanKey(
            settings: batch.settings, images: batch.items.count, isOnePrompt: batch.isOnePrompt,
            firstStep: batch.firstStep, masked: batch.maskedCount,
            keepsPicture: batch.items.contains { $0.open != nil })
        if let plan = plans[key] { return plan }
        let plan = try GenerationPlan(
            of: batch, checkpoint, NumberTypes(backend), attention: backend.attentionForm)
        plans[key] = plan
        return plan
    }

    // MARK: Run

    /// Makes the images of one batch.
    /// - Parameters:
    ///   - previewInterval: a preview every so many steps.
    ///   - onStep: after every step: how many are done, of how many, and a preview when one is due; false cancels.
    package func run(
        _ batch: ImageBatch, previewInterval: Int?, onStep: (Int, Int, [RGBImage]?) -> Bool
    ) throws -> (images: [RGBImage], codes: [ImageCode], timings: GenerationTimings) {
        try translatingErrors { try runUntranslated(batch, previewInterval: previewInterval, onStep: onStep) }
    }

    private func runUntranslated(
        _ batch: ImageBatch, previewInterval: Int?, onStep: (Int, Int, [RGBImage]?) -> Bool
    ) throws -> (images: [RGBImage], codes: [ImageCode], timings: GenerationTimings) {
        let plan = try plan(batch)
        var timings = GenerationTimings()
        // What is reserved already is given back first.
        if let computing, plan.arenaBytes > backend.arena.buffer.byteCount {
            let more = plan.arenaBytes - backend.arena.buffer.byteCount
            try MemoryNeed(weights: 0, work: more).check(on: device, free: computing.freeMemory)
        }
        try backend.reserve(arenaBytes: plan.arenaBytes)
        let start = ContinuousClock.now
        pipeline.prepare(batch)
        try backend.synchronize()
        timings.encode = start.secondsSinceThen

        let decodeStart = ContinuousClock.now
        var stepSeconds: [Double] = []
        let count = pipeline.stepCount
        var pace = WaitingPace()
        for step in 0..<count {
            let stepStart = ContinuousClock.now
            pipeline.step(step)
            if backend.issuesAhead {
                try pace.waitIfDue { try backend.synchronize() }
            } else {
                stepSeconds.append(stepStart.secondsSinceThen)
            }
            var preview: [RGBImage]?
            if let previewInterval, (step + 1) % previewInterval == 0, step + 1 < count {
                preview = try images(of: pipeline.codes(), batch.settings)
            }
            guard onStep(step + 1, count, preview) else {
                throw TTIError(.cancelled, "cancelled", "cancelled after step \(step + 1) of \(count)")
            }
        }
        let codes = try pipeline.codes()
        timings.decode = decodeStart.secondsSinceThen

        let detokenizeStart = ContinuousClock.now
        let images = try images(of: codes, batch.settings)
        timings.detokenize = detokenizeStart.secondsSinceThen
        timings.total = start.secondsSinceThen
        timings.steps = count
        timings.tokens = codes.reduce(0) { $0 + $1.tokens.count }
        // Where steps are issued ahead nobody sees when one ends: their mean.
        timings.stepMilliseconds =
            1000 * (stepSeconds.isEmpty ? timings.decode / Double(max(1, count)) : SampleQuantiles(stepSeconds).median)
        timings.weightBytesPerStep = plan.weightBytesPerStep
        timings.flopsPerStep = plan.flopsPerStep
        timings.peakMemory = weightBytes + plan.arenaBytes
        return (images, codes, timings)
    }

    /// Decoded tokens or latents as 8-bit pictures; a number that is not finite is an error, not a black pixel.
    private func images(of codes: [ImageCode], _ settings: GenerationSettings) throws -> [RGBImage] {
        let factor = pipeline.pixelsPerToken
        return try pipeline.decode(codes).map { pixels in
            try RGBImage(
                width: settings.gridWidth * factor, height: settings.gridHeight * factor, unitRange: pixels)
        }
    }
}

extension RGBImage {
    /// Numbers of 0...1, clipped and rounded to eight bits.
    /// - Throws: `.notANumber` when one is not finite.
    init(width: Int, height: Int, unitRange: [Float]) throws {
        var bytes = [UInt8](repeating: 0, count: unitRange.count)
        var allFinite = true
        for (index, value) in unitRange.enumerated() {
            allFinite = allFinite && value.isFinite
            bytes[index] = value.isFinite ? UInt8(min(max(value, 0), 1) * 255 + 0.5) : 0
        }
        guard allFinite else {
            throw TTIError(
                .notANumber, "numerics.pixels", "the decoded picture has numbers that are not finite; try --dtype f32")
        }
        self.init(width: width, height: height, pixels: bytes)
    }
}

extension ContinuousClock.Instant {
    /// Seconds from this instant to now.
    var secondsSinceThen: Double {
        let passed = duration(to: .now).components
        return Double(passed.seconds) + Double(passed.attoseconds) * 1e-18
    }
}
