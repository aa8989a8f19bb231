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
        return HopperTile.all.indices.flatMap { index in
            let tiles = HopperTile.all[index].count(product.rowsOfEntry, product.matrix.outputs)
            return [1, 2, 4].filter { $0 == 1 || (tiles * $0 <= device.multiprocessorCount && depth >= 8 * $0) }
                .map { ProductWay.hopper(tile: index, splits: $0) }
        }
    }

    /// - Parameter tile: of `HopperTile.all`.
    /// - Returns: false when the device cannot do it.
    func multiplyOnHopper(_ product: RowsProduct, tile: Int, splits: Int) -> Bool {
        guard suitsHopper(product), HopperTile.all.indices.contains(tile) else { return false }
        let (tile, matrix) = (HopperTile.all[tile], product.matrix)
        let (rows, outputs) = (product.x.rowCount, matrix.outputs)
        var parameters = tti_hopper()
        let isMapped =
            unsafe ctti_map_matrix(
                device.driver, &parameters.x, product.x.device, UInt64(rows), UInt64(matrix.inputs),
                UInt64(matrix.inputs * 2), UInt32(tile.rows)) == 0
            && ctti_map_matrix(
                device.driver, &parameters.weight, matrix.elements.device, UInt64(outputs), UInt64(matrix.inputs),
                UInt64(matrix.stride * 2), UInt32(tile.columns)) == 0
        guard isMapped else { return false }
        parameters.y = product.y.device
        parameters.bias = floatBias(product.bias)
        parameters.residual = product.residual.device
        parameters.rows = Int32(rows)
        parameters.outputs = Int32(outputs)
        parameters.blocks = Int32(matrix.inputs.dividedUp(by: CUDABackend.hopperBlock))
        parameters.splits = Int32(splits)
        parameters.activation = Int32(product.activation.rawValue)
        if splits > 1 {
            parameters.partial = scratch("parts of tiles", 4 * splits * rows * outputs).device
        }
        launch(
            "hopper_" + tile.name, grid: (tile.count(rows, outputs), splits, 1), threads: tile.threads,
            shared: tile.sharedBytes, parameters)
        if splits > 1 {
            var sums = tti_tiles()
            sums.y = parameters.y
            sums.bias = parameters.bias
            sums.residual = parameters.residual
            sums.partial = parameters.partial
            (sums.rows, sums.outputs) = (parameters.rows, parameters.outputs)
            (sums.splits, sums.activation) = (parameters.splits, parameters.activation)
            launch(
                "tiles_add_parts", grid: ((rows * outputs / lanes).dividedUp(by: 128), 1, 1), threads: 128, sums)
        }
        return true
    }
}
