internal import TTICore

/// One of hopper.cu's kernels: a block makes 128 pixels × `columns` of the result.
struct HopperTile: Equatable {
    let columns, stages: Int
    /// What a block takes for 64 channels, measured on an H200: the multipliers' time for large tiles, that of the way from
    /// the second-level cache for small ones.
    let nanosecondsOfBlock: Double

    static let rows = 128
    static let all = [
        HopperTile(columns: 64, stages: 8, nanosecondsOfBlock: 261),
        HopperTile(columns: 128, stages: 3, nanosecondsOfBlock: 390),
        HopperTile(columns: 128, stages: 6, nanosecondsOfBlock: 365),
        HopperTile(columns: 160, stages: 5, nanosecondsOfBlock: 450),
        HopperTile(columns: 256, stages: 4, nanosecondsOfBlock: 702),
    ]

    var name: String { "\(HopperTile.rows)x\(columns)x\(stages)" }

    /// The warps that multiply, and the one that loads.
    static let threads = 2 * 128 + 32

    /// As hopper.cu lays it out: stages; barriers and the bias.
    var sharedBytes: Int { stages * (HopperTile.rows + columns) * 128 + 2048 }

    /// Whether the two halves of its columns can be values and gates: halves are whole boxes of 32 results.
    var canGate: Bool { columns % 64 == 0 }
}

/// Pixels that make up the rows of a tile: a box of an image, or of several.
struct HopperBox: Equatable {
    let width, height, images: Int

    /// The box of 128 pixels of which the fewest cover all images; of several, the widest.
    init(width: Int, height: Int, images: Int) {
        var best = (count: Int.max, box: HopperBox(side: 128, 1, 1))
        for across in [128, 64, 32, 16, 8, 4, 2, 1] {
            for down in [1, 2, 4, 8, 16, 32, 64, 128] where across * down <= HopperTile.rows {
                let box = HopperBox(side: across, down, HopperTile.rows / (across * down))
                let count = box.count(width: width, height: height, images: images)
                if count < best.count { best = (count, box) }
            }
        }
        self = best.box
    }

    private init(side width: Int, _ height: Int, _ images: Int) {
        (self.width, self.height, self.images) = (width, height, images)
    }

    func count(width: Int, height: Int, images: Int) -> Int {
        width.dividedUp(by: self.width) * height.dividedUp(by: self.height) * images.dividedUp(by: self.images)
    }
}

/// Which tile a convolution has, and into how many parts its depth is split.
struct HopperPlan: Equatable {
    let tile: Int
    let splits: Int

    /// The size of a convolution, as far as its plan depends on it.
    struct Size: Hashable {
        /// Of what boxes are made of: of y, or of x where each pixel is four of y.
        let width, height: Int
        let phases: Int
        let outputs: Int
        /// In blocks of 64 channels, all taps.
        let blocks: Int

        /// A part is at least as long as the ring.
        var mostSplits: Int { max(1, min(16, blocks / 8)) }

        /// About how long it takes on an H200, in microseconds.
        fileprivate func microseconds(_ tile: HopperTile, splits: Int, images: Int) -> Double {
            let boxes = HopperBox(width: width, height: height, images: images)
                .count(width: width, height: height, images: images)
            let waves = Double((boxes * phases * outputs.dividedUp(by: tile.columns) * splits).dividedUp(by: 132))
            let multiplying = waves * Double(blocks.dividedUp(by: splits)) * tile.nanosecondsOfBlock / 1000
            let weights = Double(blocks * 64 * outputs * 2) / 4.3e6
            // The last block of a tile reads all parts.
            let parts = splits > 1 ? 1.5 + Double(splits * HopperTile.rows * tile.columns * 4) / 80e3 : 0
            return max(multiplying, weights) + 3 + waves * Double(tile.columns) / 128 + parts
        }

        fileprivate func best(splits: Int, images: Int) -> (tile: Int, microseconds: Double) {
            let times = HopperTile.all.enumerated().map {
                ($0.offset, microseconds($0.element, splits: splits, images: images))
            }
            return times.dropFirst().reduce(times[0]) { $1.1 < $0.1 ? $1 : $0 }
        }
    }

    /// An output's sum depends on the splits and not on the tile, so that these are chosen from one image: as is best for one
    /// alone, and for the two of guidance.
    init(_ size: Size, images: Int) {
        var (least, splits) = (Double.infinity, 1)
        for candidate in 1...size.mostSplits {
            let time =
                2 * size.best(splits: candidate, images: 1).microseconds
                + size.best(splits: candidate, images: 2).microseconds
            if time < least { (least, splits) = (time, candidate) }
        }
        self.splits = splits
        tile = size.best(splits: splits, images: images).tile
    }
}
