package import TTICore

// Every operation, forwarded with its time taken; fused ones as such, so that the backend's own overrides are timed.
extension TimingBackend {
    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        time("linear") { timed.linear(x, weight, bias: bias, activation: activation, adding: residual) }
    }

    package func embed(_ ids: Tensor, _ table: Tensor) -> Tensor { time("embed") { timed.embed(ids, table) } }

    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        time("convolve") {
            timed.convolve(x, weight, bias: bias, geometry, activation: activation, adding: residual)
        }
    }

    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor {
        time("depthwiseConvolve") { timed.depthwiseConvolve(x, weight) }
    }

    package func norm(_ x: Tensor, _ parameters: NormParameters) -> Tensor {
        time("norm") { timed.norm(x, parameters) }
    }

    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        time("groupNorm") { timed.groupNorm(x, parameters, activation: activation) }
    }

    package func globalResponseNorm(_ x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor {
        time("globalResponseNorm") { timed.globalResponseNorm(x, gamma: gamma, beta: beta) }
    }

    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor {
        let isSelf = q.tensor.buffer === k.tensor.buffer && q.tensor.byteOffset == k.tensor.byteOffset
        return time("attention", isSelf ? .spatialAttention : .crossAttention) {
            timed.attention(q, k, v, heads: heads, scale: scale, mask: mask)
        }
    }

    package func castToCache(_ x: Tensor) -> Tensor { time("castToCache") { timed.castToCache(x) } }

    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) {
        time("append") { timed.append(k, v, to: cache, at: position) }
    }

    package func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor {
        time("decodeAttention") { timed.decodeAttention(q, over: cache, at: position, scale: scale, window: window) }
    }

    package func add(_ x: Tensor, _ y: Tensor) -> Tensor { time("add") { timed.add(x, y) } }

    package func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        time("activate") { timed.activate(x, activation) }
    }

    package func rotate(_ qkv: Tensor, heads: Int, by angles: Tensor, at position: Tensor) -> Tensor {
        time("rotate") { timed.rotate(qkv, heads: heads, by: angles, at: position) }
    }

    package func gate(_ x: Tensor, _ activation: Activation, _ order: GateOrder) -> Tensor {
        time("gate") { timed.gate(x, activation, order) }
    }

    package func modulate(_ x: Tensor, _ modulation: Tensor) -> Tensor {
        time("modulate") { timed.modulate(x, modulation) }
    }

    package func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
        time("concatenate") { timed.concatenate(parts, axis: axis) }
    }

    package func concatenate(_ x: Tensor, _ y: Tensor, axis: Int) -> Tensor {
        time("concatenate") { timed.concatenate(x, y, axis: axis) }
    }

    package func gather(_ x: Tensor, _ indices: Tensor) -> Tensor { time("gather") { timed.gather(x, indices) } }

    package func depthToSpace(_ x: Tensor) -> Tensor { time("depthToSpace") { timed.depthToSpace(x) } }

    package func increment(in counter: Tensor) { time("increment") { timed.increment(in: counter) } }

    package func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor {
        time("guide") { timed.guide(logits, state) }
    }

    package func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        time("sample") { timed.sample(logits, state, into: codes) }
    }

    package func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor {
        time("maskedPlaces") { timed.maskedPlaces(tokens, maskToken: maskToken, count: count) }
    }

    package func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid) {
        time("unmask") { timed.unmask(logits, at: places, state, in: grid) }
    }

    package func combine(_ output: Tensor, in state: DiffusionState) {
        time("combine") { timed.combine(output, in: state) }
    }

    package func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor {
        time("nearestCode") { timed.nearestCode(x, codebook) }
    }

    package func normLinear(
        _ x: Tensor, _ norm: NormParameters, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation
    ) -> Tensor {
        if splits { return linear(self.norm(x, norm), weight, bias: bias, activation: activation, adding: nil) }
        return time("normLinear") { timed.normLinear(x, norm, weight, bias: bias, activation: activation) }
    }

    package func joinedLinear(_ x: Tensor, _ other: Tensor, _ weight: PreparedMatrix, bias: Tensor?) -> Tensor {
        time("joinedLinear") { timed.joinedLinear(x, other, weight, bias: bias) }
    }

    package func normModulate(_ x: Tensor, _ norm: NormParameters, _ modulation: Tensor) -> Tensor {
        if splits { return modulate(self.norm(x, norm), modulation) }
        return time("normModulate") { timed.normModulate(x, norm, modulation) }
    }

    package func gatedFeedForward(
        _ x: Tensor, _ norm: NormParameters?, input: PreparedMatrix, inputBias: Tensor?, output: PreparedMatrix,
        outputBias: Tensor?, activation: Activation, order: GateOrder, adding residual: Tensor?
    ) -> Tensor {
        if splits {
            let normed = norm.map { self.norm(x, $0) } ?? x
            let inner = linear(normed, input, bias: inputBias, activation: .identity, adding: nil)
            return linear(
                gate(inner, activation, order), output, bias: outputBias, activation: .identity, adding: residual)
        }
        return time("gatedFeedForward") {
            timed.gatedFeedForward(
                x, norm, input: input, inputBias: inputBias, output: output, outputBias: outputBias,
                activation: activation,
                order: order, adding: residual)
        }
    }

    package func groupNormConvolve(
        _ x: Tensor, _ norm: GroupNormParameters, activation: Activation, _ weight: PreparedConvolution, bias: Tensor?,
        _ geometry: ConvolutionGeometry, adding residual: Tensor?
    ) -> Tensor {
        if splits {
            return convolve(
                groupNorm(x, norm, activation: activation), weight, bias: bias, geometry, activation: .identity,
                adding: residual)
        }
        return time("groupNormConvolve") {
            timed.groupNormConvolve(
                x, norm, activation: activation, weight, bias: bias, geometry, adding: residual)
        }
    }

    package func joinedGroupNorm(
        _ x: Tensor, _ other: Tensor, _ parameters: GroupNormParameters, activation: Activation
    ) -> Tensor {
        time("joinedGroupNorm") { timed.joinedGroupNorm(x, other, parameters, activation: activation) }
    }

    package func joinedGroupNormConvolve(
        _ x: Tensor, _ other: Tensor, _ norm: GroupNormParameters, activation: Activation,
        _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry
    ) -> Tensor {
        if splits {
            return convolve(
                joinedGroupNorm(x, other, norm, activation: activation), weight, bias: bias, geometry,
                activation: .identity, adding: nil)
        }
        return time("joinedGroupNormConvolve") {
            timed.joinedGroupNormConvolve(
                x, other, norm, activation: activation, weight, bias: bias, geometry)
        }
    }

    package func qkvDecodeAttention(
        _ qkv: Tensor, _ cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor {
        time("qkvDecodeAttention") {
            timed.qkvDecodeAttention(qkv, cache, at: position, scale: scale, window: window)
        }
    }

    package func guideAndSample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        time("guideAndSample") { timed.guideAndSample(logits, state, into: codes) }
    }
}
