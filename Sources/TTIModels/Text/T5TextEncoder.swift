package import TTICore
package import TTIFormats

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// T5's encoder, versions 1.0 and 1.1: RMS norms in front, relative positions as a bias on the scores, no scaling of the
/// scores (Raffel et al. 2020; transformers' modeling_t5.py).
package struct T5TextEncoder {
    package let configuration: T5TextConfiguration
    /// `[vocabulary, width]`
    let tokenTable: Tensor
    /// `[buckets][heads]`, shared by all layers; on the host, because a text's length decides what becomes of it.
    let distanceBias: [Float]
    let layers: [T5TextLayer]
    let finalNorm: NormParameters

    package init(_ weights: Weights, _ c: T5TextConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        // The same table under two names, of which some files keep only one.
        let isShared = weights.contains("shared.weight", assumed: true)
        tokenTable = try weights.table(
            isShared ? "shared" : "encoder.embed_tokens", rows: c.vocabularySize, width: c.width, on: b)
        let blocks = weights["encoder.block"]
        distanceBias = try blocks[0]["layer.0.SelfAttention.relative_attention_bias"]
            .host("weight", [c.bucketCount, c.headCount]).floats()
        layers = try (0..<c.layerCount).map { index throws(ModelError) in
            try T5TextLayer(blocks[index]["layer"], c, on: b)
        }
        finalNorm = try weights.norm(
            "encoder.final_layer_norm", .rms, width: c.width, epsilon: c.normEpsilon, bias: .none, on: b)
    }

    /// The decoder of a whole T5, and the second name of the token table.
    package static func ignores(_ name: String) -> Bool {
        name.hasPrefix("decoder.") || name == "lm_head.weight" || name == "encoder.embed_tokens.weight"
    }

    /// - Returns: `[batch, tokens, width]`, after the final norm.
    package func callAsFunction(_ tokens: TokenRows, on b: any Backend) -> Tensor {
        let c = configuration
        return b.scoped {
            let mask = AttentionMask(
                keyBias: tokens.hostKeyBias.map { b.upload($0) }, scoreBias: b.upload(scoreBias(length: tokens.length)))
            var x = b.embed(b.upload(tokens.hostIds), tokenTable)  // [batch, tokens, width]
            for layer in layers { x = b.replacing(x) { layer($0, mask, c, on: b) } }
            return b.norm(x, finalNorm)
        }
    }

    /// `[heads, queries, keys]`
    private func scoreBias(length: Int) -> HostTensor {
        let heads = configuration.headCount
        var bias = [Float](repeating: 0, count: heads * length * length)
        for distance in (1 - length)..<length {
            let bucket = bucket(ofDistance: distance)
            for head in 0..<heads {
                let value = distanceBias[bucket * heads + head]
                for query in max(0, -distance)..<min(length, length - distance) {
                    bias[(head * length + query) * length + query + distance] = value
                }
            }
        }
        return HostTensor(bias, [heads, length, length])
    }

    /// The class of a distance (key minus query): half of the classes for either direction, the nearest places one by one,
    /// the others by the logarithm, in float32 as the reference computes it.
    private func bucket(ofDistance distance: Int) -> Int {
        let half = configuration.bucketCount / 2
        let first = distance > 0 ? half : 0
        let size = abs(distance)
        let exact = half / 2
        if size < exact { return first + size }
        let ratio = logf(Float(size) / Float(exact)) / logf(Float(configuration.maximumDistance) / Float(exact))
        return first + min(exact + Int(ratio * Float(half - exact)), half - 1)
    }
}

/// One layer: self-attention, then two matrices or three.
struct T5TextLayer {
    let attentionNorm: NormParameters
    let qkv: Linear, attentionOut: Linear
    let mlpNorm: NormParameters
    let mlpIn: Linear, mlpOut: Linear

    init(_ weights: Weights, _ c: T5TextConfiguration, on b: any Backend) throws(ModelError) {
        let inner = c.headCount * c.headWidth
        attentionNorm = try weights.norm(
            "0.layer_norm", .rms, width: c.width, epsilon: c.normEpsilon, bias: .none, on: b)
        qkv = try weights["0.SelfAttention"].linear(
            stacking: ["q", "k", "v"], from: c.width, to: inner, bias: false, on: b)
        attentionOut = try weights.linear("0.SelfAttention.o", from: inner, to: c.width, bias: false, on: b)
        mlpNorm = try weights.norm("1.layer_norm", .rms, width: c.width, epsilon: c.normEpsilon, bias: .none, on: b)
        mlpIn = try weights["1.DenseReluDense"].linear(
            stacking: c.isGated ? ["wi_0", "wi_1"] : ["wi"], from: c.width, to: c.mlpWidth, bias: false, on: b)
        mlpOut = try weights.linear("1.DenseReluDense.wo", from: c.mlpWidth, to: c.width, bias: false, on: b)
    }

    /// - Parameter x: `[batch, tokens, width]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, _ mask: AttentionMask, _ c: T5TextConfiguration, on b: any Backend) -> Tensor {
        let qkv = b.normLinear(x, attentionNorm, qkv)  // [batch, tokens, 3 * inner]
        let mixed = b.attention(
            qkv.columns(0, of: 3), qkv.columns(1, of: 3), qkv.columns(2, of: 3), heads: c.headCount, scale: 1,
            mask: mask)
        let h = b.linear(mixed, attentionOut, adding: x)
        if !c.isGated {
            let inner = b.normLinear(h, mlpNorm, mlpIn, c.activation)  // [batch, tokens, mlpWidth]
            return b.linear(inner, mlpOut, adding: h)
        }
        return b.gatedFeedForward(h, mlpNorm, mlpIn, mlpOut, c.activation, .gateFirst, adding: h)
    }
}
