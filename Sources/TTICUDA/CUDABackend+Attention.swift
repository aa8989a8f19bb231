internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor {
        let call = AttentionCall(q, k, v, heads: heads, scale: scale, mask: mask)
        checkActivations(q.tensor, k.tensor, v.tensor)
        let result = allocate([call.batch, call.queries, q.count], activationType)
        if attentionForm == .eager, call.queries >= AttentionForm.fewestEagerQueries {
            attendEagerly(call, into: result)
            return result
        }
        // By the tokens of one batch entry. A window over fewer keys than queries has rows that end before their query.
        let isWindowed = mask.window != nil && call.queries > call.keys
        if call.queries < 16 && !isWindowed {
            attendOneByOne(call, into: result)
        } else if attendOnHopper(call, into: result) {
            return result
        } else if let kernel = AttentionKernel(call, activationType, device) {
            attendInTiles(call, kernel, into: result)
        } else {
            attendEagerly(call, into: result)
        }
        return result
    }

    private func attendInTiles(_ call: AttentionCall, _ kernel: AttentionKernel, into result: Tensor) {
        let (q, k, v) = (call.q, call.k, call.v)
        var parameters = tti_attention()
        (parameters.y, parameters.q) = (result.device, q.device)
        (parameters.keys, parameters.values) = (k.device, v.device)
        (parameters.key_bias, parameters.score_bias) = (call.mask.keyBias.device, call.mask.scoreBias.device)
        (parameters.q_stride, parameters.key_stride) = (Int64(q.rowStride), Int64(k.rowStride))
        parameters.value_stride = Int64(v.rowStride)
        (parameters.batch, parameters.key_batch) = (Int32(call.batch), Int32(call.keyBatch))
        (parameters.queries, parameters.key_count) = (Int32(call.queries), Int32(call.keys))
        (parameters.heads, parameters.width) = (Int32(call.heads), Int32(call.headWidth))
        parameters.bias_heads = Int32(call.biasHeads)
        parameters.causal = call.mask.causal ? 1 : 0
        parameters.window_columns = Int32(call.mask.window?.columns ?? 0)
        parameters.window_reach = Int32((call.mask.window?.size ?? 0) / 2)
        parameters.aligned = call.isAligned(elementBytes: activationType.byteCount) ? 1 : 0
        parameters.is_settled = areSettled(call) ? 1 : 0
        parameters.scale = call.scale
        launch(
            kernel.name, grid: ((call.queries + kernel.queries - 1) / kernel.queries, call.heads, call.batch),
            threads: kernel.threads, shared: kernel.sharedBytes, parameters)
    }

    /// Whether keys and values are older than the kernel before. Columns beside the queries were written with them.
    func areSettled(_ call: AttentionCall) -> Bool {
        let isOwn = call.k.tensor.address == call.q.tensor.address || call.v.tensor.address == call.q.tensor.address
        return !isOwn && isSettled(call.k.tensor) && isSettled(call.v.tensor)
    }

    /// Few queries: each reads the keys and values for itself.
    private func attendOneByOne(_ call: AttentionCall, into result: Tensor) {
        let (k, v, width) = (call.k, call.v, Int64(call.headWidth))
        var parameters = tti_decode_attention()
        (parameters.y, parameters.q) = (result.device, call.q.device)
        (parameters.keys, parameters.values) = (k.device, v.device)
        (parameters.key_bias, parameters.score_bias) = (call.mask.keyBias.device, call.mask.scoreBias.device)
        parameters.q_stride = Int64(call.q.rowStride)
        (parameters.key_row, parameters.key_head) = (Int64(k.rowStride), width)
        (parameters.value_row, parameters.value_head) = (Int64(v.rowStride), width)
        parameters.key_entry = Int64(call.keys * k.rowStride)
        parameters.value_entry = Int64(call.keys * v.rowStride)
        (parameters.batch, parameters.key_batch) = (Int32(call.batch), Int32(call.keyBatch))
        (parameters.queries, parameters.key_count) = (Int32(call.queries), Int32(call.keys))
        (parameters.heads, parameters.width) = (Int32(call.heads), Int32(call.headWidth))
        parameters.bias_heads = Int32(call.biasHeads)
        parameters.causal = call.mask.causal ? 1 : 0
        if let window = call.mask.window { parameters.set(window) }
        parameters.scale = call.scale
        parameters.is_settled = isSettled(k.tensor) && isSettled(v.tensor) ? 1 : 0
        launchDecodeAttention(parameters, most: call.keys)
    }
}

