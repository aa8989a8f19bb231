// The defaults of the fused operations: what each means, in primitives.

extension Backend {
    package var attentionForm: AttentionForm { .flash }
    package var issuesAhead: Bool { false }

    package func redirect(_ source: Tensor, to target: Tensor) -> Bool { false }

    package func concatenate(_ x: Tensor, _ y: Tensor, axis: Int) -> Tensor { concatenate([x, y], axis: axis) }

    package func normLinear(
        _ x: Tensor, _ norm: NormParameters, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation
    ) -> Tensor {
        linear(self.norm(x, norm), weight, bias: bias, activation: activation, adding: nil)
    }

    package func normModulate(_ x: Tensor, _ norm: NormParameters, _ modulation: Tensor) -> Tensor {
        modulate(self.norm(x, norm), modulation)
    }

    package func gatedFeedForward(
        _ x: Tensor, _ norm: NormParameters?, input: PreparedMatrix, inputBias: Tensor?, output: PreparedMatrix,
        outputBias: Tensor?, activation: Activation, order: GateOrder, adding residual: Tensor?
    ) -> Tensor {
        let normed = norm.map { self.norm(x, $0) } ?? x
        let inner = linear(normed, input, bias: inputBias, activation: .identity, adding: nil)
        return linear(
            gate(inner, activation, order), output, bias: outputBias, activation: .identity, adding: residual)
    }

    package func groupNormConvolve(
        _ x: Tensor, _ norm: GroupNormParameters, activation: Activation, _ weight: PreparedConvolution, bias: Tensor?,
        _ geometry: ConvolutionGeometry, adding residual: Tensor?
    ) -> Tensor {
        convolve(
            groupNorm(x, norm, activation: activation), weight, bias: bias, geometry, activation: .identity,
            adding: residual)
    }

    package func joinedLinear(_ x: Tensor, _ other: Tensor, _ weight: PreparedMatrix, bias: Tensor?) -> Tensor {
        linear(concatenate(x, other, axis: -1), weight, bias: bias, activation: .identity, adding: nil)
    }

    package func joinedGroupNorm(
        _ x: Tensor, _ other: Tensor, _ parameters: GroupNormParameters, activation: Activation
    ) -> Tensor {
        groupNorm(concatenate(x, other, axis: -1), parameters, activation: activation)
    }

    package func joinedGroupNormConvolve(
        _ x: Tensor, _ other: Tensor, _ norm: GroupNormParameters, activation: Activation,
        _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry
    ) -> Tensor {
        convolve(
            joinedGroupNorm(x, other, norm, activation: activation), weight, bias: bias, geometry,
            activation: .identity, adding: nil)
    }

    package func qkvDecodeAttention(
        _ qkv: Tensor, _ cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor {
        append(qkv.columns(1, of: 3), qkv.columns(2, of: 3), to: cache, at: position)
        return decodeAttention(qkv.columns(0, of: 3), over: cache, at: position, scale: scale, window: window)
    }

    package func guideAndSample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        let guided = logits.shape[0] == codes.shape[0] ? logits : guide(logits, state)
        return sample(guided, state, into: codes)
    }
}

// Conveniences that only rearrange calls: no backend needs to override them.
extension Backend {
    /// `copy` for a tensor that nobody reads afterwards: it may be made at `target` in the first place.
    package func move(_ source: Tensor, to target: Tensor) {
        precondition(source.byteCount == target.byteCount, "\(source.shape) to \(target.shape)")
        if !redirect(source, to: target) { copy(source, to: target) }
    }

    /// Runs `body` and gives back all that it allocated except its result, which moves down to where the body began. This is
    /// how a chain of large activations runs in the memory of its two or three largest.
    package func scoped(_ body: () -> Tensor) -> Tensor {
        let mark = arena.mark
        let result = body()
        precondition(result.buffer === arena.buffer, "the result of a scope lies in the arena")
        arena.rewind(to: mark)
        // Not the backend's own `allocate`, which may fill what it gives out, and this may overlap the result.
        let kept = arena.allocate(result.shape, result.dtype)
        if kept.byteOffset != result.byteOffset { move(result, to: kept) }
        return kept
    }

    /// A copy of host values in the arena: float32, or int32 for integers.
    package func upload(_ source: HostTensor) -> Tensor {
        let tensor = allocate(source.shape, source.dtype.isFloatingPoint ? .float32 : .int32)
        write(source, to: tensor)
        return tensor
    }

    /// linear without bias, activation or residual.
    package func linear(_ x: Tensor, _ weight: PreparedMatrix) -> Tensor {
        linear(x, weight, bias: nil, activation: .identity, adding: nil)
    }
}
