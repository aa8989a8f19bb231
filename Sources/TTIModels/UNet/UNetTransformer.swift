import TTICore
import TTIFormats

/// Transformer layers over the pixels of an image, between two projections (diffusers' Transformer2DModel).
struct UNetTransformer {
    let norm: GroupNormParameters
    let projectionIn: Linear, projectionOut: Linear
    let layers: [UNetTransformerLayer]

    init(
        _ weights: Weights, _ level: UNetConfiguration.Level, layerCount: Int, _ c: UNetConfiguration,
        on b: any Backend
    ) throws(ModelError) {
        let width = level.channels
        norm = try weights.groupNorm("norm", channels: width, groups: c.groupCount, epsilon: 1e-6, on: b)
        func projection(_ name: String) throws(ModelError) -> Linear {
            c.hasLinearProjections
                ? try weights.linear(name, from: width, to: width, bias: true, on: b)
                : try weights.pointwise(name, from: width, to: width, bias: true, on: b)
        }
        projectionIn = try projection("proj_in")
        layers = try (0..<layerCount).map { index throws(ModelError) in
            try UNetTransformerLayer(weights["transformer_blocks"][index], level, c, on: b)
        }
        projectionOut = try projection("proj_out")
    }

    /// Keys and values of the text for each layer, `[prompts, text tokens, 2 · width]`.
    func prepare(_ text: Tensor, on b: any Backend) -> [Tensor] { layers.map { b.linear(text, $0.keysValues) } }

    /// - Parameter x: `[rows, height, width, channels]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, _ keysValues: [Tensor], on b: any Backend) -> Tensor {
        let pixels = Shape(x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
        let normed = b.groupNorm(x, norm, activation: .identity).reshaped(pixels)  // [rows, pixels, channels]
        var y = b.linear(normed, projectionIn)
        for (layer, keysValues) in zip(layers, keysValues) {
            y = b.replacing(y) { layer($0, keysValues, on: b) }
        }
        return b.linear(y, projectionOut, adding: x.reshaped(pixels)).reshaped(x.shape)
    }
}

/// One layer: self-attention, attention to the text, gated feed-forward (diffusers' BasicTransformerBlock).
struct UNetTransformerLayer {
    let headCount: Int
    let selfNorm: NormParameters, qkv: Linear, selfOut: Linear
    let crossNorm: NormParameters, q: Linear, keysValues: Linear, crossOut: Linear
    let mlpNorm: NormParameters, mlpIn: Linear, mlpOut: Linear

    init(
        _ weights: Weights, _ level: UNetConfiguration.Level, _ c: UNetConfiguration, on b: any Backend
    ) throws(ModelError) {
        let width = level.channels
        headCount = level.headCount
        func norm(_ name: String) throws(ModelError) -> NormParameters {
            try weights.norm(name, .layer, width: width, epsilon: 1e-5, bias: .required, on: b)
        }
        selfNorm = try norm("norm1")
        qkv = try weights["attn1"].linear(
            stacking: ["to_q", "to_k", "to_v"], from: width, to: width, bias: false, on: b)
        selfOut = try weights.linear("attn1.to_out.0", from: width, to: width, bias: true, on: b)
        crossNorm = try norm("norm2")
        q = try weights.linear("attn2.to_q", from: width, to: width, bias: false, on: b)
        keysValues = try weights["attn2"].linear(
            stacking: ["to_k", "to_v"], from: c.textWidth, to: width, bias: false, on: b)
        crossOut = try weights.linear("attn2.to_out.0", from: width, to: width, bias: true, on: b)
        mlpNorm = try norm("norm3")
        mlpIn = try weights.linear("ff.net.0.proj", from: width, to: 8 * width, bias: true, on: b)
        mlpOut = try weights.linear("ff.net.2", from: 4 * width, to: width, bias: true, on: b)
    }

    /// - Parameter x: `[rows, pixels, width]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, _ keysValues: Tensor, on b: any Backend) -> Tensor {
        var h = b.scoped {
            let qkv = b.normLinear(x, selfNorm, qkv)  // [rows, pixels, 3 * width]
            return b.linear(b.selfAttention(qkv, heads: headCount), selfOut, adding: x)  // [rows, pixels, width]
        }
        h = b.replacing(h) {
            let q = b.normLinear($0, crossNorm, q)  // [rows, pixels, width]
            return b.linear(b.crossAttention(q, keysValues, heads: headCount), crossOut, adding: $0)
        }
        return b.gatedFeedForward(h, mlpNorm, mlpIn, mlpOut, .gelu, .valueFirst, adding: h)
    }
}
