internal import CTTIKernels
package import TTICore

extension CPUBackend {
    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor {
        let call = AttentionCall(q, k, v, heads: heads, mask: mask)
        let result = allocate(q.tensor.shape.replacingLast(q.count), .float32)
        // By the tokens of one batch entry: packing the keys pays when several queries read them.
        if call.queries < 4 {
            unsafe attendOneByOne(call, q, k, v, scale, mask, into: result.floats)
            return result
        }
        if attentionForm == .eager, call.queries >= AttentionForm.fewestEagerQueries {
            let mark = arena.mark
            attendEagerly(call, q, widened(k), widened(v), scale, mask, into: result)
            arena.rewind(to: mark)
        } else {
            unsafe attendInBlocks(call, q, k, v, scale, mask, into: result.floats)
        }
        return result
    }

    /// Columns of a tensor in the cache's type as float32, a tensor of their own.
    private func widened(_ columns: Columns) -> Columns {
        guard columns.tensor.dtype != .float32 else { return columns }
        let (count, rows) = (columns.count, columns.tensor.rowCount)
        let copy = allocate(columns.tensor.shape.replacingLast(count), .float32)
        let (source, target, type) = unsafe (columns.pointer, copy.floats, columns.tensor.dtype)
        for row in 0..<rows {
            unsafe CPUBackend.widen(
                source + row * columns.rowStride * type.byteCount, type, to: target + row * count, count: count)
        }
        return copy.columns
    }

    /// Some rows of an entry as float32.
    /// - Parameters:
    ///   - scratch: room for them.
    ///   - body: gets the entry's first row, of which only `places` may be read, and floats from row to row.
    private func withFloats(
        _ columns: Columns, of entry: Int, _ places: Range<Int>, _ scratch: UnsafeMutablePointer<Float>,
        _ body: (UnsafePointer<Float>, Int) -> Void
    ) {
        let (count, type) = (columns.count, columns.tensor.dtype)
        let first = entry * columns.tensor.shape[1]
        guard type != .float32 else {
            return unsafe body(columns.floats + first * columns.rowStride, columns.rowStride)
        }
        let source = unsafe columns.pointer
        for place in places {
            unsafe CPUBackend.widen(
                source + (first + place) * columns.rowStride * type.byteCount, type,
                to: scratch + (place - places.lowerBound) * count, count: count)
        }
        unsafe body(scratch - places.lowerBound * count, count)
    }

