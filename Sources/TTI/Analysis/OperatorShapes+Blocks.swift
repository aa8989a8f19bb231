import TTIAccounting

// Blocks of several operations.
extension OperatorShapes {
    /// The shape of a transformer layer.
    struct Layer {
        var width: Int
        var heads: Int
        var mlpWidth: Int
        /// Value and gate, three matrices instead of two.
        var isGated = false
        var isRMS = false
        /// Keys and values have fewer heads.
        var keyHeads: Int?
        var headWidth: Int?

        var innerWidth: Int { heads * (headWidth ?? width / heads) }
    }

    /// Self-attention with projections: of whole sequences, or, with `cached`, of one token over so many.
    mutating func selfAttention(
        _ rows: Int, _ tokens: Int, _ layer: Layer, kind: OperatorClass = .spatialAttention, isCausal: Bool = false,
        cached: Int? = nil
    ) {
        let head = layer.headWidth ?? layer.width / layer.heads
        norm(rows * tokens, layer.width, isRMS: layer.isRMS)
        linear(rows * tokens, layer.width, layer.innerWidth + 2 * (layer.keyHeads ?? layer.heads) * head)
        if let cached {
            decodeAttention(rows, cached, heads: layer.heads, head)
        } else {
            attention(kind, rows, tokens, tokens, heads: layer.heads, head, isCausal: isCausal)
        }
        linear(rows * tokens, layer.innerWidth, layer.width, residual: true)
    }

    /// Attention to `context` tokens whose keys and values were made before.
    mutating func crossAttention(_ rows: Int, _ tokens: Int, _ layer: Layer, context: Int) {
        norm(rows * tokens, layer.width, isRMS: layer.isRMS)
        linear(rows * tokens, layer.width, layer.innerWidth)
        attention(.crossAttention, rows, tokens, context, heads: layer.heads, layer.innerWidth / layer.heads)
        linear(rows * tokens, layer.innerWidth, layer.width, residual: true)
    }

    mutating func feedForward(_ rows: Int, _ layer: Layer) {
        norm(rows, layer.width, isRMS: layer.isRMS)
        linear(rows, layer.width, layer.mlpWidth * (layer.isGated ? 2 : 1))
        if layer.isGated { gate(rows, layer.mlpWidth) }
        linear(rows, layer.mlpWidth, layer.width, residual: true)
    }

    /// T5-XXL's encoder: 24 layers of 4096, 64 heads of 64, gated 10240 (Raffel et al. 2020, version 1.1).
    mutating func t5XXL(_ rows: Int, tokens: Int) {
        let layer = Layer(width: 4096, heads: 64, mlpWidth: 10240, isGated: true, isRMS: true)
        move(rows * tokens * 4096)
        for _ in 0..<24 {
            selfAttention(rows, tokens, layer)
            feedForward(rows * tokens, layer)
        }
        norm(rows * tokens, 4096, isRMS: true)
    }

    // MARK: UNets

    /// The shape of a UNet of diffusion.
    struct UNetShape {
        struct Level {
            var channels: Int
            var blocks: Int
            /// Transformer layers behind each block.
            var selfLayers = 0
            var crossLayers = 0
        }
        var levels: [Level]
        var inputChannels = 3
        var outputChannels = 3
        /// Pixels of one side of the image that comes in.
        var side: Int
        /// The first level works at this part of the side (Efficient U-Net downsamples first).
        var firstStride = 1
        var headWidth = 64
        var textTokens = 128
        /// 0: no feed-forward behind attention.
        var mlpFactor = 0
        var isGated = false
        /// Whether a projection leads into each transformer and out of it.
        var hasProjections = false
        /// Frames: above 1, every convolution is followed by one over time, and every attention by one over time.
        var frames = 1
        /// Transformer layers in the middle.
        var middleLayers = 1
        /// nil: as many as have the head width.
        var heads: Int?
    }

