internal import TTI
internal import TTICore
internal import TTIFormats

/// What `generate --dry-run` prints: that everything is in order, and what the work takes. No weights are read.
struct DryRun {
    private let item: GenerateItem
    private let plan: RequestPlan
    private let outline: CheckpointOutline

    init(_ item: GenerateItem, device: ChosenDevice, precision: Precision, attention: AttentionForm) throws {
        self.item = item
        do {
            let inputs = try item.readInputs()
            outline = try CheckpointOutline(
                item.checkpoint.source, variant: item.checkpoint.variant, device: device, precision: precision,
                attention: attention)
            try item.check(with: outline, inputs)
            let part = item.parts(0..<item.settings.request.count, inputs, pixelsPerToken: outline.pixelsPerToken)[0]
            plan = try outline.plan(part.request, batch: item.settings.batch)
        } catch { throw item.located(TTIError(translating: error)) }
    }

    func print(asJSON isJSON: Bool) throws(TTIError) {
        try isJSON ? Output.json(json) : Output.write(Array(text.utf8))
    }

    private var json: JSON {
        let settings = plan.settings
        return [
            "id": JSON(item.id), "prompt": JSON(item.prompt), "seed": JSON(item.seed),
            "count": JSON(item.settings.request.count),
            "batch": JSON(plan.batch), "mode": JSON(settings.mode.rawValue), "checkpoint": JSON(outline.name),
            "backend": JSON(outline.device.backendName), "device": JSON(outline.device.name),
            "dtype": JSON(outline.precision.rawValue), "width": JSON(settings.width),
            "height": JSON(settings.height), "steps": JSON(settings.steps),
            "truncated_tokens": JSON(plan.truncatedTokens),
            "outputs": .list(item.paths(mode: settings.mode).map { JSON($0) }),
            "memory_bytes": [
                "weights": JSON(plan.weightBytes), "work": JSON(plan.arenaBytes),
                "total": JSON(plan.weightBytes + plan.arenaBytes),
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
        let unit = settings.mode == .autoregressive ? "tokens" : "steps"
        var rows = [
            ("prompt", quoted(item.prompt, limit: 70)),
            (
                "checkpoint",
                "\(harmless(outline.name)), \(settings.mode.rawValue), \(outline.device.backendName), \(outline.precision.rawValue)"
            ),
            (
                "image",
                "\(settings.width)x\(settings.height), \(settings.steps) \(unit), guidance \(shortest(Double(settings.guidance)))"
            ),
            (
                "images",
                "\(item.settings.request.count), \(plan.batch) at a time, seed \(item.seed)\(item.isSeedRandom ? " (random)" : "")"
            ),
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