    private func attendInBlocks(
        _ call: AttentionCall, _ q: Columns, _ k: Columns, _ v: Columns, _ scale: Float, _ mask: AttentionMask,
        into out: UnsafeMutablePointer<Float>
    ) {
        let (queries, keys, heads, width) = (call.queries, call.keys, call.heads, call.headWidth)
        let panel = Int(CTTI_ATTENTION_PANEL)
        let onTiles =
            instructionSet == .amx && cacheType == .bfloat16 && queries >= 16
            && width <= Int(CTTI_ATTENTION_TILE_WIDTH)
        let (wholeKeys, wholeWidth) = ((keys + panel - 1) / panel * panel, (width + panel - 1) / panel * panel)
        let keyPanelCount = onTiles ? wholeKeys * wholeWidth / 2 : wholeKeys * width
        let valuePanelCount = onTiles ? wholeKeys * wholeWidth / 2 : keys * wholeWidth
        let headCount = keyPanelCount + valuePanelCount
        let kernels = unsafe ctti_attention(isa, onTiles)!
        let queryRows = unsafe q.floats
        let (keyBias, scoreBias) = unsafe (mask.keyBias?.floats, mask.scoreBias?.floats)
        unsafe withScratch(call.keyBatch * heads * headCount) { panels in
            // All heads of some keys at a time: their rows are read from end to end.
            let parts = (keys + panel - 1) / panel
            let numbers = panel * q.count
            unsafe forRows(call.keyBatch * parts, cost: 4 * numbers, scratch: numbers) { range, scratch in
                for task in range {
                    let (entry, part) = task.quotientAndRemainder(dividingBy: parts)
                    let places = part * panel..<min(keys, (part + 1) * panel)
                    let own = unsafe panels + entry * heads * headCount
                    unsafe withFloats(k, of: entry, places, scratch) { rows, stride in
                        for head in 0..<heads {
                            unsafe kernels.pointee.pack_keys(
                                own + head * headCount, rows + head * width, stride, keys, width, places.lowerBound)
                        }
                    }
                    unsafe withFloats(v, of: entry, places, scratch) { rows, stride in
                        for head in 0..<heads {
                            unsafe kernels.pointee.pack_values(
                                own + head * headCount + keyPanelCount, rows + head * width, stride, keys, width,
                                places.lowerBound)
                        }
                    }
                }
            }
            // A task is some queries of one head: a multiple of every kernel's row count.
            let most = onTiles ? 64 : 48
            let blocks = (queries + most - 1) / most
            let cost = most * keys * width / (onTiles ? 32 : 8)
            forRows(call.batch * heads * blocks, cost: cost, each: 32) { range in
                for task in range {
                    let (pair, block) = task.quotientAndRemainder(dividingBy: blocks)
                    let (entry, head) = pair.quotientAndRemainder(dividingBy: heads)
                    let keyEntry = entry * call.keyBatch / call.batch
                    let first = block * most
                    let own = unsafe panels + (keyEntry * heads + head) * headCount
                    var work = unsafe ctti_attention_queries()
                    unsafe work.q = UnsafePointer(
                        queryRows + (entry * queries + first) * q.rowStride + head * width)
                    unsafe work.out = out + (entry * queries + first) * heads * width + head * width
                    unsafe work.q_stride = q.rowStride
                    unsafe work.out_stride = heads * width
                    unsafe work.key_panels = UnsafePointer(own)
                    unsafe work.value_panels = UnsafePointer(own + keyPanelCount)
                    unsafe work.first = first
                    unsafe work.queries = min(most, queries - first)
                    unsafe work.keys = keys
                    unsafe work.width = width
                    unsafe work.scale = scale
                    unsafe work.causal = mask.causal
                    if let window = mask.window {
                        unsafe work.window_columns = window.columns
                        unsafe work.window_reach = window.size / 2
                    }
                    if let keyBias = unsafe keyBias { unsafe work.key_bias = UnsafePointer(keyBias + keyEntry * keys) }
                    if let scoreBias = unsafe scoreBias {
                        unsafe work.score_bias = UnsafePointer(
                            scoreBias + (call.biasHead(head) * queries + first) * keys)
                    }
                    unsafe kernels.pointee.queries(&work)
                }
            }
        }
    }
}

/// The extents of one call of attention, checked.
struct AttentionCall {
    let batch, queries, keyBatch, keys, heads, headWidth, biasHeads: Int

    init(_ q: Columns, _ k: Columns, _ v: Columns, heads: Int, mask: AttentionMask) {
        (batch, queries) = (q.tensor.shape[0], q.tensor.shape[1])
        (keyBatch, keys) = (k.tensor.shape[0], k.tensor.shape[1])
        self.heads = heads
        headWidth = q.count / heads
        biasHeads = mask.scoreBias?.shape[0] ?? 1
        precondition(
            keys > 0 && q.count % heads == 0 && k.count == q.count && v.count == q.count && keyBatch > 0
                && batch % keyBatch == 0 && v.tensor.shape[0] == keyBatch && v.tensor.shape[1] == keys
                && headWidth <= Int(CTTI_ATTENTION_MAX_WIDTH),
            "\(heads) heads of \(q.count) in \(q.tensor.shape), \(k.tensor.shape), \(v.tensor.shape)")
        precondition(
            mask.keyBias?.elementCount ?? keyBatch * keys == keyBatch * keys
                && mask.scoreBias?.elementCount ?? biasHeads * queries * keys == biasHeads * queries * keys
                && (biasHeads == 1 || biasHeads == heads) && (mask.window == nil || mask.causal),
            "masks of attention over \(k.tensor.shape)")
    }

    func biasHead(_ head: Int) -> Int { biasHeads == 1 ? 0 : head }
}
