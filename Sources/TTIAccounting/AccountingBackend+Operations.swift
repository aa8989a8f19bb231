package import TTICore

// MARK: Dense, norms, elementwise

extension AccountingBackend {
    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        linear([x], weight, bias: bias, adding: residual)
    }

    /// Written down as one that reads its inputs where they are.
    package func joinedLinear(_ x: Tensor, _ other: Tensor, _ weight: PreparedMatrix, bias: Tensor?) -> Tensor {
        linear(readsJoinedInPlace ? [x, other] : [concatenate(x, other, axis: -1)], weight, bias: bias, adding: nil)
    }

    /// - Parameter parts: whose last axes together are the inputs.
    private func linear(
        _ parts: [Tensor], _ weight: PreparedMatrix, bias: Tensor?, adding residual: Tensor?
    ) -> Tensor {
        let shape = joined(parts)
        precondition(shape.last == weight.inputs, "\(shape) times [\(weight.outputs), \(weight.inputs)]")
        let y = allocate(shape.replacingLast(weight.outputs), activationType)
        note(
            "linear", "\(shape) × [\(weight.outputs), \(weight.inputs)]",
            flops: 2 * shape.elementCount * weight.outputs, weights: weight.outputs * weight.inputs,
            weightBytes: weight.byteCount, reads: parts + [bias, residual], writes: [y])
        return y
    }

    /// The shape of tensors side by side.
    private func joined(_ parts: [Tensor]) -> Shape {
        for part in parts.dropFirst() {
            precondition(
                part.shape.replacingLast(1) == parts[0].shape.replacingLast(1), "\(part.shape) beside \(parts[0].shape)"
            )
        }
        return parts[0].shape.replacingLast(parts.reduce(0) { $0 + $1.shape.last })
    }

    package func embed(_ ids: Tensor, _ table: Tensor) -> Tensor {
        let y = allocate(ids.shape.appending(table.shape.last), activationType)
        note(
            "embed", "\(ids.shape) of \(table.shape)", flops: 0, weights: y.elementCount,
            weightBytes: y.elementCount * table.dtype.byteCount, reads: [ids], writes: [y])
        return y
    }

    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        let kernel: Shape = [weight.outputs, weight.inputs, weight.kernelHeight, weight.kernelWidth]
        precondition(x.shape.rank == 4 && x.shape.last == weight.inputs, "\(x.shape) with a kernel of \(kernel)")
        let size = geometry.outputSize(
            height: x.shape[1], width: x.shape[2], kernelHeight: weight.kernelHeight, kernelWidth: weight.kernelWidth)
        let y = allocate([x.shape[0], size.height, size.width, weight.outputs], activationType)
        note(
            "convolve", "\(x.shape) × \(kernel)",
            flops: 2 * y.elementCount * weight.inputs * weight.kernelHeight * weight.kernelWidth,
            weights: kernel.elementCount, weightBytes: weight.byteCount, reads: [x, bias, residual], writes: [y])
        return y
    }

    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor {
        let y = allocate(x.shape, activationType)
        note(
            "depthwiseConvolve", "\(x.shape) × \(weight.shape)",
            flops: 2 * x.elementCount * weight.shape[0] * weight.shape[1],
            weights: weight.elementCount, weightBytes: weight.byteCount, reads: [x], writes: [y])
        return y
    }

    package func norm(_ x: Tensor, _ parameters: NormParameters) -> Tensor {
        let y = allocate(x.shape, activationType)
        note(
            "norm", "\(x.shape)", flops: (parameters.kind == .layer ? 8 : 4) * x.elementCount,
            reads: [x, parameters.weight, parameters.bias], writes: [y])
        return y
    }

    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        groupNorm([x], parameters, activation: activation)
    }

    /// - Parameter parts: images whose channels are side by side.
    private func groupNorm(_ parts: [Tensor], _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        let y = allocate(joined(parts), activationType)
        note(
            "groupNorm", "\(y.shape) in \(parameters.groups)", flops: (8 + flops(activation)) * y.elementCount,
            reads: parts + [parameters.weight, parameters.bias], writes: [y])
        return y
    }

    /// Written down as one that reads its images where they are.
    package func joinedGroupNorm(
        _ x: Tensor, _ other: Tensor, _ parameters: GroupNormParameters, activation: Activation
    ) -> Tensor {
        groupNorm(
            readsJoinedInPlace ? [x, other] : [concatenate(x, other, axis: -1)], parameters, activation: activation)
    }

    package func globalResponseNorm(_ x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor {
        let y = allocate(x.shape, activationType)
        note("globalResponseNorm", "\(x.shape)", flops: 6 * x.elementCount, reads: [x, gamma, beta], writes: [y])
        return y
    }

    package func add(_ x: Tensor, _ y: Tensor) -> Tensor {
        let sum = allocate(x.shape, activationType)
        note("add", "\(x.shape) + \(y.shape)", flops: x.elementCount, reads: [x, y], writes: [sum])
        return sum
    }

    package func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        let y = allocate(x.shape, activationType)
        note("activate", "\(x.shape)", flops: flops(activation) * x.elementCount, reads: [x], writes: [y])
        return y
    }

    package func gate(_ x: Tensor, _ activation: Activation, _ order: GateOrder) -> Tensor {
        precondition(x.shape.last % 2 == 0, "two halves of \(x.shape)")
        let y = allocate(x.shape.replacingLast(x.shape.last / 2), activationType)
        note("gate", "\(x.shape)", flops: (1 + flops(activation)) * y.elementCount, reads: [x], writes: [y])
        return y
    }

    package func modulate(_ x: Tensor, _ modulation: Tensor) -> Tensor {
        precondition(modulation.shape.last == 2 * x.shape.last, "\(x.shape) modulated by \(modulation.shape)")
        let y = allocate(x.shape, activationType)
        note(
            "modulate", "\(x.shape) by \(modulation.shape)", flops: 3 * x.elementCount, reads: [x, modulation],
            writes: [y])
        return y
    }

    package func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
        var shape = parts[0].shape
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        let y = allocate(shape, parts[0].dtype)
        note("concatenate", "\(shape)", flops: 0, reads: parts, writes: [y])
        return y
    }

    package func gather(_ x: Tensor, _ indices: Tensor) -> Tensor {
        let y = allocate([indices.shape[0], indices.shape[1], x.shape.last], activationType)
        note(
            "gather", "\(indices.shape) of \(x.shape)", flops: 0, reads: [indices], bytesRead: y.byteCount, writes: [y])
        return y
    }

    package func depthToSpace(_ x: Tensor) -> Tensor {
        let y = allocate([x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3] / 4], activationType)
        note("depthToSpace", "\(x.shape)", flops: 0, reads: [x], writes: [y])
        return y
    }

    package func increment(in counter: Tensor) {
        note("increment", "\(counter.shape)", flops: 0, reads: [counter], writes: [counter])
    }

    /// For each element.
    private func flops(_ activation: Activation) -> Int {
        switch activation {
        case .identity: 0
        case .relu: 1
        case .gelu, .quickGelu, .silu: 4
        case .geluTanh: 8
        }
    }
}

