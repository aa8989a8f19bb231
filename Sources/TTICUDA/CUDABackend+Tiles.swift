internal import CTTICUDA
internal import TTICore

extension CUDABackend {
    /// Rows of matrices as tiles read them: whole pieces of 16 bytes, from a multiple of 16 on. A copy where they are not.
    /// - Returns: the address, and elements from one row to the next.
    func wholeRows(_ x: Tensor, width: Int) -> (address: UInt64, stride: Int) {
        let stride = (width + lanes - 1) / lanes * lanes
        if stride == width && x.device % 16 == 0 { return (x.device, stride) }
        let rows = x.elementCount / width
        let copy = scratch("whole rows", rows * stride * activationType.byteCount)
        launch(
            "pad_rows", elements: rows * stride, each: lanes,
            tti_pad_rows(
                y: copy.device, x: x.device, rows: Int64(rows), width: Int64(width), y_width: Int64(stride)))
        return (copy.device, stride)
    }

    /// A product of matrices that are no images.
    /// - Parameter splits: parts of the depth; nil for as many as the plan has.
    func multiplyTiles(_ product: RowsProduct, splits: Int? = nil) {
        let (x, matrix) = (product.x, product.matrix)
        let rows = x.rowCount
        var (address, scales, bytes) = (UInt64(0), UInt64(0), matrix.stride)
        var ownBytes: Int?
        if let integers = product.integers {
            (address, scales) = (integers.rows, integers.scales)
        } else if product.joined != nil {
            address = x.device
            bytes = matrix.inputs * activationType.byteCount
            ownBytes = x.shape.last * activationType.byteCount
        } else {
            let whole = wholeRows(x, width: matrix.inputs)
            address = whole.address
            bytes = whole.stride * activationType.byteCount
        }
        let parameters = tti_tiles(
            y: product.y.device, x: address, weight: matrix.elements.device, joined: product.joined.device,
            bias: floatBias(product.bias), residual: product.residual.device, partial: 0, x_scales: scales,
            weight_scales: matrix.scales.device,
            weight_stride: Int64(matrix.stride * matrix.elements.dtype.byteCount), rows: Int32(rows),
            outputs: Int32(matrix.outputs), height: 1, width: 1, output_height: 1, output_width: 1, shift: 0,
            kernel_width: 1, stride: 1, top: 0, left: 0, channel_pieces: Int32(bytes / 16),
            own_pieces: Int32((ownBytes ?? bytes) / 16), pieces: Int32(bytes / 16),
            splits: 1, activation: Int32(product.activation.rawValue))
        multiplyTiles(
            parameters, rowsOfEntry: product.rowsOfEntry, splits: splits,
            kernels: matrix.elements.dtype == .int8 ? "tiles_int8_" : "tiles_")
    }

    /// Starts the kernel for a product; what `product` says of splits is filled in.
    /// - Parameters:
    ///   - splits: parts of the depth; nil for as many as the plan has.
    ///   - kernels: what the kernels' names begin with.
    func multiplyTiles(_ product: tti_tiles, rowsOfEntry: Int, splits: Int? = nil, kernels: String = "tiles_") {
        let (rows, outputs) = (Int(product.rows), Int(product.outputs))
        let size = TileProduct(
            rows: rows, outputs: outputs, depth: Int(product.pieces).dividedUp(by: 8),
            isFloat: activationType == .float32)
        let plan = splits.map { TilePlan(size, splits: $0) } ?? tilePlan(size, rowsOfEntry: rowsOfEntry)
        var product = product
        product.splits = Int32(plan.splits)
        if plan.splits > 1 {
            let stride = outputs.dividedUp(by: 8) * 8
            product.partial = scratch("parts of tiles", 4 * plan.splits * rows * stride).device
        }
        launch(
            kernels + plan.shape.name, grid: (plan.shape.count(rows, outputs), plan.splits, 1),
            threads: size.isFloat ? 256 : 128, shared: plan.shape.sharedBytes, product)
        if plan.splits > 1 {
            let vectors = rows * (outputs.dividedUp(by: 8) * 8 / lanes)
            launch(kernels + "add_parts", grid: (vectors.dividedUp(by: 128), 1, 1), threads: 128, product)
        }
    }

    /// The parts of the depth that are planned for a product of the library's type, and the most there can be.
    func tilePlan(_ product: RowsProduct) -> (splits: Int, most: Int) {
        let size = TileProduct(
            rows: product.x.rowCount, outputs: product.matrix.outputs,
            depth: (product.matrix.inputs * activationType.byteCount).dividedUp(by: 128),
            isFloat: activationType == .float32)
        return (tilePlan(size, rowsOfEntry: product.rowsOfEntry).splits, size.mostSplits)
    }

    private func tilePlan(_ product: TileProduct, rowsOfEntry: Int) -> TilePlan {
        if let plan = tilePlans[product]?[rowsOfEntry] { return plan }
        let plan = TilePlan(product, rowsOfEntry: rowsOfEntry)
        tilePlans[product, default: [:]][rowsOfEntry] = plan
        return plan
    }
}
