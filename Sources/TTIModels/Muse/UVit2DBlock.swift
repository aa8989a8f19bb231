import TTICore
import TTIFormats

/// A pair of blocks outside the trunk: a residual block of ConvNeXt V2, modulated by the condition, and two
/// cross-attentions to the text, without a feed-forward (diffusers' ConvNextBlock and SkipFFTransformerBlock).
struct UVit2DBlock {
    /// `[3, 3, channels]`
    let depthwise: Tensor
    let depthwiseBias: Tensor?
    let residualNorm: NormParameters
    let expand: Linear, contract: Linear
    /// Of the global response norm, `[4 · channels]`
    let gamma: Tensor, beta: Tensor
    let modulation: Linear
    let textMapper: Linear?
    let norm1: NormParameters
    let attention1: TextAttention
    let norm2: NormParameters
    let attention2: TextAttention

    /// What a pair of blocks needs of some prompts.
    struct Prompt {
        /// Scale, then shift: `[batch, 2 · channels]`
        let modulation: Tensor
        /// `[batch, text tokens, 2 · channels]`
        let keysValues1: Tensor, keysValues2: Tensor
    }

    /// Queries, keys and values, and the way back.
    struct TextAttention {
        let q: Linear, keysValues: Linear, out: Linear

        init(_ weights: Weights, _ c: UVit2DConfiguration, on b: any Backend) throws(ModelError) {
            q = try weights.linear("to_q", from: c.channels, to: c.channels, bias: c.usesBias, on: b)
            keysValues = try weights.linear(
                stacking: ["to_k", "to_v"], from: c.channels, to: c.channels, bias: c.usesBias, on: b)
            out = try weights.linear("to_out.0", from: c.channels, to: c.channels, bias: c.usesBias, on: b)
        }
    }

    /// These norms have a weight and this epsilon whatever the configuration says.
    private static let attentionNormEpsilon: Float = 1e-6

    init(_ weights: Weights, _ index: Int, _ c: UVit2DConfiguration, on b: any Backend) throws(ModelError) {
        let residual = weights["res_blocks"][index]
        let kernel = try residual.host("depthwise.weight", [c.channels, 1, 3, 3])
        depthwise = try b.load(depthwise: kernel)
        depthwiseBias = c.usesBias ? try residual.constant("depthwise.bias", [c.channels], on: b) : nil
        residualNorm = try residual.norm(
            "norm", .rms, width: c.channels, epsilon: c.normEpsilon, bias: .none, hasWeight: c.normsHaveWeights, on: b)
        let inner = 4 * c.channels
        expand = try residual.linear("channelwise_linear_1", from: c.channels, to: inner, bias: c.usesBias, on: b)
        gamma = try residual.constant("channelwise_norm.gamma", [1, 1, 1, inner], on: b).reshaped([inner])
        beta = try residual.constant("channelwise_norm.beta", [1, 1, 1, inner], on: b).reshaped([inner])
        contract = try residual.linear("channelwise_linear_2", from: inner, to: c.channels, bias: c.usesBias, on: b)
        modulation = try residual.linear(
            "cond_embeds_mapper", from: c.width, to: 2 * c.channels, bias: c.usesBias, for: .tokens, on: b)

        let attention = weights["attention_blocks"][index]
        textMapper =
            if c.width == c.channels { nil } else {
                try attention.linear("kv_mapper", from: c.width, to: c.channels, bias: c.usesBias, on: b)
            }
        let epsilon = UVit2DBlock.attentionNormEpsilon
        norm1 = try attention.norm("norm1", .rms, width: c.channels, epsilon: epsilon, bias: .none, on: b)
        attention1 = try TextAttention(attention["attn1"], c, on: b)
        norm2 = try attention.norm("norm2", .rms, width: c.channels, epsilon: epsilon, bias: .none, on: b)
        attention2 = try TextAttention(attention["attn2"], c, on: b)
    }