    /// One pass. Keys and values of the text and what the step adds are made before.
    /// - Parameter rows: images or videos.
    mutating func unet(_ shape: UNetShape, rows: Int) {
        let images = rows * shape.frames
        var side = shape.side / shape.firstStride
        var channels = shape.levels[0].channels
        convolve(images, side * side, shape.inputChannels, channels, area: shape.side * shape.side)
        var skips = [channels]
        for (index, level) in shape.levels.enumerated() {
            for _ in 0..<level.blocks {
                residualBlock(images, side * side, channels, level.channels, shape)
                channels = level.channels
                transformer(rows, side * side, channels, level.selfLayers, level.crossLayers, shape)
                skips.append(channels)
            }
            if index < shape.levels.count - 1 {
                convolve(images, side * side / 4, channels, channels, area: side * side)
                side /= 2
                skips.append(channels)
            }
        }
        residualBlock(images, side * side, channels, channels, shape)
        let last = shape.levels[shape.levels.count - 1]
        if shape.middleLayers > 0 {
            transformer(
                rows, side * side, channels, shape.middleLayers, last.crossLayers + (last.selfLayers == 0 ? 1 : 0),
                shape)
        }
        residualBlock(images, side * side, channels, channels, shape)
        for (index, level) in shape.levels.enumerated().reversed() {
            for _ in 0...level.blocks {
                let skip = skips.removeLast()
                move(images * side * side * (channels + skip))
                residualBlock(images, side * side, channels + skip, level.channels, shape)
                channels = level.channels
                transformer(rows, side * side, channels, level.selfLayers, level.crossLayers, shape)
            }
            if index > 0 {
                side *= 2
                convolve(images, side * side, channels, channels, area: side * side / 4)
            }
        }
        groupNorm(images * side * side * channels, channels: channels)
        convolve(images, shape.side * shape.side, channels, shape.outputChannels, area: side * side)
    }

    private mutating func residualBlock(_ images: Int, _ pixels: Int, _ inputs: Int, _ outputs: Int, _ shape: UNetShape)
    {
        groupNorm(images * pixels * inputs, channels: inputs)
        convolution(images, pixels, inputs, outputs, shape)
        if inputs != outputs { linear(images * pixels, inputs, outputs, bias: true) }
        groupNorm(images * pixels * outputs, channels: outputs)
        convolution(images, pixels, outputs, outputs, shape, residual: true)
    }

    /// 3×3, and over time where there are frames.
    private mutating func convolution(
        _ images: Int, _ pixels: Int, _ inputs: Int, _ outputs: Int, _ shape: UNetShape, residual: Bool = false
    ) {
        convolve(images, pixels, inputs, outputs, residual: residual)
        if shape.frames > 1 { convolve(images, pixels, outputs, outputs, taps: 3) }
    }

    private mutating func transformer(
        _ rows: Int, _ pixels: Int, _ channels: Int, _ selfLayers: Int, _ crossLayers: Int, _ shape: UNetShape
    ) {
        guard selfLayers + crossLayers > 0 else { return }
        let images = rows * shape.frames
        let heads = shape.heads ?? max(1, channels / shape.headWidth)
        let layer = Layer(width: channels, heads: heads, mlpWidth: shape.mlpFactor * channels, isGated: shape.isGated)
        if shape.hasProjections {
            groupNorm(images * pixels * channels, channels: channels, silu: false)
            linear(images * pixels, channels, channels, bias: true)
        }
        for index in 0..<max(selfLayers, crossLayers) {
            if index < selfLayers {
                selfAttention(images, pixels, layer)
                if shape.frames > 1 {
                    selfAttention(rows * pixels, shape.frames, layer, kind: .temporalAttention, isCausal: false)
                }
            }
            if index < crossLayers { crossAttention(images, pixels, layer, context: shape.textTokens) }
            if shape.mlpFactor > 0 { feedForward(images * pixels, layer) }
        }
        if shape.hasProjections { linear(images * pixels, channels, channels, bias: true, residual: true) }
    }
}
