import TTICore
import TTIFormats

/// Residual blocks of one resolution, each with transformer layers behind it or without.
struct UNetStage {
    let blocks: [UNetResidualBlock]
    let transformers: [UNetTransformer?]

    /// What the blocks need of some prompts and steps.
    struct Prepared {
        /// Where the shift of each block is among those of all blocks.
        let shifts: [Range<Int>]
        /// Of each layer of each transformer.
        let keysValues: [[Tensor]]
    }

    /// - Parameter shifts: of the blocks before, `[1, steps, …]` each; those of this stage come behind them.
    func prepare(
        _ text: Tensor, _ embeddings: Tensor, shifts: inout [Tensor], on b: any Backend
    ) -> Prepared {
        var end = shifts.reduce(0) { $0 + $1.shape.last }
        let ranges = blocks.map { block in
            let shift = block.prepare(embeddings, on: b)
            shifts.append(shift)
            defer { end += shift.shape.last }
            return end..<end + shift.shape.last
        }
        return Prepared(
            shifts: ranges,
            keysValues: transformers.map { $0?.prepare(text, on: b) ?? [] })
    }

    /// Block `index` and the layers behind it.
    /// - Parameters:
    ///   - x: `[rows, height, width, inputs]`
    ///   - skip: `[rows, height, width, more inputs]`: what the way in left for this block.
    ///   - shifts: of all blocks at this step.
    /// - Returns: `[rows, height, width, channels]`
    func callAsFunction(
        _ index: Int, _ x: Tensor, beside skip: Tensor? = nil, adding shifts: Tensor, _ prepared: Prepared,
        on b: any Backend
    ) -> Tensor {
        let y = b.scoped {
            blocks[index](x, beside: skip, adding: shifts.prefixRows(prepared.shifts[index]), on: b)
        }
        guard let transformer = transformers[index] else { return y }
        return b.replacing(y) { transformer($0, prepared.keysValues[index], on: b) }
    }
}

/// A resolution on the way in.
struct UNetDownLevel {
    let stage: UNetStage
    let downsample: Convolution?

    init(_ weights: Weights, _ c: UNetConfiguration, _ index: Int, on b: any Backend) throws(ModelError) {
        let level = c.levels[index]
        let inputs = index == 0 ? level.channels : c.levels[index - 1].channels
        stage = UNetStage(
            blocks: try (0..<level.blockCount).map { block throws(ModelError) in
                try UNetResidualBlock(
                    weights["resnets"][block], from: block == 0 ? inputs : level.channels, to: level.channels, c, on: b)
            },
            transformers: try weights.transformers(
                level.blockCount, level, layerCount: level.encoderLayers, c, on: b))
        downsample =
            index == c.levels.count - 1
            ? nil
            : try weights.convolution(
                "downsamplers.0.conv", from: level.channels, to: level.channels, kernel: 3,
                ConvolutionGeometry(stride: 2, padding: 1), on: b)
    }
}

/// The innermost blocks, with transformer layers between them or without.
struct UNetMiddle {
    let stage: UNetStage

    init(_ weights: Weights, _ c: UNetConfiguration, on b: any Backend) throws(ModelError) {
        let level = c.levels[c.levels.count - 1]
        stage = UNetStage(
            blocks: try (0..<2).map { block throws(ModelError) in
                try UNetResidualBlock(weights["resnets"][block], from: level.channels, to: level.channels, c, on: b)
            },
            transformers: try weights.transformers(1, level, layerCount: c.middleLayers, c, on: b) + [nil])
    }

    /// - Parameter x: `[rows, height, width, channels]`
    /// - Returns: the same shape.
    func callAsFunction(
        _ x: Tensor, adding shifts: Tensor, _ prepared: UNetStage.Prepared, on b: any Backend
    ) -> Tensor {
        b.replacing(stage(0, x, adding: shifts, prepared, on: b)) { stage(1, $0, adding: shifts, prepared, on: b) }
    }
}

/// A resolution on the way out, whose blocks also see what the way in left behind.
struct UNetUpLevel {
    let stage: UNetStage
    /// Reads every pixel as 2×2.
    let upsample: Convolution?

    init(_ weights: Weights, _ c: UNetConfiguration, _ index: Int, on b: any Backend) throws(ModelError) {
        let level = c.levels[index]
        let above = c.levels[min(index + 1, c.levels.count - 1)].channels
        let below = index == 0 ? level.channels : c.levels[index - 1].channels
        let count = level.blockCount + 1
        stage = UNetStage(
            blocks: try (0..<count).map { block throws(ModelError) in
                let inputs = block == 0 ? above : level.channels
                // the last one takes what came into the resolution
                let skip = block == count - 1 ? below : level.channels
                return try UNetResidualBlock(
                    weights["resnets"][block], from: inputs + skip, to: level.channels, c, on: b)
            },
            transformers: try weights.transformers(count, level, layerCount: level.decoderLayers, c, on: b))
        upsample =
            index == 0
            ? nil
            : try weights.convolution(
                "upsamplers.0.conv", from: level.channels, to: level.channels, kernel: 3,
                ConvolutionGeometry(padding: 1, upsampling: 2), on: b)
    }
}

extension Weights {
    /// `attentions.N` of a stage; nil where there are no layers.
    fileprivate func transformers(
        _ count: Int, _ level: UNetConfiguration.Level, layerCount: Int, _ c: UNetConfiguration, on b: any Backend
    ) throws(ModelError) -> [UNetTransformer?] {
        if layerCount == 0 { return [UNetTransformer?](repeating: nil, count: count) }
        return try (0..<count).map { index throws(ModelError) in
            try UNetTransformer(self["attentions"][index], level, layerCount: layerCount, c, on: b)
        }
    }
}
