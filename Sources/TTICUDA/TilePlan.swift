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

    /// As tiles.cuh lays it out: stages, or the sums in their place; the rows' places.
    var sharedBytes: Int { max(stages * (rows + columns) * 128, rows * (columns + 8) * 4) + rows * 8 }

    func count(_ rows: Int, _ outputs: Int) -> Int {
        rows.dividedUp(by: self.rows) * outputs.dividedUp(by: columns)
    }
}

/// The size of a product, as far as its tiles depend on it.
struct TileProduct: Hashable {
    var rows: Int
    let outputs: Int
    /// In blocks of 128 bytes.
    let depth: Int
    /// Whether it is made by multiply-adds of float, 32 in 128 bytes, and not by tensor cores.
    let isFloat: Bool

    fileprivate var shapes: [TileShape] {
        if outputs <= TileShape.narrow.columns { return [TileShape.narrow] }
        return rows <= TileShape.flat.rows ? [TileShape.flat] : TileShape.all
    }

    /// About how long it takes on a GPU of the size of an H200, in microseconds.
    ///
    /// A tile's operands come from the second-level cache, which is what bounds it: measured, 43 bytes a nanosecond for each of
    /// 132 multiprocessors, if enough are under way for what a load takes when all are loading (1.3 µs).
    fileprivate func microseconds(_ shape: TileShape, splits: Int) -> Double {
        let blocks = Double((shape.count(rows, outputs) * splits).dividedUp(by: 132))
        let blockBytes = Double((min(rows, shape.rows) + min(outputs, shape.columns)) * 128)
        let rate = min(43, blocks * Double(shape.stages - 1) * blockBytes / 1300)
        let area = Double(shape.rows * shape.columns)
        let multiplying = isFloat ? area * 32 / 187 : area * 64 / 2290
        let depth = Double(self.depth.dividedUp(by: splits))
        let ending = blocks * (0.5 + area / 16384)
        let parts = splits > 1 ? 2 + Double(8 * splits * rows * outputs) / 4.5e6 : 0
        return blocks * depth * max(blockBytes / rate, multiplying) / 1000 + ending + parts
    }

    /// A part is at least as long as the stages that its beginning waits for.
    var mostSplits: Int { max(1, min(16, depth / 4)) }

    fileprivate func best(splits: Int) -> (shape: TileShape, microseconds: Double) {
        let times = shapes.map { ($0, microseconds($0, splits: splits)) }
        return times.dropFirst().reduce(times[0]) { $1.1 < $0.1 ? $1 : $0 }
    }
}

/// Which tiles a product has, and into how many parts its depth is split.
struct TilePlan {
    let shape: TileShape
    let splits: Int

    /// - Parameters:
    ///   - product: all rows.
    ///   - rowsOfEntry: of one entry of the batch. An output's sum depends on the splits and not on the tile, so that these
    ///     are chosen from one entry: as is best for one alone, and for the two of guidance.
    init(_ product: TileProduct, rowsOfEntry: Int) {
        var (one, two) = (product, product)
        one.rows = rowsOfEntry
        two.rows = 2 * rowsOfEntry
        var (least, splits) = (Double.infinity, 1)
        for candidate in 1...product.mostSplits {
            let time = 2 * one.best(splits: candidate).microseconds + two.best(splits: candidate).microseconds
            if time < least { (least, splits) = (time, candidate) }
        }
        self.splits = splits
        shape = product.best(splits: splits).shape
    }

    /// With so many parts of the depth.
    init(_ product: TileProduct, splits: Int) {
        self.splits = splits
        shape = product.best(splits: splits).shape
    }
}
