import TTICore
import TTIFormats

/// What the two lines of files call the parts of a VQGAN.
enum VQGANNames {
    case diffusers, taming

    func encoderLevel(_ index: Int) -> String {
        switch self {
        case .diffusers: "down_blocks.\(index)"
        case .taming: "down.\(index)"
        }
    }

    /// - Parameter index: from the picture inwards; diffusers counts from the inside.
    func decoderLevel(_ index: Int, of count: Int) -> String {
        switch self {
        case .diffusers: "up_blocks.\(count - 1 - index)"
        case .taming: "up.\(index)"
        }
    }

    func block(_ index: Int) -> String { self == .diffusers ? "resnets.\(index)" : "block.\(index)" }
    func attention(_ index: Int) -> String { self == .diffusers ? "attentions.\(index)" : "attn.\(index)" }
    func middleBlock(_ index: Int) -> String {
        self == .diffusers ? "mid_block.resnets.\(index)" : "mid.block_\(index + 1)"
    }
    var middleAttention: String { self == .diffusers ? "mid_block.attentions.0" : "mid.attn_1" }
    var downsample: String { self == .diffusers ? "downsamplers.0.conv" : "downsample.conv" }
    var upsample: String { self == .diffusers ? "upsamplers.0.conv" : "upsample.conv" }
    var shortcut: String { self == .diffusers ? "conv_shortcut" : "nin_shortcut" }
    var normOut: String { self == .diffusers ? "conv_norm_out" : "norm_out" }
}

extension ConvolutionGeometry {
    /// A 3×3 kernel that keeps the size.
    static let same = ConvolutionGeometry(padding: 1)
}

/// Two convolutions behind norms, around which the input goes (diffusers' ResnetBlock2D without time embedding).
struct ResidualBlock {
    let norm1: GroupNormParameters, convolution1: Convolution
    let norm2: GroupNormParameters, convolution2: Convolution
    /// Where the widths differ.
    let shortcut: Linear?

    init(
        _ weights: Weights, _ names: VQGANNames, from inputs: Int, to outputs: Int, _ c: VQGANConfiguration,
        on b: any Backend
    ) throws(ModelError) {
        norm1 = try weights.groupNorm(
            "norm1", channels: inputs, groups: c.groupCount, epsilon: c.normEpsilon, on: b)
        convolution1 = try weights.convolution("conv1", from: inputs, to: outputs, kernel: 3, .same, on: b)
        norm2 = try weights.groupNorm(
            "norm2", channels: outputs, groups: c.groupCount, epsilon: c.normEpsilon, on: b)
        convolution2 = try weights.convolution("conv2", from: outputs, to: outputs, kernel: 3, .same, on: b)
        shortcut =
            if inputs == outputs { nil } else {
                try weights.pointwise(names.shortcut, from: inputs, to: outputs, bias: true, on: b)
            }
    }

    /// - Parameter x: `[batch, height, width, inputs]`
    /// - Returns: `[batch, height, width, outputs]`
    func callAsFunction(_ x: Tensor, _ activation: Activation, on b: any Backend) -> Tensor {
        let h = b.groupNormConvolve(x, norm1, activation, convolution1)  // [batch, height, width, outputs]
        let residual = shortcut.map { b.linear(x, $0) } ?? x
        return b.groupNormConvolve(h, norm2, activation, convolution2, adding: residual)
    }
}

/// Every pixel looks at every other, with one head (diffusers' Attention in its VAE form).
struct PixelAttention {
    let norm: GroupNormParameters
    let qkv: Linear, out: Linear

    /// Takes the names of today (`to_q`), those of old diffusers (`query`), and taming's 1×1 convolutions (`q`).
    init(_ weights: Weights, width: Int, _ c: VQGANConfiguration, on b: any Backend) throws(ModelError) {
        if weights.contains("q.weight") {
            norm = try weights.groupNorm("norm", channels: width, groups: c.groupCount, epsilon: c.normEpsilon, on: b)
            qkv = try weights.pointwise(stacking: ["q", "k", "v"], from: width, to: width, bias: true, on: b)
            out = try weights.pointwise("proj_out", from: width, to: width, bias: true, on: b)
        } else {
            let isOld = weights.contains("query.weight")
            norm = try weights.groupNorm(
                "group_norm", channels: width, groups: c.groupCount, epsilon: c.normEpsilon, on: b)
            qkv = try weights.linear(
                stacking: isOld ? ["query", "key", "value"] : ["to_q", "to_k", "to_v"], from: width, to: width,
                bias: true, on: b)
            out = try weights.linear(isOld ? "proj_attn" : "to_out.0", from: width, to: width, bias: true, on: b)
        }
    }

    /// - Parameter x: `[batch, height, width, channels]`
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, on b: any Backend) -> Tensor {
        let pixels: Shape = [x.shape[0], x.shape[1] * x.shape[2], x.shape[3]]
        let y = b.groupNorm(x, norm, activation: .identity).reshaped(pixels)  // [batch, pixels, channels]
        let qkv = b.linear(y, qkv)  // [batch, pixels, 3 * channels]
        let mixed = b.selfAttention(qkv, heads: 1)  // [batch, pixels, channels]
        return b.linear(mixed, out, adding: x.reshaped(pixels)).reshaped(x.shape)
    }
}

/// Two residual blocks at the innermost resolution, with attention between them or without.
struct VQGANMiddle {
    let block1: ResidualBlock
    let attention: PixelAttention?
    let block2: ResidualBlock

    init(
        _ weights: Weights, _ names: VQGANNames, width: Int, _ c: VQGANConfiguration, on b: any Backend
    ) throws(ModelError) {
        block1 = try ResidualBlock(weights[names.middleBlock(0)], names, from: width, to: width, c, on: b)
        attention =
            c.middleAttends ? try PixelAttention(weights[names.middleAttention], width: width, c, on: b) : nil
        block2 = try ResidualBlock(weights[names.middleBlock(1)], names, from: width, to: width, c, on: b)
    }

    /// - Parameter x: `[batch, height, width, channels]`, the last tensor in the arena; its place is taken.
    /// - Returns: the same shape.
    func callAsFunction(_ x: Tensor, _ activation: Activation, on b: any Backend) -> Tensor {
        var x = b.replacing(x) { block1($0, activation, on: b) }
        if let attention { x = b.replacing(x) { attention($0, on: b) } }
        return b.replacing(x) { block2($0, activation, on: b) }
    }
}
