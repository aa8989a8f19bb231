import TTICore
import TTIFormats

/// From text and micro-conditions to what the layers of UVit2D are conditioned on.
struct UVit2DConditioning {
    let textProjection: Linear
    let textNorm: NormParameters
    let conditionIn: Linear, conditionOut: Linear

    init(_ weights: Weights, _ c: UVit2DConfiguration, on b: any Backend) throws(ModelError) {
        textProjection = try weights.linear("encoder_proj", from: c.textWidth, to: c.width, bias: c.usesBias, on: b)
        textNorm = try weights.norm(
            "encoder_proj_layer_norm", .rms, width: c.width, epsilon: c.normEpsilon, bias: .none,
            hasWeight: c.normsHaveWeights, on: b)
        conditionIn = try weights.linear(
            "cond_embed.linear_1", from: c.pooledTextWidth + c.microConditionsWidth, to: c.width, bias: c.usesBias,
            for: .tokens, on: b)
        conditionOut = try weights.linear(
            "cond_embed.linear_2", from: c.width, to: c.width, bias: c.usesBias, for: .tokens, on: b)
    }

    /// - Returns: the text states, `[batch, text tokens, width]`, and SiLU of the condition vector, `[batch, width]`: no
    ///   layer takes it otherwise.
    func callAsFunction(
        text: Tensor, pooled: Tensor, _ microConditions: [[Float]], _ c: UVit2DConfiguration, on b: any Backend
    ) -> (states: Tensor, condition: Tensor) {
        let batch = text.shape[0]
        precondition(
            microConditions.count == 1 || microConditions.count == batch,
            "\(microConditions.count) lists of micro-conditions for \(batch) prompts")
        let rows = microConditions.count == 1 ? Array(repeating: microConditions[0], count: batch) : microConditions
        precondition(rows.allSatisfy { $0.count == c.microConditionCount }, "\(c.microConditionCount) micro-conditions")
        let waves = rows.flatMap { Sinusoid.cosineFirst($0, width: c.microConditionWidth) }
        let states = b.scoped { b.norm(b.linear(text, textProjection), textNorm) }  // [batch, text tokens, width]
        let condition = b.scoped {
            let waves = b.uploadActivations(HostTensor(waves, [batch, c.microConditionsWidth]))  // [batch, micro]
            let joined = b.concatenate([pooled, waves], axis: 1)  // [batch, pooled + micro]
            let inner = b.linear(joined, conditionIn, .silu)  // [batch, width]
            return b.linear(inner, conditionOut, .silu)  // [batch, width]
        }
        return (states, condition)
    }
}