// MARK: Attention

extension AccountingBackend {
    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor {
        let (batch, queries, keys) = (q.tensor.shape[0], q.tensor.shape[1], k.tensor.shape[1])
        precondition(q.count == k.count && k.count == v.count, "\(q.count), \(k.count), \(v.count) columns")
        let isSelf = q.tensor.buffer === k.tensor.buffer && q.tensor.byteOffset == k.tensor.byteOffset
        let shape = AttentionShape(
            rows: batch, queries: queries, keys: keys, heads: heads, headWidth: q.count / heads)
        let kind = isSelf ? OperatorClass.spatialAttention : .crossAttention
        let text = "[\(batch), \(queries), \(q.count)] over \(k.tensor.shape[0]) × \(keys), \(heads) heads"
        let y = allocate([batch, queries, q.count], activationType)
        if attentionForm == .eager, queries >= AttentionForm.fewestEagerQueries {
            let mark = arena.mark
            defer { arena.rewind(to: mark) }
            // A CPU widens what it cast.
            for part in [k, v] where part.tensor.dtype != activationType {
                _ = allocate(part.tensor.shape.replacingLast(part.count), activationType)
            }
            noteEagerly(q, k, v, shape, kind, text, mask, into: y)
            return y
        }
        var pairs = queries * keys
        if mask.causal {
            pairs = 0
            for query in 0..<queries { pairs += visibleKeys(query, min(keys, query + 1), mask.window) }
        }
        note(
            "attention", text, kind: kind, flops: batch * pairs * (4 * q.count + 4 * heads),
            reads: [mask.keyBias, mask.scoreBias], bytesRead: bytes(q) + bytes(k) + bytes(v), writes: [y],
            attention: shape)
        return y
    }

