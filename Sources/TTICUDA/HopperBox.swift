internal import TTICore

/// Pixels that make up the rows of a tile: a box of an image, or of several.
struct HopperBox: Equatable {
    let width, height, images: Int

    /// The box of 128 pixels of which the fewest cover all images; of several, the widest.
    init(width: Int, height: Int, images: Int) {
        var best = (count: Int.max, box: HopperBox(HopperTile.rows, 1, 1))
        for across in [128, 64, 32, 16, 8, 4, 2, 1] {
            for down in [1, 2, 4, 8, 16, 32, 64, 128] where across * down <= HopperTile.rows {
                let box = HopperBox(across, down, HopperTile.rows / (across * down))
                let count = box.count(width: width, height: height, images: images)
                if count < best.count { best = (count, box) }
            }
        }
        self = best.box
    }

    /// The box of 128 pixels of one image of which the fewest cover it, so that what a box has depends on no other image. nil
    /// where they cover more than an eighth too much.
    init?(ofOneImage width: Int, _ height: Int) {
        let boxes = [128, 64, 32, 16, 8, 4, 2, 1].map { HopperBox($0, HopperTile.rows / $0, 1) }
        func count(_ box: HopperBox) -> Int { box.count(width: width, height: height, images: 1) }
        let best = boxes.dropFirst().reduce(boxes[0]) { count($1) < count($0) ? $1 : $0 }
        guard 8 * count(best) * HopperTile.rows <= 9 * width * height else { return nil }
        self = best
    }

    private init(_ width: Int, _ height: Int, _ images: Int) {
        (self.width, self.height, self.images) = (width, height, images)
    }

    func count(width: Int, height: Int, images: Int) -> Int {
        width.dividedUp(by: self.width) * height.dividedUp(by: self.height) * images.dividedUp(by: self.images)
    }
}
