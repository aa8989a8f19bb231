package import TTICore
internal import TTIFormats
internal import TTIGeneration

/// A checkpoint of which everything but the weights is read: enough to check requests and to count what they take.
package final class CheckpointOutline {
    private let engine: Engine
    /// The last component of what was asked for.
    package let name: String
    package let mode: GenerationMode
    /// How weights will be held.
    package let precision: Precision
    /// Where the work will be done.
    package let device: ChosenDevice

    /// - Throws: `TTIError`: whatever is wrong with the checkpoint besides its weights.
    package init(
        _ source: CheckpointSource, variant: String?, device: ChosenDevice, precision: Precision,
        attention: AttentionForm = .flash
    ) throws(TTIError) {
        engine = try translatingErrors {
            let folder = try source.folder(variant: variant)
            return try Engine(
                counting: PipelineCheckpoint(folder), for: device, precision: precision, attention: attention)
        }
        self.device = device
        name = try translatingErrors { fileName(try source.name()) }
        let kind = engine.checkpoint.kind
        mode = GenerationMode(kind)
        self.precision = Precision(Engine.weightType(precision, kind, device))
    }

    /// Pixels for each token, in each direction.
    package var pixelsPerToken: Int { engine.pipeline.pixelsPerToken }

    /// Checks every value of a request, and that the device has the memory for it.
    /// - Throws: `TTIError` of code usage or outOfMemory.
    package func check(_ request: GenerationRequest, batch: Int?) throws(TTIError) {
        let plan = try plan(request, batch: batch)
        try plan.need.check(on: device) { remedy(request, plan, fits: $0) }
    }

    /// What of a request that does not fit would: fewer images at a time, a shorter type of weights, or both.
    private func remedy(_ request: GenerationRequest, _ plan: RequestPlan, fits: (MemoryNeed) -> Bool) -> String? {
        var batches = [plan.batch]
        while let last = batches.last, last > 1 { batches.append(last / 2) }
        let shorter: [Precision] =
            switch precision {
            case .float32: [.bfloat16, .int8]
            case .bfloat16: [.int8]
            default: []
            }
        for batch in batches.dropFirst() {
            if let less = try? self.plan(request, batch: batch), fits(less.need) { return "--batch \(batch)" }
        }
        for precision in shorter {
            guard
                let engine = try? Engine(
                    counting: engine.checkpoint, for: device, precision: precision,
                    attention: engine.backend.attentionForm)
            else { continue }
            for batch in batches where (try? self.plan(request, batch: batch, engine)).map({ fits($0.need) }) ?? false {
                return "--dtype \(precision.rawValue)" + (batch == plan.batch ? "" : " --batch \(batch)")
            }
        }
        return nil
    }

    private func resolved(_ settings: GenerationSettings) -> ResolvedSettings {
        ResolvedSettings(
            settings, mode, width: settings.gridWidth * pixelsPerToken, height: settings.gridHeight * pixelsPerToken)
    }

    /// What a request takes, in batches of so many images.
    /// - Throws: `TTIError` of code usage.
    package func plan(_ request: GenerationRequest, batch: Int?) throws(TTIError) -> RequestPlan {
        try plan(request, batch: batch, engine)
    }

    private func plan(
        _ request: GenerationRequest, batch: Int?, _ engine: Engine
    ) throws(TTIError) -> RequestPlan {
        try translatingErrors {
            var work = try engine.batch(for: request)
            let count = max(1, min(batch ?? Engine.automaticBatch, request.count))
            work.items = Array(repeating: work.items[0], count: count)
            let plan = try engine.plan(work)
            return RequestPlan(
                settings: resolved(work.settings), batch: count, truncatedTokens: work.items[0].prompt.truncatedCount,
                weightBytes: engine.weightBytes, arenaBytes: plan.arenaBytes, flops: plan.flops,
                flopsPerStep: plan.flopsPerStep, weightBytesPerStep: plan.weightBytesPerStep)
        }
    }
}

/// What a request takes, found without reading any weights.
package struct RequestPlan: Sendable {
    package let settings: ResolvedSettings
    /// Images that are decoded together.
    package let batch: Int
    package let truncatedTokens: Int
    package let weightBytes: Int
    /// The most that is alive at once besides the weights.
    package let arenaBytes: Int
    /// For one batch: everything before the first step, all steps, the detokenizer.
    package let flops: (encode: Int, decode: Int, detokenize: Int)
    package let flopsPerStep: Int
    package let weightBytesPerStep: Int

    var need: MemoryNeed { MemoryNeed(weights: weightBytes, work: arenaBytes) }
}
