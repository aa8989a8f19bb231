internal import CTTIKernels
package import TTICore

// One query, or a few, over many keys.
extension CPUBackend {
    func attendOneByOne(
        _ call: AttentionCall, _ q: Columns, _ k: Columns, _ v: Columns, _ scale: Float, _ mask: AttentionMask,
        into out: UnsafeMutablePointer<Float>
    ) {
        let (queries, keys, heads, width) = (call.queries, call.keys, call.heads, call.headWidth)
        let (queryRows, keyRows, valueRows) = unsafe (q.floats, k.pointer, v.pointer)
        let size = k.tensor.dtype.byteCount
        precondition(v.tensor.dtype == k.tensor.dtype, "keys in \(k.tensor.dtype), values in \(v.tensor.dtype)")
        let (keyBias, scoreBias) = unsafe (mask.keyBias?.floats, mask.scoreBias?.floats)
        func seen(_ query: Int) -> VisibleKeys {
            mask.causal ? VisibleKeys(upTo: min(query, keys - 1), window: mask.window) : VisibleKeys(all: keys)
        }
        unsafe attendByChunks(
            rows: call.batch * queries * heads, heads: heads, areApart: false, width: width, into: out,
            most: (0..<queries).reduce(0) { max($0, seen($1).count) },
            seen: { seen($0 / heads % queries) },
            { row, work in
                let (token, head) = row.quotientAndRemainder(dividingBy: heads)
                let (entry, query) = token.quotientAndRemainder(dividingBy: queries)
                let keyEntry = entry * call.keyBatch / call.batch
                unsafe work.q = UnsafePointer(queryRows + token * q.rowStride + head * width)
                unsafe work.keys = UnsafeRawPointer(keyRows + (keyEntry * keys * k.rowStride + head * width) * size)
                unsafe work.values = UnsafeRawPointer(
                    valueRows + (keyEntry * keys * v.rowStride + head * width) * size)
                unsafe work.is_bf16 = size == 2
                unsafe work.stride = k.rowStride
                unsafe work.value_stride = v.rowStride
                unsafe work.head_stride = width
                unsafe work.scale = scale
                if let keyBias = unsafe keyBias { unsafe work.key_bias = UnsafePointer(keyBias + keyEntry * keys) }
                if let scoreBias = unsafe scoreBias {
                    unsafe work.score_bias = UnsafePointer(scoreBias + (call.biasHead(head) * queries + query) * keys)
                    unsafe work.score_bias_stride = call.biasHeads == 1 ? 0 : queries * keys
                }
            })
    }

