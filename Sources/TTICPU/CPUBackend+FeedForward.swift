package import TTICore

// What comes before a gate is twice as large as what comes after it, and nobody else reads it: where products are fast, it is
// made some rows and a panel of both halves at a time, and stays in a cache.
extension CPUBackend {
    package func gatedFeedForward(
        _ x: Tensor, _ norm: NormParameters?, input: PreparedMatrix, inputBias: Tensor?, output: PreparedMatrix,
        outputBias: Tensor?, activation: Activation, order: GateOrder, adding residual: Tensor?
    ) -> Tensor {
        let tokens = tokens(x)
        let width = output.inputs
        // Few rows are bound by the weights.
        if tokens >= 16, input.outputs == 2 * width, width % 32 == 0, x.elementCount > 0 {
            precondition(x.shape.last == input.inputs, "\(x.shape) · [\(input.outputs), \(input.inputs)]ᵀ")
            if let norm { checkNorm(x, norm) }
            if let wide = input.form as? Int8Panels {
                let gated = allocate(x.shape.replacingLast(width), .float32)
                multiplyGated(x, wide, into: gated, bias: inputBias, activation, order, norm: norm)
                return linear(gated, output, bias: outputBias, activation: .identity, adding: residual)
            }
            if let wide = input.form as? Panels, let narrow = output.form as? Panels, roundsRows(wide, tokens: tokens) {
                let y = allocate(x.shape.replacingLast(output.outputs), .float32)
                hold(
                    .gatedFeedForward(
                        x, norm, input: wide, inputBias: inputBias, output: narrow, outputBias: outputBias, activation,
                        order),
                    bias: outputBias, adding: residual, into: y)
                return y
            }
        }
        let inner =
            norm.map { normLinear(x, $0, input, bias: inputBias, activation: .identity) }
            ?? linear(x, input, bias: inputBias, activation: .identity, adding: nil)
        return linear(
            gate(inner, activation, order), output, bias: outputBias, activation: .identity, adding: residual)
    }
}
