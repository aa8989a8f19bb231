import TTICore
import TTIFormats

/// A layer of the trunk: self-attention, cross-attention, gated feed-forward, each behind a norm that the condition
/// modulates (diffusers' BasicTransformerBlock with ada_norm_continuous).
struct UVit2DLayer {
    let selfNorm: ModulatedNorm
    let qkv: Linear, selfOut: Linear
    let crossNorm: ModulatedNorm
    let q: Linear, keysValues: Linear, crossOut: Linear
    let mlpNorm: ModulatedNorm
    let mlpIn: Linear, mlpOut: Linear

    /// What a layer needs of some prompts.
    struct Prompt {
        /// Scale, then shift: `[batch, 2 · width]` each.
        let selfModulation: Tensor, crossModulation: Tensor, mlpModulation: Tensor
        /// `[batch, text tokens, 2 · width]`
        let keysValues: Tensor
    }

    init(_ weights: Weights, _ c: UVit2DConfiguration, on b: any Backend) throws(ModelError) {
        let bias = c.usesBias
        selfNorm = try ModulatedNorm(weights["norm1"], .rms, c, on: b)
        qkv = try weights["attn1"].linear(
            stacking: ["to_q", "to_k", "to_v"], from: c.width, to: c.width, bias: bias, on: b)
        selfOut = try weights.linear("attn1.to_out.0", from: c.width, to: c.width, bias: bias, on: b)
        crossNorm = try ModulatedNorm(weights["norm2"], .rms, c, on: b)
        q = try weights.linear("attn2.to_q", from: c.width, to: c.width, bias: bias, on: b)
        keysValues = try weights["attn2"].linear(
            stacking: ["to_k", "to_v"], from: c.width, to: c.width, bias: bias, on: b)
        crossOut = try weights.linear("attn2.to_out.0", from: c.width, to: c.width, bias: bias, on: b)
        // The third norm is a layer norm while the other two are RMS norms: the checkpoint expects it.
        mlpNorm = try ModulatedNorm(weights["norm3"], .layer, c, on: b)
        mlpIn = try weights.linear("ff.net.0.proj", from: c.width, to: 2 * c.mlpWidth, bias: bias, on: b)
        mlpOut = try weights.linear("ff.net.2", from: c.mlpWidth, to: c.width, bias: bias, on: b)
    }

    func prepare(_ states: Tensor, _ condition: Tensor, on b: any Backend) -> Prompt {
        Prompt(
            selfModulation: b.linear(condition, selfNorm.modulation),  // [batch, 2 * width]
            crossModulation: b.linear(condition, crossNorm.modulation),
            mlpModulation: b.linear(condition, mlpNorm.modulation),
            keysValues: b.linear(states, keysValues))  // [batch, text tokens, 2 * width]
    }

    /// - Parameter x: `[rows, places, width]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, _ prompt: Prompt, _ c: UVit2DConfiguration, on b: any Backend) -> Tensor {
        let y = b.normModulate(x, selfNorm.norm, prompt.selfModulation)  // [rows, places, width]
        let qkv = b.linear(y, qkv)  // [rows, places, 3 * width]
        let mixed = b.selfAttention(qkv, heads: c.headCount)  // [rows, places, width]
        let h = b.linear(mixed, selfOut, adding: x)

        let z = b.normModulate(h, crossNorm.norm, prompt.crossModulation)  // [rows, places, width]
        let q = b.linear(z, q)
        let read = b.crossAttention(q, prompt.keysValues, heads: c.headCount)  // [rows, places, width]
        let g = b.linear(read, crossOut, adding: h)

        let w = b.normModulate(g, mlpNorm.norm, prompt.mlpModulation)  // [rows, places, width]
        return b.gatedFeedForward(w, nil, mlpIn, mlpOut, .gelu, .valueFirst, adding: g)
    }
}

/// A norm whose result is scaled and shifted by linear functions of the condition.
struct ModulatedNorm {
    let norm: NormParameters
    /// `[2 · width, width]`: scale, then shift.
    let modulation: Linear

    init(
        _ weights: Weights, _ kind: NormParameters.Kind, _ c: UVit2DConfiguration, on b: any Backend
    ) throws(ModelError) {
        let hasBias = kind == .layer && c.usesBias && c.normsHaveWeights
        norm = try weights.norm(
            "norm", kind, width: c.width, epsilon: c.normEpsilon, bias: hasBias ? .required : .none,
            hasWeight: c.normsHaveWeights, on: b)
        modulation = try weights.linear(
            "linear", from: c.width, to: 2 * c.width, bias: c.usesBias, for: .tokens, on: b)
    }
}

extension Backend {
    /// linear(gate(linear(norm(x), input)), output) + residual; nil: no norm.
    func gatedFeedForward(
        _ x: Tensor, _ norm: NormParameters?, _ input: Linear, _ output: Linear, _ activation: Activation,
        _ order: GateOrder,
        adding residual: Tensor?
    ) -> Tensor {
        gatedFeedForward(
            x, norm, input: input.weight, inputBias: input.bias, output: output.weight, outputBias: output.bias,
            activation: activation, order: order, adding: residual)
    }
}