    package func castToCache(_ x: Tensor) -> Tensor {
        guard x.dtype != cacheType else { return x }
        let y = allocate(x.shape, cacheType)
        let (source, target, type, width) = unsafe (x.floats, y.pointer, cacheType, x.shape.last)
        forRows(x.rowCount, cost: 2 * width) { rows in
            unsafe CPUBackend.convert(
                source + rows.lowerBound * width, .float32, to: target + rows.lowerBound * width * type.byteCount, type,
                count: rows.count * width)
        }
        return y
    }

    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) {
        finishHeld()
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
        let result = allocate(q.tensor.shape.replacingLast(q.count), .float32)
        let place = unsafe Int(position.integers[0])
        precondition(
            q.count == heads * width && q.tensor.rowCount == batch && cache.values.shape == shape,
            "\(q.count) of \(q.tensor.shape) over a cache of \(shape)")
        precondition(place >= 0 && place < capacity, "place \(place) of \(capacity)")
        let (out, queries) = unsafe (result.floats, q.floats)
        let (keys, values) = unsafe (cache.keys.pointer, cache.values.pointer)
        let size = cache.keys.dtype.byteCount
        let seen = VisibleKeys(upTo: place, window: window)
        unsafe attendByChunks(
            rows: batch * heads, heads: heads, areApart: true, width: width, into: out, most: seen.count,
            seen: { _ in seen },
            { row, work in
                let (entry, head) = row.quotientAndRemainder(dividingBy: heads)
                let offset = row * capacity * width * size
                unsafe work.q = UnsafePointer(queries + entry * q.rowStride + head * width)
                unsafe work.keys = UnsafeRawPointer(keys + offset)
                unsafe work.values = UnsafeRawPointer(values + offset)
                unsafe work.is_bf16 = size == 2
                unsafe work.stride = width
                unsafe work.value_stride = width
                unsafe work.head_stride = capacity * width
                unsafe work.scale = scale
            })
        return result
    }

    /// Flash decoding: every row (one query of one head) over the keys it sees, in chunks that are merged in order.
    /// - Parameters:
    ///   - rows: queries · heads, the heads of a query beside each other.
    ///   - areApart: whether a head's keys follow each other, as in a cache; if not, heads share rows of keys and values.
    ///   - out: `[rows, width]`
    ///   - most: the largest number of keys that a row sees.
    ///   - seen: the keys of a row.
    ///   - describe: fills in everything else.
    private func attendByChunks(
        rows: Int, heads: Int, areApart: Bool, width: Int, into out: UnsafeMutablePointer<Float>, most: Int,
        seen: (Int) -> VisibleKeys, _ describe: (Int, inout ctti_decode_chunk) -> Void
    ) {
        let kernels = unsafe ctti_decode_attention(isa)!
        let chunk = Int(CTTI_DECODE_CHUNK)
        let chunksEach = max(1, (most + chunk - 1) / chunk)
        let partialCount = width + 2
        let group = headsAtOnce(heads, areApart: areApart, tasks: rows * chunksEach)
        unsafe withScratch(rows * chunksEach * partialCount) { partials in
            forRows(rows / group * chunksEach, cost: 2 * group * min(most, chunk) * width) { range in
                for task in range {
                    let (index, part) = task.quotientAndRemainder(dividingBy: chunksEach)
                    let row = index * group
                    let keys = seen(row)
                    let partial = unsafe partials + (row * chunksEach + part) * partialCount
                    let first = part * chunk
                    let count = min(chunk, keys.count - first)
                    guard count > 0 else {
                        for head in 0..<group {
                            let own = unsafe partial + head * chunksEach * partialCount
                            unsafe own.update(repeating: 0, count: partialCount)
                            unsafe own[0] = -.infinity
                        }
                        continue
                    }
                    var work = unsafe ctti_decode_chunk()
                    unsafe describe(row, &work)
                    unsafe work.width = width
                    unsafe work.first = first
                    unsafe work.count = count
                    unsafe work.partial = partial
                    unsafe work.partial_stride = chunksEach * partialCount
                    unsafe work.heads = group
                    if keys.isListed {
                        // A kilobyte, so on the stack.
                        unsafe withUnsafeTemporaryAllocation(of: Int32.self, capacity: count) { places in
                            for index in 0..<count { unsafe places[index] = Int32(keys[first + index]) }
                            unsafe work.places = UnsafePointer(places.baseAddress)
                            unsafe kernels.pointee.chunk(&work)
                        }
                    } else {
                        let size = unsafe work.is_bf16 ? 2 : 4
                        if part + 1 < chunksEach {
                            unsafe work.next_keys = work.keys + (first + chunk) * work.stride * size
                            unsafe work.next_values = work.values + (first + chunk) * work.value_stride * size
                        } else if row + group < rows {
                            var next = unsafe ctti_decode_chunk()
                            unsafe describe(row + group, &next)
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

    /// How many heads take turns: those that share rows always, those that lie apart where several streams are faster than one;
    /// fewer where threads would be without work.
    private func headsAtOnce(_ heads: Int, areApart: Bool, tasks: Int) -> Int {
        guard !areApart || instructionSet == .amx else { return 1 }
        return [Int(CTTI_DECODE_HEADS), 2].first { heads % $0 == 0 && tasks / $0 >= 2 * pool.threadCount } ?? 1
    }
}

/// The keys that one query sees, in ascending order: the first `count` ones, or those that a window leaves of them.
private struct VisibleKeys {
    let count: Int
    /// Whether some in between are left out, so that it takes a list to say which.
    let isListed: Bool
    /// Of the window: whether key 0 is seen besides, where the window begins, how wide it is, how wide the image is.
    private let besides, first, across, columns: Int

    init(all count: Int) {
        self.count = count
        isListed = false
        (besides, first, across, columns) = (0, 0, 1, 1)
    }

    /// What a window leaves of the keys 0...place.
    private init(upTo place: Int, through window: AttentionWindow) {
        columns = window.columns
        let reach = window.size / 2
        let (row, column) = place.quotientAndRemainder(dividingBy: columns)
        let (top, left) = (max(0, row - reach), max(0, column - reach))
        first = top * columns + left
        across = min(columns - 1, column + reach) - left + 1
        besides = first > 0 ? 1 : 0
        count = besides + (row - top) * across + column - left + 1
        isListed = true
    }

    /// The keys 0...place, or what a window leaves of them.
    init(upTo place: Int, window: AttentionWindow?) {
        self = window.map { VisibleKeys(upTo: place, through: $0) } ?? VisibleKeys(all: place + 1)
    }

    /// A key's place.
    subscript(index: Int) -> Int {
        if index < besides { return 0 }
        let (row, column) = (index - besides).quotientAndRemainder(dividingBy: across)
        return first + row * columns + column
    }
}
