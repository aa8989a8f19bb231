import TTICore
import TTIFormats

extension Weights {
    /// A norm that ends a sub-layer or an embedding: with scale and bias.
    func norm(_ name: String, _ c: DalleBartConfiguration, on b: any Backend) throws(ModelError) -> NormParameters {
        try norm(name, .layer, width: c.width, epsilon: c.normEpsilon, bias: .required, on: b)
    }

    /// A norm before a matrix, which can take up its scale: published files have the bias alone.
    func norm(
        beforeMatrix name: String, width: Int, _ c: DalleBartConfiguration, on b: any Backend
    ) throws(ModelError) -> NormParameters {
        try norm(
            name, .layer, width: width, epsilon: c.normEpsilon, bias: .required,
            hasWeight: self[name].contains("weight"), on: b)
    }
}

/// What ends an attention: a matrix, NormFormer's second norm, and then the residual.
struct DalleBartAttentionOutput {
    let matrix: Linear
    let norm: NormParameters

    /// `name.out_proj` and `name_layer_norm`.
    init(
        _ weights: Weights, _ name: String, for use: MatrixUse, _ c: DalleBartConfiguration, on b: any Backend
    ) throws(ModelError) {
        matrix = try weights.linear("\(name).out_proj", from: c.width, to: c.width, bias: false, for: use, on: b)
        norm = try weights.norm("\(name)_layer_norm", c, on: b)
    }

    /// - Parameters:
    ///   - mixed: `[batch, tokens, width]`
    ///   - residual: the same shape.
    /// - Returns: the same shape.
    func callAsFunction(_ mixed: Tensor, adding residual: Tensor, on b: any Backend) -> Tensor {
        b.add(b.norm(b.linear(mixed, matrix), norm), residual)
    }
}

/// The gated MLP: fc2(ln1(gelu(fc0(ln0(x))) · fc1(ln0(x)))) + x.
struct DalleBartGLU {
    let inputNorm: NormParameters
    /// fc0 above fc1: `[2 · mlpWidth, width]`.
    let input: Linear
    let innerNorm: NormParameters
    let output: Linear

    init(
        _ weights: Weights, mlpWidth: Int, for use: MatrixUse, _ c: DalleBartConfiguration, on b: any Backend
    ) throws(ModelError) {
        inputNorm = try weights.norm(beforeMatrix: "ln0", width: c.width, c, on: b)
        input = try weights.linear(
            stacking: ["fc0", "fc1"], from: c.width, to: mlpWidth, bias: false, for: use, on: b)
        innerNorm = try weights.norm(beforeMatrix: "ln1", width: mlpWidth, c, on: b)
        output = try weights.linear("fc2", from: mlpWidth, to: c.width, bias: false, for: use, on: b)
    }

    /// - Parameter x: `[batch, tokens, width]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, on b: any Backend) -> Tensor {
        let both = b.normLinear(x, inputNorm, input)  // [batch, tokens, 2 * mlpWidth]
        let inner = b.gate(both, .gelu, .gateFirst)  // [batch, tokens, mlpWidth]
        return b.linear(b.norm(inner, innerNorm), output, adding: x)
    }
}

/// A layer of the encoder: self-attention, then the gated MLP.
struct DalleBartEncoderLayer {
    let selfNorm: NormParameters
    let qkv: Linear
    let selfOut: DalleBartAttentionOutput
    let glu: DalleBartGLU

    init(_ weights: Weights, _ c: DalleBartConfiguration, on b: any Backend) throws(ModelError) {
        selfNorm = try weights.norm(beforeMatrix: "pre_self_attn_layer_norm", width: c.width, c, on: b)
        qkv = try weights["self_attn"].linear(
            stacking: ["q_proj", "k_proj", "v_proj"], from: c.width, to: c.width, bias: false, on: b)
        selfOut = try DalleBartAttentionOutput(weights, "self_attn", for: .sequences, c, on: b)
        glu = try DalleBartGLU(weights["glu"], mlpWidth: c.encoderMLPWidth, for: .sequences, c, on: b)
    }