    /// Three operations with the scores between them, of all pairs whatever a mask hides.
    private func noteEagerly(
        _ q: Columns, _ k: Columns, _ v: Columns, _ shape: AttentionShape, _ kind: OperatorClass, _ text: String,
        _ mask: AttentionMask, into y: Tensor
    ) {
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let scores = allocate([shape.rows, shape.heads, shape.queries, shape.keys], activationType)
        note(
            "attentionScores", text, kind: kind, flops: 2 * scores.elementCount * shape.headWidth,
            bytesRead: bytes(q) + bytes(k), writes: [scores], attention: shape)
        note(
            "attentionSoftmax", text, kind: kind, flops: 4 * scores.elementCount,
            reads: [scores, mask.keyBias, mask.scoreBias], writes: [scores])
        note(
            "attentionMix", text, kind: kind, flops: 2 * scores.elementCount * shape.headWidth, reads: [scores],
            bytesRead: bytes(v), writes: [y])
    }

    package func castToCache(_ x: Tensor) -> Tensor {
        guard x.dtype != cacheType else { return x }
        let y = allocate(x.shape, cacheType)
        note("castToCache", "\(x.shape)", flops: 0, reads: [x], writes: [y])
        return y
    }

    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) {
        note(
            "append", "\(k.tensor.shape[0]) × \(k.count)", flops: 0, bytesRead: bytes(k) + bytes(v),
            bytesWritten: 2 * k.tensor.rowCount * k.count * cache.keys.dtype.byteCount)
    }

    package func rotate(_ qkv: Tensor, heads: Int, by angles: Tensor, at position: Tensor) -> Tensor {
        let y = allocate(qkv.shape, activationType)
        // Of queries and keys; each place's angles are read once for an entry of the batch.
        let pairs = qkv.elementCount / 3
        note(
            "rotate", "\(qkv.shape), \(heads) heads", flops: 6 * pairs,
            bytesRead: bytes(qkv.columns) + 4 * qkv.rowCount * angles.shape.last, writes: [y])
        return y
    }

    package func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor {
        let place = min(decodePosition ?? cache.capacity - 1, cache.capacity - 1)
        let pairs = visibleKeys(place, place + 1, window)
        let batch = q.tensor.rowCount
        let y = allocate([batch, 1, q.count], activationType)
        note(
            "decodeAttention", "\(y.shape) over \(pairs), \(cache.headCount) heads",
            flops: batch * pairs * (4 * q.count + 4 * cache.headCount),
            bytesRead: bytes(q) + 2 * batch * pairs * q.count * cache.keys.dtype.byteCount, writes: [y],
            attention: AttentionShape(
                rows: batch, queries: 1, keys: place + 1, heads: cache.headCount, headWidth: q.count / cache.headCount))
        return y
    }

    /// How many of the first `count` keys a query sees.
    private func visibleKeys(_ query: Int, _ count: Int, _ window: AttentionWindow?) -> Int {
        guard let window else { return count }
        return (0..<count).reduce(0) { $0 + (window.sees(query: query, key: $1) ? 1 : 0) }
    }

    private func bytes(_ columns: Columns) -> Int {
        columns.tensor.rowCount * columns.count * columns.tensor.dtype.byteCount
    }
}

// MARK: Choice

extension AccountingBackend {
    package func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor {
        var shape = logits.shape
        shape[0] /= 2
        let y = allocate(shape, .float32)
        note("guide", "\(logits.shape)", flops: 3 * y.elementCount, reads: [logits], writes: [y])
        return y
    }

    package func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        let y = allocate([codes.shape[0]], .int32)
        note("sample", "\(logits.shape)", flops: 6 * logits.elementCount, reads: [logits], writes: [y])
        return y
    }

    package func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor {
        let y = allocate([tokens.shape[0], count], .int32)
        note("maskedPlaces", "\(tokens.shape)", flops: 0, reads: [tokens], writes: [y])
        return y
    }

    package func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid) {
        // Every image draws from its own noise, even where one row of logits serves all.
        note(
            "unmask", "\(logits.shape) at \(places.shape)", flops: 6 * places.elementCount * logits.shape.last,
            reads: [logits, places, grid.tokens], writes: [grid.tokens, grid.predicted])
    }

    package func combine(_ output: Tensor, in state: DiffusionState) {
        state.check(output)
        let weights = (2 + state.keptCount) * (4 + state.keptCount)
        let noise = state.noise.map { $0.byteCount / $0.shape[0] } ?? 0
        note(
            "combine", "\(output.shape), \(state.keptCount) kept", flops: 2 * weights * output.elementCount,
            reads: [output, state.picture?.mask, state.picture?.parts],
            bytesRead: (1 + state.keptCount) * output.byteCount + noise, writes: [state.latents, state.input])
    }

    package func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor {
        let y = allocate(x.shape[0..<x.shape.rank - 1], .int32)
        note(
            "nearestCode", "\(x.shape) in \(codebook.shape)", flops: 2 * x.rowCount * codebook.elementCount,
            weights: codebook.elementCount, weightBytes: codebook.byteCount, reads: [x], writes: [y])
        return y
    }
}
