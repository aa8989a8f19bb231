internal import CTTICUDA
internal import TTICore

extension CUDABackend {
    /// Inputs of a block of the depth: 128 bytes.
    private static let hopperBlock = 64

    /// Whether Hopper's own units can do a product: bfloat16, in rows of whole pieces of 16 bytes.
    func suitsHopper(_ product: RowsProduct) -> Bool {
        unsafe device.capability == 90 && device.driver.pointee.encode_tensor_map != nil
            && product.matrix.elements.dtype == .bfloat16 && product.isWhole && product.rowsOfEntry >= 64
    }

    /// The ways that are worth a try.
    func hopperWays(_ product: RowsProduct) -> [ProductWay] {
        guard suitsHopper(product) else { return [] }
        let depth = product.matrix.inputs.dividedUp(by: CUDABackend.hopperBlock)
        return HopperTile.all.indices.filter { index in
            let tile = HopperTile.all[index], blocks = tile.count(product.rowsOfEntry, product.matrix.outputs)
            if tile.cluster > 1 && !device.hasClusters { return false }
            return tile.splits == 1 || (blocks <= device.multiprocessorCount && depth >= 4 * tile.splits)
        }.map { .hopper(tile: $0) }
    }

    /// - Parameter tile: of `HopperTile.all`.
    /// - Returns: false when the device cannot do it.
    func multiplyOnHopper(_ product: RowsProduct, tile: Int) -> Bool {
        guard suitsHopper(product), HopperTile.all.indices.contains(tile) else { return false }
        let (tile, matrix) = (HopperTile.all[tile], product.matrix)
        let (rows, outputs) = (product.x.rowCount, matrix.outputs)
        var parameters = tti_hopper()
        /// The map of a matrix's rows, which start `stride` elements apart.
        func map(_ address: UInt64, _ rows: Int, _ stride: Int, box: Int) -> tti_tensor_map? {
            var map = tti_tensor_map()
            let status = unsafe ctti_map_matrix(
                device.driver, &map, address, UInt64(rows), UInt64(matrix.inputs), UInt64(2 * stride), UInt32(box))
            return status == 0 ? map : nil
        }
        guard let x = map(product.x.device, rows, matrix.inputs, box: tile.rows / tile.across),
            let weight = map(matrix.elements.device, outputs, matrix.stride, box: tile.columns / tile.down)
        else { return false }
        parameters.x = x
        parameters.weight = weight
        parameters.y = product.y.device
        parameters.bias = floatBias(product.bias)
        parameters.residual = product.residual.device
        parameters.rows = Int32(rows)
        parameters.outputs = Int32(outputs)
        parameters.blocks = Int32(matrix.inputs.dividedUp(by: CUDABackend.hopperBlock))
        parameters.activation = Int32(product.activation.rawValue)
        launch(
            "hopper_" + tile.name, grid: (tile.count(rows, outputs), 1, 1), threads: tile.threads,
            shared: tile.sharedBytes, parameters)
        return true
    }
}
