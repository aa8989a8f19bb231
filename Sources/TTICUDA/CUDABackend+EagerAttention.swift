internal import CTTICUDA
internal import TTICore

extension CUDABackend {
    /// Scores written to memory, a softmax over them, a product that reads them again.
    func attendEagerly(_ call: AttentionCall, into result: Tensor) {
        let (batch, heads, queries, keys) = (call.batch, call.heads, call.queries, call.keys)
        let rows = batch * heads * queries
        let isFloat = activationType == .float32
        // Weights in float32 take the place of the scores; else rows of their own, filled up to 16 bytes.
        let weightStride = isFloat ? keys : (keys + 7) / 8 * 8
        let scores = scratch("attention.scores", 4 * rows * keys).device
        let weights = isFloat ? scores : scratch("attention.weights", 2 * rows * weightStride).device
        let (width, isAligned) = (call.headWidth, call.isAligned(elementBytes: activationType.byteCount))

        var product = tti_attention_product()
        (product.y, product.a, product.b) = (scores, call.q.device, call.k.device)
        product.y_row = Int64(keys)
        (product.y_head, product.y_entry) = (Int64(queries * keys), Int64(heads * queries * keys))
        (product.a_row, product.a_head) = (Int64(call.q.rowStride), Int64(width))
        product.a_entry = Int64(queries * call.q.rowStride)
        (product.b_row, product.b_head) = (Int64(call.k.rowStride), Int64(width))
        product.b_entry = Int64(keys * call.k.rowStride)
        (product.batch, product.b_batch, product.heads) = (Int32(batch), Int32(call.keyBatch), Int32(heads))
        (product.rows, product.columns, product.depth) = (Int32(queries), Int32(keys), Int32(width))
        product.aligned = isAligned ? 1 : 0
        // Exponents of two.
        product.scale = call.scale * 1.442_695
        launch(product, "attention_scores")

        var softmax = tti_attention_softmax()
        (softmax.weights, softmax.scores, softmax.weight_stride) = (weights, scores, Int64(weightStride))
        (softmax.key_bias, softmax.score_bias) = (call.mask.keyBias.device, call.mask.scoreBias.device)
        (softmax.batch, softmax.key_batch, softmax.heads) = (Int32(batch), Int32(call.keyBatch), Int32(heads))
        (softmax.queries, softmax.key_count) = (Int32(queries), Int32(keys))
        softmax.bias_heads = Int32(call.biasHeads)
        softmax.causal = call.mask.causal ? 1 : 0
        softmax.window_columns = Int32(call.mask.window?.columns ?? 0)
        softmax.window_reach = Int32((call.mask.window?.size ?? 0) / 2)
        launch("attention_softmax", grid: (queries, heads, batch), threads: 256, softmax)

        (product.y, product.a, product.b) = (result.device, weights, call.v.device)
        product.y_row = Int64(heads * width)
        (product.y_head, product.y_entry) = (Int64(width), Int64(queries * heads * width))
        product.a_row = Int64(weightStride)
        (product.a_head, product.a_entry) = (Int64(queries * weightStride), Int64(heads * queries * weightStride))
        (product.b_row, product.b_entry) = (Int64(call.v.rowStride), Int64(keys * call.v.rowStride))
        (product.rows, product.columns, product.depth) = (Int32(queries), Int32(width), Int32(keys))
        product.scale = 1
        launch(product, "attention_mix")
    }

    private func launch(_ product: tti_attention_product, _ kernel: String) {
        launch(
            kernel,
            grid: (
                (Int(product.columns) + 63) / 64, (Int(product.rows) + 63) / 64, Int(product.batch * product.heads)
            ), threads: activationType == .float32 ? 256 : 128, product)
    }
}
