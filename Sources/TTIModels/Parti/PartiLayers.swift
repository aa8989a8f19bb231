import TTICore
import TTIFormats

extension Weights {
    /// A norm of Parti's layers, whose absent bias is zero.
    fileprivate func norm(_ name: String, _ c: PartiConfiguration, on b: any Backend) throws(ModelError)
        -> NormParameters
    {
        try norm(name, .layer, width: c.width, epsilon: c.normEpsilon, bias: .zeroIfAbsent, on: b)
    }
}

/// A layer of the encoder: self-attention, then two matrices.
struct PartiEncoderLayer {
    let selfNorm: NormParameters
    let qkv: Linear, selfOut: Linear
    let mlpNorm: NormParameters
    let mlpIn: Linear, mlpOut: Linear

    init(_ weights: Weights, _ c: PartiConfiguration, on b: any Backend) throws(ModelError) {
        let bias = c.usesBias
        selfNorm = try weights.norm("self_attn_layer_norm", c, on: b)
        qkv = try weights["self_attn"].linear(
            stacking: ["q_proj", "k_proj", "v_proj"], from: c.width, to: c.width, bias: bias, on: b)
        selfOut = try weights.linear("self_attn.out_proj", from: c.width, to: c.width, bias: bias, on: b)
        mlpNorm = try weights.norm("final_layer_norm", c, on: b)
        mlpIn = try weights.linear("fc1", from: c.width, to: c.encoderMLPWidth, bias: bias, on: b)
        mlpOut = try weights.linear("fc2", from: c.encoderMLPWidth, to: c.width, bias: bias, on: b)
    }

    /// - Parameter x: `[batch, text tokens, width]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, _ mask: AttentionMask, _ c: PartiConfiguration, on b: any Backend) -> Tensor {
        let qkv = b.normLinear(x, selfNorm, qkv)  // [batch, text tokens, 3 * width]
        let mixed = b.selfAttention(qkv, heads: c.headCount, mask: mask)  // [batch, text tokens, width]
        let h = b.linear(mixed, selfOut, adding: x)
        let inner = b.normLinear(h, mlpNorm, mlpIn, c.activation)  // [batch, text tokens, mlpWidth]
        return b.linear(inner, mlpOut, adding: h)
    }
}

/// A layer of the decoder: self-attention to the tokens so far, cross-attention to the prompt, then two matrices.
struct PartiDecoderLayer {
    let selfNorm: NormParameters
    let qkv: Linear, selfOut: Linear
    let textNorm: NormParameters
    let textQ: Linear, textKeysValues: Linear, textOut: Linear
    let mlpNorm: NormParameters
    let mlpIn: Linear, mlpOut: Linear

    init(_ weights: Weights, _ c: PartiConfiguration, on b: any Backend) throws(ModelError) {
        let bias = c.usesBias
        selfNorm = try weights.norm("self_attn_layer_norm", c, on: b)
        qkv = try weights["self_attn"].linear(
            stacking: ["q_proj", "k_proj", "v_proj"], from: c.width, to: c.width, bias: bias, for: .tokens, on: b)
        selfOut = try weights.linear("self_attn.out_proj", from: c.width, to: c.width, bias: bias, for: .tokens, on: b)
        textNorm = try weights.norm("encoder_attn_layer_norm", c, on: b)
        textQ = try weights.linear("encoder_attn.q_proj", from: c.width, to: c.width, bias: bias, for: .tokens, on: b)
        textKeysValues = try weights["encoder_attn"].linear(
            stacking: ["k_proj", "v_proj"], from: c.width, to: c.width, bias: bias, on: b)
        textOut = try weights.linear(
            "encoder_attn.out_proj", from: c.width, to: c.width, bias: bias, for: .tokens, on: b)
        mlpNorm = try weights.norm("final_layer_norm", c, on: b)
        mlpIn = try weights.linear("fc1", from: c.width, to: c.decoderMLPWidth, bias: bias, for: .tokens, on: b)
        mlpOut = try weights.linear("fc2", from: c.decoderMLPWidth, to: c.width, bias: bias, for: .tokens, on: b)
    }

    /// One token.
    /// - Parameters:
    ///   - x: `[rows, 1, width]`
    ///   - position: `[1]` int32
    ///   - text: `[batch, text tokens, 2 · width]`
    /// - Returns: `[rows, 1, width]`
    func step(
        _ x: Tensor, at position: Tensor, _ cache: KeyValueCache, _ text: Tensor, _ textMask: AttentionMask,
        _ c: PartiConfiguration, on b: any Backend
    ) -> Tensor {
        let scale = attentionScale(c.width / c.headCount)
        let qkv = b.normLinear(x, selfNorm, qkv)  // [rows, 1, 3 * width]
        let mixed = b.qkvDecodeAttention(qkv, cache, at: position, scale: scale, window: c.window)
        let h = b.linear(mixed, selfOut, adding: x)  // [rows, 1, width]
        return afterSelfAttention(h, text, textMask, c, on: b)
    }

    /// All tokens at once, each seeing those before it.
    /// - Parameters:
    ///   - x: `[rows, count, width]`
    ///   - text: `[batch, text tokens, 2 · width]`
    /// - Returns: the shape of `x`.
    func callAsFunction(
        _ x: Tensor, _ text: Tensor, _ textMask: AttentionMask, _ c: PartiConfiguration, on b: any Backend
    ) -> Tensor {
        let causal = AttentionMask(causal: true, window: c.window)
        let qkv = b.normLinear(x, selfNorm, qkv)  // [rows, count, 3 * width]
        let mixed = b.selfAttention(qkv, heads: c.headCount, mask: causal)  // [rows, count, width]
        let h = b.linear(mixed, selfOut, adding: x)
        return afterSelfAttention(h, text, textMask, c, on: b)
    }

    private func afterSelfAttention(
        _ h: Tensor, _ text: Tensor, _ textMask: AttentionMask, _ c: PartiConfiguration, on b: any Backend
    ) -> Tensor {
        let q = b.normLinear(h, textNorm, textQ)  // [rows, count, width]
        let read = b.crossAttention(q, text, heads: c.headCount, mask: textMask)  // [rows, count, width]
        let g = b.linear(read, textOut, adding: h)
        let inner = b.normLinear(g, mlpNorm, mlpIn, c.activation)  // [rows, count, mlpWidth]
        return b.linear(inner, mlpOut, adding: g)
    }
}
