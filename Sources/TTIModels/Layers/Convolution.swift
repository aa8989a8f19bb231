import TTICore
import TTIFormats

/// A convolution: kernel, perhaps a bias, and how it moves.
struct Convolution {
    let weight: PreparedConvolution
    /// `[outputs]`
    let bias: Tensor?
    let geometry: ConvolutionGeometry
}

extension Weights {
    /// `name.weight` `[outputs, inputs, kernel, kernel]` and, with `bias`, `name.bias`.
    func convolution(
        _ name: String, from inputs: Int, to outputs: Int, kernel: Int, _ geometry: ConvolutionGeometry,
        bias: Bool = true, on b: any Backend
    ) throws(ModelError) -> Convolution {
        let host = try self[name].host("weight", [outputs, inputs, kernel, kernel])
        return Convolution(
            weight: try b.load(convolution: host),
            bias: bias ? try self[name].constant("bias", [outputs], on: b) : nil, geometry: geometry)
    }
}

extension Backend {
    func convolve(_ x: Tensor, _ layer: Convolution, adding residual: Tensor? = nil) -> Tensor {
        convolve(x, layer.weight, bias: layer.bias, layer.geometry, activation: .identity, adding: residual)
    }

    func groupNormConvolve(
        _ x: Tensor, _ norm: GroupNormParameters, _ activation: Activation, _ layer: Convolution,
        adding residual: Tensor? = nil
    ) -> Tensor {
        groupNormConvolve(
            x, norm, activation: activation, layer.weight, bias: layer.bias, layer.geometry, adding: residual)
    }

    func joinedGroupNormConvolve(
        _ x: Tensor, _ other: Tensor, _ norm: GroupNormParameters, _ activation: Activation, _ layer: Convolution
    ) -> Tensor {
        joinedGroupNormConvolve(
            x, other, norm, activation: activation, layer.weight, bias: layer.bias, layer.geometry)
    }
}
