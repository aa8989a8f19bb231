import TTICore
import TTIFormats

/// A layer: self-attention with rotary places, then a gated feed-forward, each behind an RMS norm (Llama's block).
struct LlamaGenLayer {
    let attentionNorm: NormParameters
    let qkv: Linear, out: Linear
    let mlpNorm: NormParameters
    /// Gates, then values: `[2 · mlp width, width]`.
    let mlpIn: Linear
    let mlpOut: Linear

    init(_ weights: Weights, _ c: LlamaGenConfiguration, on b: any Backend) throws(ModelError) {
        attentionNorm = try weights.norm(
            "attention_norm", .rms, width: c.width, epsilon: c.normEpsilon, bias: .none, on: b)
        let attention = weights["attention"]
        qkv = try attention.linear("wqkv", from: c.width, to: 3 * c.width, bias: false, for: .tokens, on: b)
        out = try attention.linear("wo", from: c.width, to: c.width, bias: false, for: .tokens, on: b)
        mlpNorm = try weights.norm("ffn_norm", .rms, width: c.width, epsilon: c.normEpsilon, bias: .none, on: b)
        let mlp = weights["feed_forward"]
        mlpIn = try mlp.linear(
            stacking: ["w1", "w3"], from: c.width, to: c.mlpWidth, bias: false, for: .tokens, on: b)
        mlpOut = try mlp.linear("w2", from: c.mlpWidth, to: c.width, bias: false, for: .tokens, on: b)
    }

    /// One token.
    /// - Parameters:
    ///   - x: `[rows, 1, width]`
    ///   - position: `[1]` int32
    ///   - angles: `[places, head width]`
    /// - Returns: `[rows, 1, width]`
    func step(
        _ x: Tensor, at position: Tensor, _ cache: KeyValueCache, _ angles: Tensor, _ c: LlamaGenConfiguration,
        on b: any Backend
    ) -> Tensor {
        let qkv = b.normLinear(x, attentionNorm, qkv)  // [rows, 1, 3 * width]
        let turned = b.rotate(qkv, heads: c.headCount, by: angles, at: position)
        let mixed = b.qkvDecodeAttention(turned, cache, at: position, scale: attentionScale(c.headWidth), window: nil)
        return feedForward(b.linear(mixed, out, adding: x), on: b)
    }

    /// All tokens at once, each seeing those before it.
    /// - Parameters:
    ///   - x: `[rows, count, width]`
    ///   - position: `[1]` int32: the first one's place, 0.
    /// - Returns: the shape of `x`.
    func callAsFunction(
        _ x: Tensor, at position: Tensor, _ mask: AttentionMask, _ angles: Tensor, _ c: LlamaGenConfiguration,
        on b: any Backend
    ) -> Tensor {
        let qkv = b.normLinear(x, attentionNorm, qkv)  // [rows, count, 3 * width]
        let turned = b.rotate(qkv, heads: c.headCount, by: angles, at: position)
        let mixed = b.selfAttention(turned, heads: c.headCount, mask: mask)  // [rows, count, width]
        return feedForward(b.linear(mixed, out, adding: x), on: b)
    }

    private func feedForward(_ h: Tensor, on b: any Backend) -> Tensor {
        let inner = b.normLinear(h, mlpNorm, mlpIn)  // [rows, count, 2 * mlpWidth]
        return b.linear(b.gate(inner, .silu, .gateFirst), mlpOut, adding: h)
    }
}
