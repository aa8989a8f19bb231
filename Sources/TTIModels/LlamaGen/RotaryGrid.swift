import TTICore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The angles of a caption's and an image's places, as `Backend.rotate` reads them.
enum RotaryGrid {
    /// The first half of a head's pairs turns by the row of the image, the second by its column, with frequencies
    /// base^(-2i / half width). A caption's places have neither cosine nor sine: their queries and keys vanish, so that
    /// every token sees the mean of the caption's values.
    /// - Returns: `[text length + side², head width]`: cosine and sine of every pair, in turns.
    static func angles(_ c: LlamaGenConfiguration) -> HostTensor {
        let (half, quarter) = (c.headWidth / 2, c.headWidth / 4)
        let frequencies = (0..<quarter).map { 1 / powf(c.rotaryBase, Float(2 * $0) / Float(half)) }
        var angles = [Float](repeating: 0, count: c.textLength * c.headWidth)
        for row in 0..<c.gridSide {
            for column in 0..<c.gridSide {
                for place in [row, column] {
                    for frequency in frequencies {
                        angles.append(cosf(Float(place) * frequency))
                        angles.append(sinf(Float(place) * frequency))
                    }
                }
            }
        }
        return HostTensor(angles, [c.sequenceLength, c.headWidth])
    }
}