    /// - Parameter x: `[batch, text tokens, width]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, _ mask: AttentionMask, _ c: DalleBartConfiguration, on b: any Backend) -> Tensor {
        let qkv = b.normLinear(x, selfNorm, qkv)  // [batch, text tokens, 3 * width]
        let mixed = b.selfAttention(qkv, heads: c.encoderHeadCount, mask: mask)  // [batch, text tokens, width]
        return glu(selfOut(mixed, adding: x, on: b), on: b)
    }
}

/// A layer of the decoder: self-attention to the tokens so far, cross-attention to the prompt, then the gated MLP.
struct DalleBartDecoderLayer {
    let selfNorm: NormParameters
    let qkv: Linear
    let selfOut: DalleBartAttentionOutput
    let textNorm: NormParameters
    let textQ: Linear, textKeysValues: Linear
    let textOut: DalleBartAttentionOutput
    let glu: DalleBartGLU

    init(_ weights: Weights, _ c: DalleBartConfiguration, on b: any Backend) throws(ModelError) {
        selfNorm = try weights.norm(beforeMatrix: "pre_self_attn_layer_norm", width: c.width, c, on: b)
        qkv = try weights["self_attn"].linear(
            stacking: ["q_proj", "k_proj", "v_proj"], from: c.width, to: c.width, bias: false, for: .tokens, on: b)
        selfOut = try DalleBartAttentionOutput(weights, "self_attn", for: .tokens, c, on: b)
        textNorm = try weights.norm(beforeMatrix: "pre_encoder_attn_layer_norm", width: c.width, c, on: b)
        textQ = try weights.linear(
            "encoder_attn.q_proj", from: c.width, to: c.width, bias: false, for: .tokens, on: b)
        textKeysValues = try weights["encoder_attn"].linear(
            stacking: ["k_proj", "v_proj"], from: c.width, to: c.width, bias: false, on: b)
        textOut = try DalleBartAttentionOutput(weights, "encoder_attn", for: .tokens, c, on: b)
        glu = try DalleBartGLU(weights["glu"], mlpWidth: c.decoderMLPWidth, for: .tokens, c, on: b)
    }

    /// One token.
    /// - Parameters:
    ///   - x: `[rows, 1, width]`
    ///   - position: `[1]` int32
    ///   - text: `[batch, text tokens, 2 · width]`
    /// - Returns: `[rows, 1, width]`
    func step(
        _ x: Tensor, at position: Tensor, _ cache: KeyValueCache, _ text: Tensor, _ textMask: AttentionMask,
        _ c: DalleBartConfiguration, on b: any Backend
    ) -> Tensor {
        let scale = attentionScale(c.width / c.decoderHeadCount)
        let qkv = b.normLinear(x, selfNorm, qkv)  // [rows, 1, 3 * width]
        let mixed = b.qkvDecodeAttention(qkv, cache, at: position, scale: scale, window: nil)  // [rows, 1, width]
        return afterSelfAttention(selfOut(mixed, adding: x, on: b), text, textMask, c, on: b)
    }

    /// All tokens at once, each seeing those before it.
    /// - Parameters:
    ///   - x: `[rows, count, width]`
    ///   - text: `[batch, text tokens, 2 · width]`
    /// - Returns: the shape of `x`.
    func callAsFunction(
        _ x: Tensor, _ text: Tensor, _ textMask: AttentionMask, _ c: DalleBartConfiguration, on b: any Backend
    ) -> Tensor {
        let qkv = b.normLinear(x, selfNorm, qkv)  // [rows, count, 3 * width]
        let causal = AttentionMask(causal: true)
        let mixed = b.selfAttention(qkv, heads: c.decoderHeadCount, mask: causal)  // [rows, count, width]
        return afterSelfAttention(selfOut(mixed, adding: x, on: b), text, textMask, c, on: b)
    }

    private func afterSelfAttention(
        _ h: Tensor, _ text: Tensor, _ textMask: AttentionMask, _ c: DalleBartConfiguration, on b: any Backend
    ) -> Tensor {
        let q = b.normLinear(h, textNorm, textQ)  // [rows, count, width]
        let read = b.crossAttention(q, text, heads: c.decoderHeadCount, mask: textMask)  // [rows, count, width]
        return glu(textOut(read, adding: h, on: b), on: b)
    }
}