/// The operands and extents of one call of attention, checked.
struct AttentionCall {
    let q, k, v: Columns
    let batch, queries, keyBatch, keys, heads, headWidth, biasHeads: Int
    let scale: Float
    let mask: AttentionMask

    init(_ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask) {
        (self.q, self.k, self.v, self.heads, self.scale, self.mask) = (q, k, v, heads, scale, mask)
        (batch, queries) = (q.tensor.shape[0], q.tensor.shape[1])
        (keyBatch, keys) = (k.tensor.shape[0], k.tensor.shape[1])
        headWidth = q.count / heads
        biasHeads = mask.scoreBias?.shape[0] ?? 1
        precondition(
            q.count % heads == 0 && k.count == q.count && v.count == q.count && keyBatch > 0 && batch % keyBatch == 0
                && v.tensor.shape[0] == keyBatch && v.tensor.shape[1] == keys && keys > 0,
            "\(heads) heads of \(q.count) in \(q.tensor.shape), \(k.tensor.shape), \(v.tensor.shape)")
        precondition(
            mask.keyBias?.elementCount ?? keyBatch * keys == keyBatch * keys
                && mask.scoreBias?.elementCount ?? biasHeads * queries * keys == biasHeads * queries * keys
                && (biasHeads == 1 || biasHeads == heads) && (mask.window == nil || mask.causal),
            "masks of attention over \(k.tensor.shape)")
    }

    /// Whether every query sees every key.
    var isUnmasked: Bool { !mask.causal && mask.keyBias == nil && mask.scoreBias == nil && mask.window == nil }

    /// Whether there are so many queries that blocks of twice as many fill the device.
    var isLong: Bool { queries >= 512 }

    /// Whether every row of every head can be read 16 bytes at a time.
    func isAligned(elementBytes: Int) -> Bool {
        let counts = headWidth | q.rowStride | k.rowStride | v.rowStride
        return counts * elementBytes % 16 == 0 && (q.device | k.device | v.device) % 16 == 0
    }
}

/// The kernel of attention.cu or attention_short.cu for a call, and how it is started.
private struct AttentionKernel {
    let name: String
    /// Queries of a block.
    let queries: Int
    let threads: Int
    let sharedBytes: Int

    /// Nil for heads that are too wide.
    init?(_ call: AttentionCall, _ activations: DType, _ device: CUDADevice) {
        if activations == .bfloat16 {
            if let short = AttentionKernel(short: call, device) {
                self = short
                return
            }
            guard let width = [16, 32, 48, 64, 80, 96, 128, 160].first(where: { call.headWidth <= $0 }) else {
                return nil
            }
            // A row's sums do not depend on how many rows a block has.
            let isLong = call.isLong && (32...64).contains(width)
            let keys = width == 160 ? 32 : 64
            name = "attention_\(width)\(isLong ? "_long" : "")"
            queries = isLong ? 128 : 64
            threads = 128
            sharedBytes = 2 * (queries + 4 * keys) * (width + 8)
        } else {
            guard let width = [64, 128, 256, 512].first(where: { call.headWidth <= $0 }) else { return nil }
            let keys = width == 512 ? 16 : 32
            name = "attention_\(width)"
            queries = 16
            threads = 256
            sharedBytes = 4 * ((queries + keys) * (width + 1) + queries * keys)
        }
    }

    /// Where a block can hold all keys and values, and there are no masks.
    private init?(short call: AttentionCall, _ device: CUDADevice) {
        guard call.keys <= 256, !call.isLong, call.isUnmasked, call.isAligned(elementBytes: 2),
            let width = [64, 128].first(where: { call.headWidth <= $0 }), call.headWidth > width - 32
        else { return nil }
        name = "attention_short_\(width)"
        queries = 64
        threads = 256
        sharedBytes = 2 * (queries + 2 * call.keys.dividedUp(by: 128) * 128) * (width + 8)
        if sharedBytes > device.sharedBytesOfBlock { return nil }
    }
}
