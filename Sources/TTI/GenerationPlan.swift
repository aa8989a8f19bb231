import TTIAccounting
package import TTICore
package import TTIGeneration

/// What a batch takes in memory and arithmetic: the pipeline itself, run on a backend that only counts.
package struct GenerationPlan: Sendable {
    /// The most that is alive at once besides the weights.
    package let arenaBytes: Int
    /// Weights of a step (of a middle one, in masked decoding).
    package let weightBytesPerStep: Int
    /// FLOP of the same step.
    package let flopsPerStep: Int
    /// FLOP of everything before the first step, of all steps, of the detokenizer.
    package let flops: (encode: Int, decode: Int, detokenize: Int)
    package let stepCount: Int

    package init(
        of batch: ImageBatch, _ checkpoint: PipelineCheckpoint, _ types: NumberTypes, attention: AttentionForm = .flash
    ) throws {
        let counter = AccountingBackend(types, attention: attention)
        let pipeline = try checkpoint.makePipeline(on: counter, weights: .shapes)
        pipeline.prepare(batch)
        let encode = counter.totals.flops
        // Forgetting the operations forgets the highest mark too.
        var peak = counter.arena.peak
        counter.reset()
        let count = pipeline.stepCount
        var decode = 0
        var weightBytes = 0
        var middleFlops = 0
        // every token and every step of diffusion is the same work; masked steps differ, so each is counted
        let isUniform = checkpoint.kind != .masked
        for step in 0..<(isUniform ? min(count, 1) : count) {
            pipeline.step(step)
            decode += counter.totals.flops * (isUniform ? count : 1)
            if isUniform || step == count / 2 {
                (weightBytes, middleFlops) = (counter.totals.weightBytes, counter.totals.flops)
            }
            peak = max(peak, counter.arena.peak)
            counter.reset()
        }
        _ = try pipeline.decode(try pipeline.codes())
        stepCount = count
        arenaBytes = max(peak, counter.arena.peak)
        weightBytesPerStep = weightBytes
        flopsPerStep = middleFlops
        flops = (encode, decode, counter.totals.flops)
    }
}
