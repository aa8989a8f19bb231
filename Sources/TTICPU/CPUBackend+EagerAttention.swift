internal import CTTIKernels
import TTICore

// Attention as the formula reads: three operations, each from memory to memory. The products are those of `linear`, on
// tiles where attention is; only the scores between them are what flash attention saves.
extension CPUBackend {
    func attendEagerly(
        _ call: AttentionCall, _ q: Columns, _ k: Columns, _ v: Columns, _ scale: Float, _ mask: AttentionMask,
        into result: Tensor
    ) {
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let scores = allocate([call.batch, call.heads, call.queries, call.keys], .float32)
        forEachHead(call) { entry, keyEntry, head in
            let keys = packed(k, keyEntry, head, call, isTransposed: false)
            unsafe multiply(
                q.floats + entry * call.queries * q.rowStride + head * call.headWidth, q.rowStride, keys,
                into: scores.floats + (entry * call.heads + head) * call.queries * call.keys, call.keys, call)
        }
        softmax(scores, call, scale, mask)
        forEachHead(call) { entry, keyEntry, head in
            let values = packed(v, keyEntry, head, call, isTransposed: true)
            let width = call.heads * call.headWidth
            unsafe multiply(
                scores.floats + (entry * call.heads + head) * call.queries * call.keys, call.keys, values,
                into: result.floats + entry * call.queries * width + head * call.headWidth, width, call)
        }
    }

    private func forEachHead(_ call: AttentionCall, _ body: (_ entry: Int, _ keyEntry: Int, _ head: Int) -> Void) {
        for entry in 0..<call.batch {
            for head in 0..<call.heads { body(entry, entry * call.keyBatch / call.batch, head) }
        }
    }

    /// The keys of one head `[keys, width]`, or its values transposed, as a matrix to multiply with.
    private func packed(
        _ columns: Columns, _ entry: Int, _ head: Int, _ call: AttentionCall, isTransposed: Bool
    ) -> Panels {
        let (keys, width, stride) = (call.keys, call.headWidth, columns.rowStride)
        let source = unsafe columns.floats + entry * keys * stride + head * width
        let elements = unsafe [Float](unsafeUninitializedCapacity: keys * width) { target, count in
            for key in 0..<keys {
                for column in 0..<width {
                    unsafe target[isTransposed ? column * keys + key : key * width + column] =
                        source[key * stride + column]
                }
            }
            count = keys * width
        }
        let onTiles = instructionSet == .amx && cacheType == .bfloat16 && call.queries >= 16
        do throws(DeviceError) {
            return try pack(
                HostTensor(elements, isTransposed ? [width, keys] : [keys, width]), as: onTiles ? .bfloat16 : .float32)
        } catch { preconditionFailure(error.description) }
    }

    private func multiply(
        _ x: UnsafeMutablePointer<Float>, _ stride: Int, _ panels: Panels, into y: UnsafeMutablePointer<Float>,
        _ outputStride: Int, _ call: AttentionCall
    ) {
        let product = unsafe ctti_product(
            x: x, row_stride: stride, segments: 1, segment_depth: panels.inputs, segment_stride: 0,
            panels: panels.elements.pointer, bias: nil, residual: nil, y: y, output_stride: outputStride,
            rows: call.queries, outputs: panels.outputs, activation: CTTI_IDENTITY, wide: panels.isWide,
            group_stride: 0, group_output_stride: 0)
        unsafe multiply(product, panels: panels.count, rounded: roundsRows(panels, tokens: call.queries))
    }

    private func softmax(_ scores: Tensor, _ call: AttentionCall, _ scale: Float, _ mask: AttentionMask) {
        let (queries, keys) = (call.queries, call.keys)
        let rows = unsafe scores.floats
        let (keyBias, scoreBias) = unsafe (mask.keyBias?.floats, mask.scoreBias?.floats)
        forRows(call.batch * call.heads * queries, cost: 4 * keys) { range in
            for index in range {
                let (pair, query) = index.quotientAndRemainder(dividingBy: queries)
                let (entry, head) = pair.quotientAndRemainder(dividingBy: call.heads)
                let row = unsafe rows + index * keys
                if let window = mask.window {
                    for key in 0..<keys where !window.sees(query: query, key: key) { unsafe row[key] = -.infinity }
                }
                let bias = unsafe keyBias.map {
                    unsafe UnsafePointer($0 + entry * call.keyBatch / call.batch * keys)
                }
                let scoreRow = unsafe scoreBias.map {
                    unsafe UnsafePointer($0 + (call.biasHead(head) * queries + query) * keys)
                }
                unsafe ctti_softmax(
                    isa, row, mask.causal ? min(query + 1, keys) : keys, keys, scale, bias, scoreRow)
            }
        }
    }
}
