internal import TTIAccounting
internal import TTICore
internal import TTIGeneration
internal import TTIModels

/// A stage that can be run on a backend: counted on one that only counts, measured on one that computes.
struct StageWork {
    let name: String
    let count: Int
    /// Whether all passes do the same, or a little more each time by the same amount.
    let isUniform: Bool
    /// Whether the sequence grows by a token with every pass.
    let isDecoding: Bool
    /// Tokens before those, which are a caption's.
    var prefixLength = 0
    /// Does pass number `index`, and waits.
    let run: (_ index: Int) throws -> Void
}

extension StageWork {
    /// The three verbs of a pipeline.
    static func stages(
        _ pipeline: any ImagePipeline, _ batch: ImageBatch, _ networks: PipelineCheckpoint.Networks
    ) -> [StageWork] {
        var (isDecoding, isUniform) = (false, pipeline is DiffusionPipeline)
        if case .autoregressive(let configuration) = networks {
            (isDecoding, isUniform) = (true, configuration.window == nil)
        }
        let b = pipeline.backend
        pipeline.prepare(batch)
        return [
            StageWork(name: "text", count: 1, isUniform: true, isDecoding: false) { _ in
                pipeline.prepare(batch)
                try b.synchronize()
            },
            StageWork(
                name: isDecoding ? "token" : "step", count: pipeline.stepCount,
                isUniform: isUniform, isDecoding: isDecoding
            ) {
                pipeline.step($0)
                try b.synchronize()
            },
            StageWork(name: "pixels", count: 1, isUniform: true, isDecoding: false) { _ in
                _ = try pipeline.decode(try pipeline.codes())
            },
        ]
    }

    /// What the stage costs, on the backend that it runs on.
    func cost(_ counter: AccountingBackend) throws -> StageCost {
        var cost = StageCost(name: name, count: count)
        func pass(_ index: Int) throws -> [OperationRecord] {
            counter.reset()
            counter.decodePosition = isDecoding ? prefixLength + index : nil
            try run(index)
            return counter.operations
        }
        if isUniform, isDecoding, count % 2 == 0 {
            // As many at the first place as at the last have the same sum.
            cost.add(try pass(0), times: count / 2)
            cost.add(try pass(count - 1), times: count / 2)
        } else if isUniform, !isDecoding {
            cost.add(try pass(0), times: count)
        } else {
            for index in 0..<count { cost.add(try pass(index), times: 1) }
        }
        if isDecoding { cost.setGrowingLength() }
        return cost
    }
}
