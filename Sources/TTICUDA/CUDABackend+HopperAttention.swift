internal import CTTICUDA
internal import TTICore

/// The numbers of a kernel of attention_hopper.cu.
private struct HopperAttentionKernel {
    /// The widest head.
    let width: Int
    /// Keys of a tile.
    let keys: Int
    let warpgroups: Int
    /// Tiles of keys and of values that are under way.
    let stages: Int

    var name: String { "attention_hopper_\(width)_\(warpgroups)" }
    var queries: Int { 64 * warpgroups }
    var threads: Int { 128 * warpgroups + 32 }
    /// As attention_hopper.cu lays it out: tiles; queries; barriers.
    var sharedBytes: Int { (2 * stages * keys + queries) * width.dividedUp(by: 64) * 128 + 1024 }

    /// With as many warpgroups as the device is done with soonest: two, of which one multiplies while the other one is at its
    /// exponentials, unless there are too few queries. Each does the same whatever their number.
    init?(_ call: AttentionCall, multiprocessors: Int) {
        guard let width = [40, 64, 80, 128, 160].first(where: { call.headWidth <= $0 }) else { return nil }
        func turns(_ warpgroups: Int) -> Int {
            (call.queries.dividedUp(by: 64 * warpgroups) * call.heads * call.batch).dividedUp(by: multiprocessors)
        }
        self.width = width
        keys = width <= 80 ? 128 : 64
        warpgroups = turns(1) <= turns(2) ? 1 : 2
        stages =
            switch (width, warpgroups) {
            case (128, _): 4
            case (160, _), (40, 2), (64, 2): 3
            default: 2
            }
    }
}

extension CUDABackend {
    /// - Returns: false when Hopper's own units cannot do it: without masks, in whole pieces of 16 bytes.
    func attendOnHopper(_ call: AttentionCall, into result: Tensor) -> Bool {
        guard hasHopper, activationType == .bfloat16, call.isUnmasked, call.isAligned(elementBytes: 2),
            call.queries >= 64, call.scale > 0, result.device % 16 == 0,
            let kernel = HopperAttentionKernel(call, multiprocessors: device.multiprocessorCount)
        else { return false }
        func map(
            _ map: inout tti_tensor_map, _ address: UInt64, rowStride: Int, rows: Int, entries: Int, boxRows: Int
        ) -> Bool {
            // Heads are the pixels of a row.
            var image = ctti_image(address, channels: call.headWidth, call.heads, rows, entries)
            image.strides.1 = UInt64(2 * rowStride)
            image.strides.2 = UInt64(2 * rowStride * rows)
            (image.box_channels, image.box_height) = (64, UInt32(boxRows))
            return unsafe ctti_map_image(device.driver, &map, &image) == 0
        }
        var parameters = tti_attention_hopper()
        guard
            map(
                &parameters.q, call.q.device, rowStride: call.q.rowStride, rows: call.queries, entries: call.batch,
                boxRows: 64),
            map(
                &parameters.keys, call.k.device, rowStride: call.k.rowStride, rows: call.keys, entries: call.keyBatch,
                boxRows: kernel.keys),
            map(
                &parameters.values, call.v.device, rowStride: call.v.rowStride, rows: call.keys, entries: call.keyBatch,
                boxRows: kernel.keys),
            map(
                &parameters.y, result.device, rowStride: result.shape.last, rows: call.queries, entries: call.batch,
                boxRows: 64)
        else { return false }
        (parameters.batch, parameters.key_batch) = (Int32(call.batch), Int32(call.keyBatch))
        parameters.key_count = Int32(call.keys)
        parameters.is_settled = areSettled(call) ? 1 : 0
        parameters.factor = call.scale * 1.442695
        launch(
            kernel.name, grid: (call.queries.dividedUp(by: kernel.queries), call.heads, call.batch),
            threads: kernel.threads, shared: kernel.sharedBytes, parameters)
        return true
    }
}
