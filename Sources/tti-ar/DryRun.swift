internal import TTI
internal import TTIFormats

/// What `generate --dry-run` prints: that everything is in order, and what the work takes. No weights are read.
struct DryRun {
    private let item: GenerateItem
    private let plan: RequestPlan

    init(_ item: GenerateItem, device: ComputeDevice, precision: Precision) throws {
        self.item = item
        do {
            let inputs = try item.readInputs()
            var request = item.plainRequest
            request.source = inputs.source
            request.initialTokens = inputs.tokens.first
            plan = try RequestPlan(
                request, tokenGrid: inputs.tokenGrid, batch: item.settings.batch, checkpoint: item.checkpoint.source,
                variant: item.settings.variant, precision: precision)
            if let mode = item.settings.mode, mode != plan.settings.mode {
                throw TTIError(
                    .usage, "usage.mode", "the checkpoint makes images by --mode \(plan.settings.mode.rawValue), not \(mode.rawValue)")
            }
            let policy = item.output.existing
            for path in item.paths(mode: plan.settings.mode) { try AtomicFile.check(path, ifExists: policy) }
        } catch { throw item.located(TTIError(translating: error)) }
    }

    func print(asJSON isJSON: Bool) throws(TTIError) {
        try isJSON ? Output.json(json) : Output.write(Array(text.utf8))
    }

    private var json: JSON {
        let settings = plan.settings
        return [
            "id": JSON(item.id), "prompt": JSON(item.prompt), "seed": JSON(item.seed), "count": JSON(item.settings.request.count),
            "batch": JSON(plan.batch), "mode": JSON(settings.mode.rawValue), "checkpoint": JSON(plan.checkpointName),
            "backend": JSON(plan.backend), "dtype": JSON(plan.precision.rawValue), "width": JSON(settings.width),
            "height": JSON(settings.height), "steps": JSON(settings.steps), "truncated_tokens": JSON(plan.truncatedTokens),
            "outputs": .list(item.paths(mode: settings.mode).map { JSON($0) }),
            "memory_bytes": [
                "weights": JSON(plan.weightBytes), "work": JSON(plan.arenaBytes), "total": JSON(plan.weightBytes + plan.arenaBytes),
            ],
            "flops": [
                "encode": JSON(plan.flops.encode), "decode": JSON(plan.flops.decode),
                "detokenize": JSON(plan.flops.detokenize),
            ],
            "weight_bytes_per_step": JSON(plan.weightBytesPerStep), "flops_per_step": JSON(plan.flopsPerStep),
        ]
    }

    private var text: String {
        let settings = plan.settings
        let paths = item.paths(mode: settings.mode)
        let unit = settings.mode == .parallel ? "steps" : "tokens"
        var rows = [
            ("prompt", quoted(item.prompt, limit: 70)),
            ("checkpoint", "\(harmless(plan.checkpointName)), \(settings.mode.rawValue), \(plan.backend), \(plan.precision.rawValue)"),
            ("image", "\(settings.width)x\(settings.height), \(settings.steps) \(unit), guidance \(shortest(Double(settings.guidance)))"),
            ("images", "\(item.settings.request.count), \(plan.batch) at a time, seed \(item.seed)\(item.isSeedRandom ? " (random)" : "")"),
            ("memory", "weights \(byteText(plan.weightBytes)), work \(byteText(plan.arenaBytes))"),
            ("text", "\(countText(plan.flops.encode)) FLOP"),
            (
                "decoding",
                "\(countText(plan.flops.decode)) FLOP, a step \(countText(plan.flopsPerStep)) FLOP and \(byteText(plan.weightBytesPerStep)) of weights"
            ),
            ("pixels", "\(countText(plan.flops.detokenize)) FLOP"),
        ]
        if let first = paths.first {
            rows.append(("output", harmless(first) + (paths.count > 1 ? " and \(paths.count - 1) more" : "")))
        } else {
            rows.append(("output", "standard output"))
        }
        return table(rows, indent: 0)
    }
}
