package import TTICore

/// A product or convolution that is not done yet: a scope may still move its result, and then nothing needs to be copied.
struct HeldWork {
    enum Operation {
        case linear(Tensor, ProductRows, PreparedMatrix, bias: Tensor?, Activation)
        case gatedFeedForward(
            Tensor, NormParameters?, input: Panels, inputBias: Tensor?, output: Panels, outputBias: Tensor?, Activation,
            GateOrder)
        case convolution(
            Tensor, PreparedConvolution, bias: Tensor?, ConvolutionGeometry, Activation, norm: ImageNorm?)
    }

    let operation: Operation
    let residual: Tensor?
    /// Where the result goes.
    fileprivate(set) var result: Tensor

    /// Whether the result can be made in a place that is not its own: nobody reads there what somebody else has written by
    /// then. A thread reads a number of the residual right before it writes there, but for an activation, which comes between.
    fileprivate func canGo(to target: Tensor) -> Bool {
        let operandsStay: Bool
        let activation: Activation
        switch operation {
        case .linear(let x, let rows, _, let bias, let function):
            operandsStay = !target.overlaps(x) && !target.overlaps(bias) && !rows.overlap(target)
            activation = function
        case .gatedFeedForward(let x, let norm, _, let inputBias, _, let outputBias, _, _):
            operandsStay =
                !target.overlaps(x) && !target.overlaps(norm?.weight) && !target.overlaps(norm?.bias)
                && !target.overlaps(inputBias) && !target.overlaps(outputBias)
            activation = .identity
        case .convolution(let x, _, let bias, _, let function, let norm):
            operandsStay =
                !target.overlaps(x) && !target.overlaps(bias) && !target.overlaps(norm?.parameters.weight)
                && !target.overlaps(norm?.parameters.bias) && !target.overlaps(norm?.joined)
            activation = function
        }
        guard operandsStay, let residual else { return operandsStay }
        return residual.address == target.address && activation == .identity || !target.overlaps(residual)
    }
}

extension CPUBackend {
    /// Leaves work until something else is asked for, or what it makes.
    func hold(
        _ operation: HeldWork.Operation, bias: Tensor?, adding residual: Tensor?, into result: Tensor
    ) {
        if let bias { precondition(bias.elementCount == result.shape.last, "bias \(bias.shape) to \(result.shape)") }
        if let residual {
            precondition(residual.shape == result.shape, "residual \(residual.shape) to \(result.shape)")
        }
        held = HeldWork(operation: operation, residual: residual, result: result)
    }

    /// Does what is held. Every operation does this before it reads or writes an element: `allocate` does, and one that
    /// allocates nothing calls it.
    func finishHeld() {
        guard let work = held else { return }
        held = nil
        switch work.operation {
        case .linear(let x, let rows, let weight, let bias, let activation):
            multiply(x, rows, weight, bias: bias, activation, adding: work.residual, into: work.result)
        case .gatedFeedForward(
            let x, let norm, let input, let inputBias, let output, let outputBias, let activation, let order):
            gateRounded(
                x, norm, input, inputBias: inputBias, output, outputBias: outputBias, activation: activation,
                order: order,
                adding: work.residual, into: work.result)
        case .convolution(let x, let weight, let bias, let geometry, let activation, let norm):
            convolve(
                x, weight, bias: bias, geometry, activation, adding: work.residual, norm: norm, into: work.result)
        }
    }

    package func redirect(_ source: Tensor, to target: Tensor) -> Bool {
        guard let work = held, work.result.address == source.address, work.result.byteCount == source.byteCount,
            work.canGo(to: target)
        else { return false }
        held?.result = Tensor(
            buffer: target.buffer, byteOffset: target.byteOffset, shape: work.result.shape, dtype: work.result.dtype)
        return true
    }
}
