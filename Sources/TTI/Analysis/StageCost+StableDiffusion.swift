extension StageCost {
    /// Stable Diffusion 1's UNet at 512×512 in the language of shapes: what the language is tested with.
    package static func stableDiffusionInShapes(rows: Int) -> StageCost {
        typealias Level = OperatorShapes.UNetShape.Level
        var shape = OperatorShapes.UNetShape(
            levels: [320, 640, 1280].map { Level(channels: $0, blocks: 2, selfLayers: 1, crossLayers: 1) }
                + [Level(channels: 1280, blocks: 2)],
            inputChannels: 4, outputChannels: 4, side: 64)
        (shape.textTokens, shape.mlpFactor, shape.isGated, shape.hasProjections, shape.heads) = (77, 4, true, true, 8)
        var shapes = OperatorShapes(elementBytes: 2)
        shapes.unet(shape, rows: rows)
        var stage = StageCost(name: "step", count: 1)
        stage.add(shapes.operations, times: 1)
        return stage
    }
}
