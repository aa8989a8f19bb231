import TTICore
import TTIFormats

/// Two convolutions behind norms, around which the input goes, with what the step says added between them (diffusers'
/// ResnetBlock2D).
struct UNetResidualBlock {
    let norm1: GroupNormParameters, convolution1: Convolution
    let time: Linear
    let norm2: GroupNormParameters, convolution2: Convolution
    /// Where the widths differ.
    let shortcut: Linear?
    /// Whether prompts differ in what is added.
    let isPerPrompt: Bool
    let width: Int

    init(
        _ weights: Weights, from inputs: Int, to outputs: Int, _ c: UNetConfiguration, on b: any Backend
    ) throws(ModelError) {
        norm1 = try weights.groupNorm(
            "norm1", channels: inputs, groups: c.groupCount, epsilon: c.normEpsilon, on: b)
        convolution1 = try weights.convolution("conv1", from: inputs, to: outputs, kernel: 3, .same, on: b)
        time = try weights.linear("time_emb_proj", from: c.timeWidth, to: outputs, bias: true, on: b)
        norm2 = try weights.groupNorm(
            "norm2", channels: outputs, groups: c.groupCount, epsilon: c.normEpsilon, on: b)
        convolution2 = try weights.convolution("conv2", from: outputs, to: outputs, kernel: 3, .same, on: b)
        shortcut =
            inputs == outputs
            ? nil : try weights.pointwise("conv_shortcut", from: inputs, to: outputs, bias: true, on: b)
        isPerPrompt = c.added != nil
        width = outputs
    }

    /// What is added at every step: where all prompts have the same, it becomes the first convolution's bias and costs
    /// nothing; else it is the shift of a modulation whose scale is zero.
    /// - Parameter embeddings: `[steps, 1 or prompts, time width]`
    /// - Returns: `[1, steps, width]` or `[1, steps, prompts · 2 · width]`
    func prepare(_ embeddings: Tensor, on b: any Backend) -> Tensor {
        let (steps, prompts) = (embeddings.shape[0], embeddings.shape[1])
        return b.scoped {
            let shifts = b.linear(embeddings, time)  // [steps, prompts, width]
            guard isPerPrompt else {
                let bias = convolution1.bias.map { b.add(shifts, $0) } ?? shifts
                return bias.reshaped([1, steps, width])
            }
            let zeros = b.uploadActivations(
                HostTensor([Float](repeating: 0, count: shifts.elementCount), shifts.shape))
            return b.concatenate([zeros, shifts], axis: 2).reshaped([1, steps, prompts * 2 * width])
        }
    }

    /// - Parameters:
    ///   - x: `[rows, height, width, inputs]`
    ///   - skip: the inputs behind those of x, `[rows, height, width, …]`; nil: x has all.
    ///   - shift: of this step, `[width]` or `[prompts · 2 · width]`
    /// - Returns: `[rows, height, width, outputs]`
    func callAsFunction(_ x: Tensor, beside skip: Tensor? = nil, adding shift: Tensor, on b: any Backend) -> Tensor {
        // What lies first lies where the result will, which can then be made there: nothing that the last convolution reads but
        // what is added to it.
        let residual = aroundConvolutions(x, skip, on: b)
        if shortcut == nil && skip == nil { _ = b.allocate(x.shape, x.dtype) }
        func convolve(_ layer: Convolution) -> Tensor {
            guard let skip else { return b.groupNormConvolve(x, norm1, .silu, layer) }
            return b.joinedGroupNormConvolve(x, skip, norm1, .silu, layer)
        }
        var h: Tensor  // [rows, height, width, outputs]
        if isPerPrompt {
            h = convolve(convolution1)
            h = b.modulate(h, shift.reshaped(Shape(shift.elementCount / (2 * width), 2 * width)))
        } else {
            h = convolve(
                Convolution(weight: convolution1.weight, bias: shift, geometry: convolution1.geometry))
        }
        return b.groupNormConvolve(h, norm2, .silu, convolution2, adding: residual)
    }

    /// What goes around the convolutions: all inputs, or the shortcut's product of them.
    private func aroundConvolutions(_ x: Tensor, _ skip: Tensor?, on b: any Backend) -> Tensor {
        switch (skip, shortcut) {
        case (nil, nil): x
        case (nil, let shortcut?): b.linear(x, shortcut)
        case (let skip?, nil): b.concatenate(x, skip, axis: 3)
        case (let skip?, let shortcut?): b.joinedLinear(x, skip, shortcut.weight, bias: shortcut.bias)
        }
    }
}
