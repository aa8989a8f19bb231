internal import TTICore

/// Where masked decoding begins when a picture is given: which of its tokens are kept.
package enum SourceTokens {
    /// Sets the tokens of every image of a batch, and the step to begin at.
    ///
    /// A strength below 1 leaves out the first steps, as diffusers does, and masks as many of the open tokens as those steps
    /// would have left: exactly that many, chosen by the image's own seed, where diffusers draws each one alone (and keeps
    /// the whole picture at strength 1).
    /// - Parameters:
    ///   - codes: `[tokens]` of the picture.
    ///   - isOpen: `[tokens]`: which may change; nil: all.
    ///   - strength: 0...1
    package static func begin(_ batch: inout ImageBatch, codes: [Int32], isOpen: [Bool]?, strength: Float) {
        let settings = batch.settings
        let open = codes.indices.filter { isOpen?[$0] ?? true }
        let first = settings.steps - Int((Float(settings.steps) * strength).rounded(.down))
        let share = first == 0 ? 1 : settings.schedule.maskedShare(Float(first) / Float(settings.steps))
        let count = strength == 0 ? 0 : Int((Float(open.count) * share).rounded(.down))
        // strength 0 leaves one step, which finds nothing to do
        batch.firstStep = min(first, settings.steps - 1)
        batch.openShare = Float(open.count) / Float(max(codes.count, 1))
        for index in batch.items.indices {
            let random = RandomStream(seed: batch.items[index].seed)
            let order = open.sorted {
                let (a, b) = (
                    random.word(.mask, position: 0, index: $0), random.word(.mask, position: 0, index: $1)
                )
                return a == b ? $0 < $1 : a < b
            }
            var tokens = codes
            for place in order.prefix(count) { tokens[place] = -1 }
            batch.items[index].initialTokens = tokens
        }
    }

    /// Which tokens a mask opens: those whose pixels are white on average.
    /// - Parameter mask: `[height, width]` in 0...1, `factor` pixels for each token in each direction.
    package static func openTokens(mask: [Float], height: Int, width: Int, factor: Int) -> [Bool] {
        var isOpen: [Bool] = []
        for row in 0..<height / factor {
            for column in 0..<width / factor {
                var sum: Float = 0
                for y in row * factor..<(row + 1) * factor {
                    for x in column * factor..<(column + 1) * factor { sum += mask[y * width + x] }
                }
                isOpen.append(sum > 0.5 * Float(factor * factor))
            }
        }
        return isOpen
    }
}
