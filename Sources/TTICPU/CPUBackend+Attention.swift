internal import CTTIKernels
package import TTICore

extension CPUBackend {
    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor {
        let call = AttentionCall(q, k, v, heads: heads, mask: mask)
        let result = allocate([call.batch, call.queries, q.count], .float32)
        if attentionForm == .eager, call.queries >= AttentionForm.fewestEagerQueries {
            attendEagerly(call, q, k, v, scale, mask, into: result)
            return result
        }
        // By the tokens of one batch entry: packing the keys pays when several queries read them.
        if call.queries < 4 {
            unsafe attendOneByOne(call, q, k, v, scale, mask, into: result.floats)
        } else {
            unsafe attendInBlocks(call, q, k, v, scale, mask, into: result.floats)
        }
        return result
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
        let (queryRows, keyRows, valueRows) = unsafe (q.floats, k.floats, v.floats)
        let (keyBias, scoreBias) = unsafe (mask.keyBias?.floats, mask.scoreBias?.floats)
        unsafe withScratch(call.keyBatch * heads * headCount) { panels in
            // All heads of some keys at a time: their rows are read from end to end.
            let parts = (keys + panel - 1) / panel
            forRows(call.keyBatch * parts, cost: 4 * panel * q.count) { range in
                for task in range {
                    let (entry, part) = task.quotientAndRemainder(dividingBy: parts)
                    for head in 0..<heads {
                        let own = unsafe panels + (entry * heads + head) * headCount
                        unsafe kernels.pointee.pack_keys(
                            own, keyRows + entry * keys * k.rowStride + head * width, k.rowStride, keys, width,
                            part * panel)
                        unsafe kernels.pointee.pack_values(
                            own + keyPanelCount, valueRows + entry * keys * v.rowStride + head * width, v.rowStride,
                            keys, width, part * panel)
                    }
                }
            }
            // A task is some queries of one head: a multiple of every kernel's row count.
            let most = onTiles ? 64 : 48
            let blocks = (queries + most - 1) / most
            forRows(call.batch * heads * blocks, cost: most * keys * width / (onTiles ? 32 : 8)) { range in
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

    private func attendOneByOne(
        _ call: AttentionCall, _ q: Columns, _ k: Columns, _ v: Columns, _ scale: Float, _ mask: AttentionMask,
        into out: UnsafeMutablePointer<Float>
    ) {
        let (queries, keys, heads, width) = (call.queries, call.keys, call.heads, call.headWidth)
        let (queryRows, keyRows, valueRows) = unsafe (q.floats, k.floats, v.floats)
        let (keyBias, scoreBias) = unsafe (mask.keyBias?.floats, mask.scoreBias?.floats)
        func seen(_ query: Int) -> VisibleKeys {
            mask.causal ? VisibleKeys(upTo: min(query, keys - 1), window: mask.window) : VisibleKeys(all: keys)
        }
        unsafe attendByChunks(
            rows: call.batch * queries * heads, width: width, into: out,
            most: (0..<queries).reduce(0) { max($0, seen($1).count) },
            seen: { seen($0 / heads % queries) },
            { row, work in
                let (token, head) = row.quotientAndRemainder(dividingBy: heads)
                let (entry, query) = token.quotientAndRemainder(dividingBy: queries)
                let keyEntry = entry * call.keyBatch / call.batch
                unsafe work.q = UnsafePointer(queryRows + token * q.rowStride + head * width)
                unsafe work.keys = UnsafeRawPointer(keyRows + keyEntry * keys * k.rowStride + head * width)
                unsafe work.values = UnsafeRawPointer(valueRows + keyEntry * keys * v.rowStride + head * width)
                unsafe work.stride = k.rowStride
                unsafe work.value_stride = v.rowStride
                unsafe work.scale = scale
                if let keyBias = unsafe keyBias { unsafe work.key_bias = UnsafePointer(keyBias + keyEntry * keys) }
                if let scoreBias = unsafe scoreBias {
                    unsafe work.score_bias = UnsafePointer(scoreBias + (call.biasHead(head) * queries + query) * keys)
                }
            })
    }

    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) {
        let shape = cache.keys.shape
        let (batch, heads, capacity, width) = (shape[0], shape[1], shape[2], shape[3])
        let place = unsafe Int(position.integers[0])
        precondition(
            k.count == heads * width && v.count == heads * width && k.tensor.rowCount == batch
                && v.tensor.rowCount == batch, "\(k.count) of \(k.tensor.shape) into a cache of \(shape)")
        precondition(place >= 0 && place < capacity, "place \(place) of \(capacity)")
        let kernels = unsafe ctti_decode_attention(isa)!
        func store(_ source: Columns, _ target: Tensor) {
            let (rows, bytes, size) = unsafe (source.floats, target.pointer, target.dtype.byteCount)
            for entry in 0..<batch {
                for head in 0..<heads {
                    unsafe kernels.pointee.store(
                        bytes + ((entry * heads + head) * capacity + place) * width * size,
                        rows + entry * source.rowStride + head * width, width, target.dtype == .bfloat16)
                }
            }
        }
        store(k, cache.keys)
        store(v, cache.values)
    }

    package func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor {
        let shape = cache.keys.shape
        let (batch, heads, capacity, width) = (shape[0], shape[1], shape[2], shape[3])
        let place = unsafe Int(position.integers[0])
        precondition(
            q.count == heads * width && q.tensor.rowCount == batch && cache.values.shape == shape,
            "\(q.count) of \(q.tensor.shape) over a cache of \(shape)")
        precondition(place >= 0 && place < capacity, "place \(place) of \(capacity)")
        let result = allocate([batch, 1, q.count], .float32)
        let (out, queries) = unsafe (result.floats, q.floats)
        let (keys, values) = unsafe (cache.keys.pointer, cache.values.pointer)
        let size = cache.keys.dtype.byteCount
        let seen = VisibleKeys(upTo: place, window: window)
        unsafe attendByChunks(
            rows: batch * heads, width: width, into: out, most: seen.count, seen: { _ in seen },
            { row, work in
                let (entry, head) = row.quotientAndRemainder(dividingBy: heads)
                let offset = row * capacity * width * size
                unsafe work.q = UnsafePointer(queries + entry * q.rowStride + head * width)
                unsafe work.keys = UnsafeRawPointer(keys + offset)
                unsafe work.values = UnsafeRawPointer(values + offset)
                unsafe work.is_bf16 = size == 2
                unsafe work.stride = width
                unsafe work.value_stride = width
                unsafe work.scale = scale
            })
        return result
    }

    /// Flash decoding: every row (one query of one head) over the keys it sees, in chunks that are merged in order.
    /// - Parameters:
    ///   - out: `[rows, width]`
    ///   - most: the largest number of keys that a row sees.
    ///   - seen: the keys of a row.
    ///   - describe: fills in everything else.
    private func attendByChunks(
        rows: Int, width: Int, into out: UnsafeMutablePointer<Float>, most: Int, seen: (Int) -> VisibleKeys,
        _ describe: (Int, inout ctti_decode_chunk) -> Void
    ) {
        let kernels = unsafe ctti_decode_attention(isa)!
        let chunk = Int(CTTI_DECODE_CHUNK)
        let chunksEach = max(1, (most + chunk - 1) / chunk)
        let partialCount = width + 2
        unsafe withScratch(rows * chunksEach * partialCount) { partials in
            forRows(rows * chunksEach, cost: 2 * min(most, chunk) * width) { range in
                for task in range {
                    let (row, part) = task.quotientAndRemainder(dividingBy: chunksEach)
                    let keys = seen(row)
                    let partial = unsafe partials + task * partialCount
                    let first = part * chunk
                    let count = min(chunk, keys.count - first)
                    guard count > 0 else {
                        unsafe partial.update(repeating: 0, count: partialCount)
                        unsafe partial[0] = -.infinity
                        continue
                    }
                    var work = unsafe ctti_decode_chunk()
                    unsafe describe(row, &work)
                    unsafe work.width = width
                    unsafe work.first = first
                    unsafe work.count = count
                    unsafe work.partial = partial
                    if let places = keys.places {
                        unsafe places.withUnsafeBufferPointer {
                            unsafe work.places = $0.baseAddress! + first
                            unsafe kernels.pointee.chunk(&work)
                        }
                    } else {
                        let size = unsafe work.is_bf16 ? 2 : 4
                        if part + 1 < chunksEach {
                            unsafe work.next_keys = work.keys + (first + chunk) * work.stride * size
                            unsafe work.next_values = work.values + (first + chunk) * work.value_stride * size
                        } else if row + 1 < rows {
                            var next = unsafe ctti_decode_chunk()
                            unsafe describe(row + 1, &next)
                            unsafe (work.next_keys, work.next_values) = (next.keys, next.values)
                        }
                        unsafe kernels.pointee.chunk(&work)
                    }
                }
            }
            for row in 0..<rows {
                unsafe kernels.pointee.merge(
                    out + row * width, partials + row * chunksEach * partialCount, chunksEach, width)
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
            q.count % heads == 0 && k.count == q.count && v.count == q.count && keyBatch > 0 && batch % keyBatch == 0
                && v.tensor.shape[0] == keyBatch && v.tensor.shape[1] == keys
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

/// The keys that one query sees: the first `count` ones, or the listed ones.
private struct VisibleKeys {
    let count: Int
    let places: [Int32]?

    init(all count: Int) {
        self.count = count
        places = nil
    }

    /// The keys 0...place, or what a window leaves of them, in ascending order.
    init(upTo place: Int, window: AttentionWindow?) {
        guard let window else {
            self.init(all: place + 1)
            return
        }
        let reach = window.size / 2
        let (row, column) = place.quotientAndRemainder(dividingBy: window.columns)
        let across = max(0, column - reach)...min(window.columns - 1, column + reach)
        var places: [Int32] = []
        for above in max(0, row - reach)...row {
            for key in across.lowerBound + above * window.columns...across.upperBound + above * window.columns
            where key <= place {
                places.append(Int32(key))
            }
        }
        if places.first != 0 { places.insert(0, at: 0) }
        self.init(places: places)
    }

    private init(places: [Int32]) {
        count = places.count
        self.places = places
    }
}