    /// - Parameters:
    ///   - states: `[batch, text tokens, width]`
    ///   - mappedStates: SiLU of the states, which is what the mapper takes.
    ///   - condition: `[batch, width]`
    func prepare(_ states: Tensor, _ mappedStates: Tensor, _ condition: Tensor, on b: any Backend) -> Prompt {
        let text = textMapper.map { b.linear(mappedStates, $0) } ?? states  // [batch, text tokens, channels]
        return Prompt(
            modulation: b.linear(condition, modulation),  // [batch, 2 * channels]
            keysValues1: b.linear(text, attention1.keysValues),  // [batch, text tokens, 2 * channels]
            keysValues2: b.linear(text, attention2.keysValues))
    }

    /// - Parameter x: `[rows, height, width, channels]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, _ prompt: Prompt, _ c: UVit2DConfiguration, on b: any Backend) -> Tensor {
        var y = b.depthwiseConvolve(x, depthwise)  // [rows, height, width, channels]
        if let depthwiseBias { y = b.add(y, depthwiseBias) }
        let wide = b.normLinear(y, residualNorm, expand, .gelu)  // [rows, height, width, 4 * channels]
        let response = b.globalResponseNorm(wide, gamma: gamma, beta: beta)
        let residual = b.linear(response, contract, adding: x)  // [rows, height, width, channels]
        let h = b.modulate(residual, prompt.modulation)
            .reshaped(Shape(x.shape[0], x.shape[1] * x.shape[2], c.channels))  // [rows, places, channels]

        let q1 = b.normLinear(h, norm1, attention1.q)
        let read1 = b.crossAttention(q1, prompt.keysValues1, heads: c.blockHeadCount)
        let g = b.linear(read1, attention1.out, adding: h)

        let q2 = b.normLinear(g, norm2, attention2.q)
        let read2 = b.crossAttention(q2, prompt.keysValues2, heads: c.blockHeadCount)
        return b.linear(read2, attention2.out, adding: g).reshaped(x.shape)  // [rows, height, width, channels]
    }
}

/// 2×2 tokens to one, as the 512 form begins: norm, then a 2×2 convolution of stride 2. Zeros stand to the right and at the
/// bottom, which only an odd grid reads.
struct UVit2DDownsample {
    let norm: NormParameters
    let convolution: Convolution

    init(_ weights: Weights, _ c: UVit2DConfiguration, on b: any Backend) throws(ModelError) {
        norm = try weights.norm(
            "norm", .rms, width: c.channels, epsilon: c.normEpsilon, bias: .none, hasWeight: c.normsHaveWeights, on: b)
        convolution = try weights.convolution(
            "conv", from: c.channels, to: c.channels, kernel: 2,
            ConvolutionGeometry(stride: 2, top: 0, left: 0, bottom: 1, right: 1), bias: c.usesBias, on: b)
    }

    /// - Parameter x: `[rows, height, width, channels]`
    /// - Returns: `[rows, (height + 1) / 2, (width + 1) / 2, channels]`
    func callAsFunction(_ x: Tensor, on b: any Backend) -> Tensor {
        b.convolve(b.norm(x, norm), convolution)
    }
}

/// One token to 2×2, as the 512 form ends: norm, then a transposed 2×2 convolution of stride 2, whose kernels never meet,
/// so that it is one matrix.
struct UVit2DUpsample {
    let norm: NormParameters
    let corners: Linear

    init(_ weights: Weights, _ c: UVit2DConfiguration, on b: any Backend) throws(ModelError) {
        norm = try weights.norm(
            "norm", .rms, width: c.channels, epsilon: c.normEpsilon, bias: .none, hasWeight: c.normsHaveWeights, on: b)
        let kernel = try weights.host("conv.weight", [c.channels, c.channels, 2, 2])
        var bias: Tensor?
        if c.usesBias {
            let host = try weights.host("conv.bias", [c.channels])
            bias = try b.load(constant: .stacked([host, host, host, host]))
        }
        corners = Linear(weight: try b.load(matrix: kernel.transposedConvolutionMatrix()), bias: bias)
    }

    /// - Parameter x: `[rows, height, width, channels]`
    /// - Returns: `[rows, 2 · height, 2 · width, channels]`
    func callAsFunction(_ x: Tensor, on b: any Backend) -> Tensor {
        let corners = b.normLinear(x, norm, corners)  // [rows, height, width, 4 * channels]
        return b.depthToSpace(corners)
    }
}
