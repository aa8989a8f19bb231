internal import CTTICUDA
internal import TTICore

/// One of tiles.cu's kernels: a block makes `rows` × `columns` of the result.
struct TileShape {
    let rows, columns, stages: Int

    /// From those that do most for each byte to those of which there are most.
    static let all = [
        TileShape(rows: 128, columns: 128, stages: 3), TileShape(rows: 128, columns: 64, stages: 3),
        TileShape(rows: 64, columns: 64, stages: 4),
    ]
    /// Rows of which there are few, and images of few channels.
    static let flat = TileShape(rows: 32, columns: 64, stages: 4)
    static let narrow = TileShape(rows: 128, columns: 16, stages: 4)

    var name: String { "\(rows)x\(columns)" }

    /// As tiles.cuh lays it out: stages, or the sums in their place; the rows' places; a word.
    var sharedBytes: Int { max(stages * (rows + columns) * 128, rows * (columns + 8) * 4) + rows * 8 + 16 }

    func count(_ rows: Int, _ outputs: Int) -> Int {
        (rows + self.rows - 1) / self.rows * ((outputs + columns - 1) / columns)
    }
}

/// Which tiles a product has, and into how many parts its depth is split. A function of one entry of a batch.
struct TilePlan {
    let shape: TileShape
    let splits: Int

    /// Blocks that keep a large GPU busy, and how many it has at a time.
    private static let enough = 120
    private static let atOnce = 264

    /// - Parameters:
    ///   - rows: of one entry.
    ///   - depth: in blocks of 128 bytes.
    init(rows: Int, outputs: Int, depth: Int) {
        let shapes =
            outputs <= TileShape.narrow.columns
            ? [TileShape.narrow] : rows <= TileShape.flat.rows ? [TileShape.flat] : TileShape.all
        let fitting = shapes.first { $0.count(rows, outputs) >= TilePlan.enough && $0.columns < 2 * outputs }
        shape = fitting ?? shapes[shapes.count - 1]
        let tiles = shape.count(rows, outputs)
        // A part is long enough to be worth its sums' way through memory.
        splits = tiles >= TilePlan.enough ? 1 : max(1, min(TilePlan.atOnce / max(1, tiles), depth / 6, 16))
    }
}

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

    /// activation(x · weightᵀ + bias) + residual, for matrices that are no images.
    /// - Parameters:
    ///   - x: `[entries, tokens, inputs]`
    ///   - y: `[entries, tokens, outputs]`
    func multiplyTiles(
        _ x: Tensor, _ matrix: DeviceMatrix, bias: Tensor?, _ activation: Activation, adding residual: Tensor?,
        into y: Tensor
    ) {
        let rows = x.rowCount
        var (address, scales, bytes) = (UInt64(0), UInt64(0), matrix.stride)
        if matrix.elements.dtype == .int8 {
            address = scratch("rows in int8", rows * matrix.stride).device
            scales = scratch("scales of rows", rows * 4).device
            launch(
                "quantise_rows", grid: ((rows + 7) / 8, 1, 1), threads: 256,
                tti_quantise_rows(
                    y: address, scales: scales, x: x.device, rows: Int32(rows), width: Int32(matrix.inputs),
                    stride: Int32(matrix.stride)))
        } else {
            let whole = wholeRows(x, width: matrix.inputs)
            address = whole.address
            bytes = whole.stride * activationType.byteCount
        }
        let product = tti_tiles(
            y: y.device, x: address, weight: matrix.elements.device, bias: floatBias(bias), residual: residual.device,
            partial: 0, counters: 0, x_scales: scales, weight_scales: matrix.scales.device,
            weight_stride: Int64(matrix.stride * matrix.elements.dtype.byteCount), rows: Int32(rows),
            outputs: Int32(matrix.outputs), height: 1, width: 1, output_height: 1, output_width: 1, shift: 0,
            kernel_width: 1, stride: 1, top: 0, left: 0, channel_pieces: Int32(bytes / 16), pieces: Int32(bytes / 16),
            splits: 1, activation: Int32(activation.rawValue))
        multiplyTiles(
            product, rowsOfEntry: rows / x.shape[0], kernels: matrix.elements.dtype == .int8 ? "tiles_int8_" : "tiles_")
    }

    /// Starts the kernel for a product; what `product` says of splits is filled in.
    /// - Parameter kernels: what the kernels' names begin with.
    func multiplyTiles(_ product: tti_tiles, rowsOfEntry: Int, kernels: String = "tiles_") {
        let (rows, outputs) = (Int(product.rows), Int(product.outputs))
        let plan = TilePlan(rows: rowsOfEntry, outputs: outputs, depth: (Int(product.pieces) + 7) / 8)
        let tiles = plan.shape.count(rows, outputs)
        var product = product
        product.splits = Int32(plan.splits)
        if plan.splits > 1 {
            let sums = tiles * plan.shape.rows * plan.shape.columns * plan.splits
            product.partial = scratch("parts of tiles", 4 * sums).device
            product.counters = counters(tiles).device
        }
        launch(
            kernels + plan.shape.name, grid: (tiles, plan.splits, 1),
            threads: activationType == .float32 ? 256 : 128, shared: plan.shape.sharedBytes, product)
    }
}
