internal import TTICore

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

    init(tile: Int, splits: Int) { (self.tile, self.splits) = (tile, splits) }
}
