internal import TTICore
internal import TTIFormats
internal import TTIGeneration

/// What a request takes, found without reading any weights.
package struct RequestPlan: Sendable {
    package let checkpointName: String
    package let backend: String
    package let precision: Precision
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

    /// - Parameter tokenGrid: the extents of the tokens to begin with, which give the image its size.
    /// - Throws: `TTIError`: whatever is wrong with the checkpoint or the request.
    package init(
        _ request: GenerationRequest, tokenGrid: (height: Int, width: Int)?, batch: Int?, checkpoint source: CheckpointSource,
        variant: String?, precision: Precision
    ) throws {
        let folder = try source.folder(variant: variant)
        let checkpoint = try translatingErrors { try PipelineCheckpoint(folder) }
        let engine = try Engine(counting: checkpoint, precision: precision)
        let factor = engine.pipeline.pixelsPerToken
        var request = request
        if let tokenGrid {
            request.height = request.height ?? tokenGrid.height * factor
            request.width = request.width ?? tokenGrid.width * factor
        }
        var work = try engine.batch(for: request)
        let count = max(1, min(batch ?? Engine.automaticBatch, request.count))
        work.items = Array(repeating: work.items[0], count: count)
        let plan = try engine.plan(work)
        checkpointName = fileName(try source.name())
        backend = "cpu"
        let mode: GenerationMode = checkpoint.kind == .masked ? .parallel : .autoregressive
        self.precision = Engine.weightType(precision, checkpoint.kind) == .bfloat16 ? .bfloat16 : .float32
        settings = ResolvedSettings(
            work.settings, mode, width: work.settings.gridWidth * factor, height: work.settings.gridHeight * factor)
        self.batch = count
        truncatedTokens = work.items[0].prompt.truncatedCount
        weightBytes = engine.weightBytes
        arenaBytes = plan.arenaBytes
        flops = plan.flops
        flopsPerStep = plan.flopsPerStep
        weightBytesPerStep = plan.weightBytesPerStep
    }
}
