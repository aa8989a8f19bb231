package import TTICore
package import TTIFormats

/// The shape of Muse's base transformer (Chang et al. 2023, table 3 of the appendix).
package struct MuseBaseConfiguration: Sendable, Hashable {
    package var codebookSize = 8192
    package var gridSide = 16
    package var textLength = 128
    /// T5-XXL's.
    package var textWidth = 4096
    package var width = 2048
    package var mlpWidth = 8192
    package var layerCount = 48
    package var headCount = 16
    package var normEpsilon: Float = 1e-6

    package init() {}

    /// The id that stands for "not known yet": one row more than there are codes.
    package var maskToken: Int { codebookSize }

    package static var muse3B: MuseBaseConfiguration { MuseBaseConfiguration() }

    package static var muse600M: MuseBaseConfiguration {
        var c = MuseBaseConfiguration()
        (c.width, c.mlpWidth, c.layerCount, c.headCount) = (1280, 5120, 24, 20)
        return c
    }
}

/// Muse's base transformer: pre-norm self-attention over the token grid, cross-attention to the text in every layer, a
/// two-matrix MLP with GELU, learnt positions, no biases (Chang et al. 2023).
///
/// No weights were ever published, so this exists to be measured. Names are the paper's parts: `text_proj`, `embed_tokens`
/// `[codes + 1, width]`, `embed_positions` `[places, width]`, `layers.N.{self_norm, self_attn.{q,k,v,out}_proj,
/// cross_norm, cross_attn.{q,k,v,out}_proj, mlp_norm, fc1, fc2}`, `norm`, `head`.
package struct MuseBase {
    package let configuration: MuseBaseConfiguration
    let textProjection: Linear
    /// `[codes + 1, width]`
    let tokenTable: Tensor
    /// `[places, width]`
    let positions: Tensor
    let layers: [MuseBaseLayer]
    let finalNorm: NormParameters
    let head: Linear

    /// Keys and values of the text, the same for every step.
    package struct PreparedPrompt {
        package let batch: Int
        /// `[batch, text tokens, 2 · width]` a layer.
        let keysValues: [Tensor]
    }

    package init(_ weights: Weights, _ c: MuseBaseConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        textProjection = try weights.linear("text_proj", from: c.textWidth, to: c.width, bias: false, on: b)
        tokenTable = try weights.table("embed_tokens", rows: c.codebookSize + 1, width: c.width, on: b)
        positions = try weights.constant("embed_positions.weight", [c.gridSide * c.gridSide, c.width], on: b)
        layers = try (0..<c.layerCount).map { index throws(ModelError) in
            try MuseBaseLayer(weights["layers"][index], c, on: b)
        }
        finalNorm = try weights.norm("norm", .layer, width: c.width, epsilon: c.normEpsilon, bias: .none, on: b)
        head = try weights.linear("head", from: c.width, to: c.codebookSize, bias: false, on: b)
    }

    /// Once per prompt.
    /// - Parameter text: `[batch, text tokens, text width]`
    package func prepare(text: Tensor, on b: any Backend) -> PreparedPrompt {
        let states = b.linear(text, textProjection)  // [batch, text tokens, width]
        return PreparedPrompt(
            batch: text.shape[0], keysValues: layers.map { b.linear(states, $0.keysValues) })
    }

    /// Everything but the head.
    /// - Parameter tokens: `[rows, height, width]` int32, a whole grid.
    /// - Returns: `[rows, places, width]`
    package func hidden(_ tokens: Tensor, _ prompt: PreparedPrompt, on b: any Backend) -> Tensor {
        let c = configuration
        return b.scoped {
            var x = b.scoped {
                let flat = tokens.reshaped(Shape(tokens.shape[0], c.gridSide * c.gridSide))
                return b.add(b.embed(flat, tokenTable), positions)  // [rows, places, width]
            }
            for (layer, keysValues) in zip(layers, prompt.keysValues) {
                x = b.replacing(x) { layer($0, keysValues, c, on: b) }
            }
            return x
        }
    }

    /// The head, at all places or at some; as `UVit2D.logits`.
    /// - Returns: `[rows or images, count, codes]`
    package func logits(_ hidden: Tensor, at places: Tensor? = nil, on b: any Backend) -> Tensor {
        b.scoped {
            var x = hidden
            if let places {
                x = b.gather(hidden, b.repeated(places, rows: max(hidden.shape[0], places.shape[0])))
            }
            return b.normLinear(x, finalNorm, head)  // [rows, count, codes]
        }
    }
}

/// A layer: self-attention, cross-attention, two matrices.
struct MuseBaseLayer {
    let selfNorm: NormParameters
    let qkv: Linear, selfOut: Linear
    let crossNorm: NormParameters
    let q: Linear, keysValues: Linear, crossOut: Linear
    let mlpNorm: NormParameters
    let mlpIn: Linear, mlpOut: Linear

    init(_ weights: Weights, _ c: MuseBaseConfiguration, on b: any Backend) throws(ModelError) {
        func norm(_ name: String) throws(ModelError) -> NormParameters {
            try weights.norm(name, .layer, width: c.width, epsilon: c.normEpsilon, bias: .none, on: b)
        }
        selfNorm = try norm("self_norm")
        qkv = try weights["self_attn"].linear(
            stacking: ["q_proj", "k_proj", "v_proj"], from: c.width, to: c.width, bias: false, on: b)
        selfOut = try weights.linear("self_attn.out_proj", from: c.width, to: c.width, bias: false, on: b)
        crossNorm = try norm("cross_norm")
        q = try weights.linear("cross_attn.q_proj", from: c.width, to: c.width, bias: false, on: b)
        keysValues = try weights["cross_attn"].linear(
            stacking: ["k_proj", "v_proj"], from: c.width, to: c.width, bias: false, on: b)
        crossOut = try weights.linear("cross_attn.out_proj", from: c.width, to: c.width, bias: false, on: b)
        mlpNorm = try norm("mlp_norm")
        mlpIn = try weights.linear("fc1", from: c.width, to: c.mlpWidth, bias: false, on: b)
        mlpOut = try weights.linear("fc2", from: c.mlpWidth, to: c.width, bias: false, on: b)
    }

    /// - Parameters:
    ///   - x: `[rows, places, width]`
    ///   - keysValues: `[batch, text tokens, 2 · width]`
    /// - Returns: the shape of `x`.
    func callAsFunction(
        _ x: Tensor, _ keysValues: Tensor, _ c: MuseBaseConfiguration, on b: any Backend
    ) -> Tensor {
        let qkv = b.normLinear(x, selfNorm, qkv)  // [rows, places, 3 * width]
        let mixed = b.selfAttention(qkv, heads: c.headCount)  // [rows, places, width]
        let h = b.linear(mixed, selfOut, adding: x)
        let q = b.normLinear(h, crossNorm, q)  // [rows, places, width]
        let read = b.crossAttention(q, keysValues, heads: c.headCount)  // [rows, places, width]
        let g = b.linear(read, crossOut, adding: h)
        let inner = b.normLinear(g, mlpNorm, mlpIn, .gelu)  // [rows, places, mlpWidth]
        return b.linear(inner, mlpOut, adding: g)
    }
}
