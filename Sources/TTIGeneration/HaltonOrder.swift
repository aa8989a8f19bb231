/// The order in which Halton-MaskGIT (arXiv 2503.17076) reveals a grid: the cells that a two-dimensional Halton sequence
/// (bases 2 and 3) visits first come first, so that the tokens of one step lie far apart.
package enum HaltonOrder {
    /// The rank of every cell, row by row. The sequence runs until every cell has been visited, which takes more than the
    /// 10,000 points of the reference on a 64×64 grid. Integer arithmetic, so that no cell depends on rounding.
    package static func ranks(height: Int, width: Int) -> [Int32] {
        var ranks = [Int32](repeating: -1, count: height * width)
        var next: Int32 = 0
        var index = 1
        while Int(next) < ranks.count {
            let row = radicalInverse(index, base: 2, scaledTo: height)
            let column = radicalInverse(index, base: 3, scaledTo: width)
            if ranks[row * width + column] < 0 {
                ranks[row * width + column] = next
                next += 1
            }
            index += 1
        }
        return ranks
    }

    /// ⌊size · 0.d₀d₁d₂…⌋ where d₀, d₁… are the digits of `index`, lowest first.
    private static func radicalInverse(_ index: Int, base: Int, scaledTo size: Int) -> Int {
        var numerator = 0
        var denominator = 1
        var rest = index
        while rest > 0 {
            numerator = numerator * base + rest % base
            denominator *= base
            rest /= base
        }
        return numerator * size / denominator
    }
}
