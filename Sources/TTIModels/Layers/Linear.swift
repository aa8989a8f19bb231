import TTICore
import TTIFormats

/// A matrix and perhaps a bias: x · weightᵀ + bias.
struct Linear {
    /// `[outputs, inputs]`
    let weight: PreparedMatrix
    /// `[outputs]`
    let bias: Tensor?
}

extension Weights {
    /// `name.weight` `[outputs, inputs]` and, with `bias`, `name.bias`.
    func linear(
        _ name: String, from inputs: Int, to outputs: Int, bias: Bool, for use: MatrixUse = .sequences,
        on b: any Backend
    ) throws(ModelError) -> Linear {
        try linear(stacking: [name], from: inputs, to: outputs, bias: bias, for: use, on: b)
    }

    /// Several layers of one input as one product: queries, keys and values come out side by side.
    /// - Parameter outputs: of each of them.
    func linear(
        stacking names: [String], from inputs: Int, to outputs: Int, bias: Bool, for use: MatrixUse = .sequences,
        on b: any Backend
    ) throws(ModelError) -> Linear {
        var matrices: [HostTensor] = []
        var biases: [HostTensor] = []
        for name in names {
            matrices.append(try self[name].host("weight", [outputs, inputs]))
            if bias { biases.append(try self[name].host("bias", [outputs])) }
        }
        return Linear(
            weight: try b.load(matrix: .stacked(matrices), for: use),
            bias: biases.isEmpty ? nil : try b.load(constant: .stacked(biases)))
    }

    /// A 1×1 convolution `[outputs, inputs, 1, 1]`, which is a linear layer of every pixel.
    func pointwise(
        _ name: String, from inputs: Int, to outputs: Int, bias: Bool, on b: any Backend
    ) throws(ModelError) -> Linear {
        try pointwise(stacking: [name], from: inputs, to: outputs, bias: bias, on: b)
    }

    /// Several 1×1 convolutions of one input as one product.
    func pointwise(
        stacking names: [String], from inputs: Int, to outputs: Int, bias: Bool, on b: any Backend
    ) throws(ModelError) -> Linear {
        var matrices: [HostTensor] = []
        var biases: [HostTensor] = []
        for name in names {
            let kernel = try self[name].host("weight", [outputs, inputs, 1, 1])
            matrices.append(kernel.reshaped([outputs, inputs]))
            if bias { biases.append(try self[name].host("bias", [outputs])) }
        }
        return Linear(
            weight: try b.load(matrix: .stacked(matrices)),
            bias: biases.isEmpty ? nil : try b.load(constant: .stacked(biases)))
    }

    /// A tensor that is read as it is.
    func constant(_ name: String, _ shape: Shape, on b: any Backend) throws(ModelError) -> Tensor {
        try b.load(constant: try host(name, shape))
    }

    /// The table of an embedding, `name.weight` `[rows, width]`.
    func table(_ name: String, rows: Int, width: Int, on b: any Backend) throws(ModelError) -> Tensor {
        try b.load(table: try self[name].host("weight", [rows, width]))
    }
}

extension Backend {
    func linear(
        _ x: Tensor, _ layer: Linear, _ activation: Activation = .identity, adding residual: Tensor? = nil
    ) -> Tensor {
        linear(x, layer.weight, bias: layer.bias, activation: activation, adding: residual)
    }

    func normLinear(
        _ x: Tensor, _ norm: NormParameters, _ layer: Linear, _ activation: Activation = .identity
    ) -> Tensor {
        normLinear(x, norm, layer.weight, bias: layer.bias, activation: activation)
    }
}
