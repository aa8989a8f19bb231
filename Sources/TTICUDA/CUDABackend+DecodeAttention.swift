internal import CTTICUDA
package import TTICore

extension CUDABackend {
    /// Caches have the type of activations.
    package func castToCache(_ x: Tensor) -> Tensor { x }

    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) {
        let shape = cache.keys.shape
        checkActivations(k.tensor, v.tensor, cache.keys, cache.values)
        precondition(
            k.count == shape[1] * shape[3] && v.count == k.count && k.tensor.rowCount == shape[0]
                && v.tensor.rowCount == shape[0], "\(k.count) of \(k.tensor.shape) into a cache of \(shape)")
        launch(
            "append_to_cache", elements: shape[0] * k.count, each: 1,
            tti_append(
                keys: cache.keys.device, values: cache.values.device, new_keys: k.device, new_values: v.device,
                position: position.device, key_stride: Int64(k.rowStride), value_stride: Int64(v.rowStride),
                count: Int64(shape[0] * k.count), capacity: Int64(cache.capacity), heads: Int32(shape[1]),
                width: Int32(shape[3])))
    }

    package func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor {
        attend(q, over: cache, appending: nil, at: position, scale: scale, window: window)
    }

    package func qkvDecodeAttention(
        _ qkv: Tensor, _ cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor {
        attend(
            qkv.columns(0, of: 3), over: cache, appending: (qkv.columns(1, of: 3), qkv.columns(2, of: 3)), at: position,
            scale: scale, window: window)
    }

    private func attend(
        _ q: Columns, over cache: KeyValueCache, appending new: (keys: Columns, values: Columns)?, at position: Tensor,
        scale: Float, window: AttentionWindow?
    ) -> Tensor {
        let shape = cache.keys.shape
        let (batch, heads, capacity, width) = (shape[0], shape[1], shape[2], shape[3])
        checkActivations(q.tensor, cache.keys, cache.values)
        precondition(
            q.count == heads * width && q.tensor.rowCount == batch && cache.values.shape == shape,
            "\(q.count) of \(q.tensor.shape) over a cache of \(shape)")
        let result = allocate([batch, 1, q.count], activationType)
        var parameters = tti_decode_attention()
        (parameters.y, parameters.q) = (result.device, q.device)
        (parameters.keys, parameters.values) = (cache.keys.device, cache.values.device)
        if let new {
            (parameters.new_keys, parameters.new_values) = (new.keys.device, new.values.device)
            // The rest of the cache is from the tokens before, and so is the position.
            parameters.is_settled = isSettled(cache.keys) && isSettled(position) ? 1 : 0
        }
        parameters.position = position.device
        parameters.q_stride = Int64(q.rowStride)
        (parameters.key_row, parameters.value_row) = (Int64(width), Int64(width))
        (parameters.key_head, parameters.value_head) = (Int64(capacity * width), Int64(capacity * width))
        parameters.key_entry = Int64(heads * capacity * width)
        parameters.value_entry = parameters.key_entry
        (parameters.batch, parameters.key_batch) = (Int32(batch), Int32(batch))
        (parameters.queries, parameters.key_count) = (1, Int32(capacity))
        (parameters.heads, parameters.width) = (Int32(heads), Int32(width))
        parameters.scale = scale
        var most = capacity
        if let window {
            parameters.set(window)
            most = min(most, 1 + window.size * (window.size / 2 + 1))
        }
        launchDecodeAttention(parameters, most: most)
        return result
    }

    /// Starts the kernel for some queries of each entry.
    /// - Parameter most: the largest number of keys that a query can see.
    func launchDecodeAttention(_ parameters: tti_decode_attention, most: Int) {
        var parameters = parameters
        let (tokens, heads) = (Int(parameters.batch * parameters.queries), Int(parameters.heads))
        let (width, size) = (Int(parameters.width), activationType.byteCount)
        // 16 bytes at a time need addresses and strides of 16 bytes.
        let strides =
            parameters.q_stride | parameters.key_row | parameters.key_head | parameters.key_entry | parameters.value_row
            | parameters.value_head | parameters.value_entry
        let addresses =
            parameters.q | parameters.keys | parameters.values | parameters.new_keys | parameters.new_values
        let team = CUDABackend.teamSize(rowBytes: width * size)
        guard width * size % 16 == 0, team <= 32, Int(strides) * size % 16 == 0, addresses % 16 == 0 else {
            return launch(
                "decode_attention_general", grid: (1, heads, tokens), threads: 256,
                shared: 4 * (2 * width + 256), parameters)
        }
        let chunk = CUDABackend.keysOfChunk(team: team, most: most)
        let chunks = max(1, (most + chunk - 1) / chunk)
        if chunks > 1 {
            parameters.parts =
                scratch("decodeAttention", 8 * tokens * heads * chunks * (2 + width), isZeroed: true).device
        }
        launch("decode_attention_\(team)_\(chunk)", grid: (chunks, heads, tokens), threads: 256, parameters)
    }

    /// The keys of a block. 128 where 16 bytes of a key are for 8 threads, but 256 where that is all of them: two blocks that
    /// meet take longer than one.
    private static func keysOfChunk(team: Int, most: Int) -> Int {
        if team == 8 { return (129...256).contains(most) ? 256 : 128 }
        return min(256, 2048 / team)
    }

    /// How many threads share a key: a power of two, 16 bytes each.
    private static func teamSize(rowBytes: Int) -> Int {
        var team = 1
        while 16 * team < rowBytes { team *= 2 }
        return team
    }
}

extension tti_decode_attention {
    mutating func set(_ window: AttentionWindow) {
        window_columns = Int32(window.columns)
        window_reach = Int32(window.size / 2)
    }
}
