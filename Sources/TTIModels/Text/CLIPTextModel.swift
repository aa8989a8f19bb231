package import TTICore
package import TTIFormats

/// CLIP's text encoder: a causal pre-norm transformer (Radford et al. 2021; transformers' modeling_clip.py).
package struct CLIPTextModel {
    package let configuration: CLIPTextConfiguration
    /// `[vocabulary, width]`
    let tokenTable: Tensor
    /// `[maximum length, width]`
    let positions: Tensor
    let layers: [CLIPTextLayer]
    let finalNorm: NormParameters
    let projection: Linear?

    /// What the encoder makes of some texts.
    package struct Output {
        /// After the final norm, `[batch, tokens, width]`: `last_hidden_state`.
        package let lastHidden: Tensor
        /// Before the last layer, `[batch, tokens, width]`: `hidden_states[-2]`.
        package let penultimate: Tensor
        /// `lastHidden` at each text's end token, `[batch, width]`: `pooler_output`.
        package let pooled: Tensor
        /// The projection of `pooled`, `[batch, projection width]`: `text_embeds`; nil for a model without projection.
        package let projected: Tensor?
    }

    /// Takes the names with and without `text_model.` in front (transformers 5 saves CLIPTextModel without).
    package init(_ weights: Weights, _ c: CLIPTextConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        let text = weights.contains("embeddings.token_embedding.weight") ? weights : weights["text_model"]
        tokenTable = try text.table("embeddings.token_embedding", rows: c.vocabularySize, width: c.width, on: b)
        positions = try text.constant("embeddings.position_embedding.weight", [c.maximumLength, c.width], on: b)
        layers = try (0..<c.layerCount).map { index throws(ModelError) in
            try CLIPTextLayer(text["encoder.layers"][index], c, on: b)
        }
        finalNorm = try text.norm(
            "final_layer_norm", .layer, width: c.width, epsilon: c.normEpsilon, bias: .required, on: b)
        projection =
            if let projectionWidth = c.projectionWidth {
                try weights.linear("text_projection", from: c.width, to: projectionWidth, bias: false, on: b)
            } else { nil }
    }

    /// Tensors that old files carry and that nothing needs: the buffer 0, 1, 2, …, and the contrastive temperature. A file
    /// of a model without projection may also hold one.
    package static func ignores(_ name: String) -> Bool {
        name.hasSuffix("embeddings.position_ids") || name == "logit_scale" || name == "text_projection.weight"
    }

    /// - Parameter tokens: checked before; ids beyond the table trap.
    package func callAsFunction(_ tokens: TokenRows, on b: any Backend) -> Output {
        let c = configuration
        let mask = AttentionMask(causal: true, keyBias: tokens.hostKeyBias.map { b.upload($0) })
        var x = b.scoped {
            let embedded = b.embed(b.upload(tokens.hostIds), tokenTable)  // [batch, tokens, width]
            return b.add(embedded, positions.prefixRows(0..<tokens.length))
        }
        for layer in layers.dropLast() {
            x = b.replacing(x) { layer($0, mask, c, on: b) }  // [batch, tokens, width]
        }
        let penultimate = x
        let last = b.scoped { b.norm(layers[layers.count - 1](penultimate, mask, c, on: b), finalNorm) }
        let ends = HostTensor(tokens.ids.map { endPlace(in: $0) }, [tokens.batch, 1])
        let pooled = b.gather(last, b.upload(ends)).reshaped([tokens.batch, c.width])  // [batch, width]
        return Output(
            lastHidden: last, penultimate: penultimate, pooled: pooled,
            projected: projection.map { b.linear(pooled, $0) })  // [batch, projection width]
    }

    /// The place that stands for a whole text.
    private func endPlace(in ids: [Int32]) -> Int32 {
        var place = 0
        if configuration.endToken == 2 {
            // The first of the largest ids, which in CLIP's own vocabulary is the end token.
            for index in ids.indices where ids[index] > ids[place] { place = index }
        } else {
            place = ids.firstIndex(of: Int32(truncatingIfNeeded: configuration.endToken)) ?? 0
        }
        return Int32(place)
    }
}

/// One layer: causal self-attention, then two matrices.
struct CLIPTextLayer {
    let attentionNorm: NormParameters
    let qkv: Linear, attentionOut: Linear
    let mlpNorm: NormParameters
    let mlpIn: Linear, mlpOut: Linear

    init(_ weights: Weights, _ c: CLIPTextConfiguration, on b: any Backend) throws(ModelError) {
        attentionNorm = try weights.norm(
            "layer_norm1", .layer, width: c.width, epsilon: c.normEpsilon, bias: .required, on: b)
        qkv = try weights["self_attn"].linear(
            stacking: ["q_proj", "k_proj", "v_proj"], from: c.width, to: c.width, bias: true, on: b)
        attentionOut = try weights.linear("self_attn.out_proj", from: c.width, to: c.width, bias: true, on: b)
        mlpNorm = try weights.norm(
            "layer_norm2", .layer, width: c.width, epsilon: c.normEpsilon, bias: .required, on: b)
        mlpIn = try weights.linear("mlp.fc1", from: c.width, to: c.mlpWidth, bias: true, on: b)
        mlpOut = try weights.linear("mlp.fc2", from: c.mlpWidth, to: c.width, bias: true, on: b)
    }

    /// - Parameter x: `[batch, tokens, width]`
    /// - Returns: the same shape.
    func callAsFunction(
        _ x: Tensor, _ mask: AttentionMask, _ c: CLIPTextConfiguration, on b: any Backend
    ) -> Tensor {
        let qkv = b.normLinear(x, attentionNorm, qkv)  // [batch, tokens, 3 * width]
        let mixed = b.selfAttention(qkv, heads: c.headCount, mask: mask)  // [batch, tokens, width]
        let h = b.linear(mixed, attentionOut, adding: x)
        let inner = b.normLinear(h, mlpNorm, mlpIn, c.activation)  // [batch, tokens, mlpWidth]
        return b.linear(inner, mlpOut, adding: h)
    }
}
