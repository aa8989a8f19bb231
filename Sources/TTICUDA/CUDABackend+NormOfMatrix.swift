internal import CTTICUDA
internal import TTICore

/// A norm as a product of few rows reads it (norm_of_matrix.cu): once for a norm and the matrix after it.
struct NormOfMatrix {
    /// Kept, so that their addresses stay theirs.
    let weight: Tensor?
    let bias: Tensor?
    /// `[stride / 8, 2, 8]` bfloat16: the norm's weights, each as the nearest and what it lacks.
    let halves: Tensor
    /// `[outputs, 2]` float32: the norm's weights and biases times the matrix.
    let sums: Tensor
}

extension CUDABackend {
    /// Made when the two first meet, which is before they are recorded; nil when there is no memory for it, which is kept as
    /// a fault.
    /// - Parameter form: the matrix as decoding reads it.
    func normOfMatrix(_ norm: NormParameters, _ matrix: DeviceMatrix, lyingAs form: DeviceMatrix) -> NormOfMatrix? {
        let (weight, bias) = ((norm.weight).device, (norm.bias).device)
        if let known = matrix.norms.first(where: { $0.weight.device == weight && $0.bias.device == bias }) {
            return known
        }
        do {
            let halves = try allocateOwned([2 * matrix.stride], .bfloat16)
            let sums = try allocateOwned([matrix.outputs, 2], .float32)
            launch(
                "norm_of_matrix", grid: ((matrix.outputs + 7) / 8, 1, 1), threads: 256,
                tti_norm_of_matrix(
                    halves: halves.device, sums: sums.device, norm_weight: weight, norm_bias: bias,
                    weight: form.elements.device, inputs: Int32(matrix.inputs), padded: Int32(matrix.stride),
                    stride: Int32(matrix.stride), outputs: Int32(matrix.outputs), output_step: form.outputStep,
                    block_step: form.blockStep, is_int8: matrix.elements.dtype == .int8 ? 1 : 0))
            // Products read it before they wait.
            device.isNextInOrder = true
            let made = NormOfMatrix(weight: norm.weight, bias: norm.bias, halves: halves, sums: sums)
            matrix.norms.append(made)
            return made
        } catch {
            device.keep(error)
            return nil
        }
    }
}
