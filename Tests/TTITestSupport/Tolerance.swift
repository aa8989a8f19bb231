internal import TTICore

/// How far a backend may be from the reference. The only place that says so: a test cannot bring its own number.
///
/// Weights and caches in bfloat16 have the limits of float32: the reference rounds them in the same way, they are exact in
/// binary32, and sums are binary32 in both.
package struct Tolerance: Sendable, Equatable {
    /// Σ (result - reference)² / Σ reference².
    package let meanSquare: Double
    /// max |result - reference| / max |reference|.
    package let maximum: Double

    /// Nothing is computed, or integers are.
    static let exact = Tolerance(meanSquare: 0, maximum: 0)
    /// One to three roundings of half a unit (2⁻²⁴ = 6e-8) each, and functions good to a few units in the last place.
    static let elementwise = Tolerance(meanSquare: 1e-13, maximum: 5e-7)
    /// Sums of k products in binary32. Added one after the other, k roundings of random sign have a mean square of k · 2⁻⁴⁸ of
    /// the result's: 1.5e-11 for 4096, of which a tenth is seen, since the sum grows on its way.
    static let product = Tolerance(meanSquare: 4e-12, maximum: 4e-6)
    /// Mean and variance of up to millions of elements; an offset of 8 deviations costs three bits.
    static let norm = Tolerance(meanSquare: 1e-12, maximum: 3e-6)
    /// Groups of channels and rows that lie 30 to 50 deviations from zero: five to six bits less.
    package static let normFarFromZero = Tolerance(meanSquare: 1e-10, maximum: 2e-5)
    /// Two products and an exponential between them, whose argument's error is a relative error of the weight.
    static let attention = Tolerance(meanSquare: 1e-12, maximum: 4e-6)
    /// Scores of 100, of which 24 bits are right to 6e-6, and the weights with them.
    package static let sharpAttention = Tolerance(meanSquare: 1e-10, maximum: 2e-5)
    /// Weights rounded to bfloat16: by up to 2⁻⁸ of each, at most 2⁻¹⁴ / 12 = 5e-6 in the square mean.
    package static let roundedAttention = Tolerance(meanSquare: 5e-6, maximum: 4e-3)
    /// A norm, then a product, or the other way round; or two products and a gate: the first one's error goes through the
    /// second.
    static let fused = Tolerance(meanSquare: 5e-12, maximum: 6e-6)

    /// The same where the second product rounds its operand to bfloat16, in which the reference does too: of the numbers in
    /// between, the few (about 1 in 1000) that are nearest to the middle of two are rounded to different sides, 2⁻⁷ apart.
    static let roundedFused = Tolerance(meanSquare: 1e-7, maximum: 2e-3)

    /// A whole network in binary32 against PyTorch's numbers, and a cached step against the whole sequence. Measured: 4e-6
    /// at most (mean square 1.2e-11), over the tiny networks of Tests/Fixtures/models and the checkpoints that ship.
    package static let network = Tolerance(meanSquare: 1e-10, maximum: 1e-5)
    /// The same in binary64, where PyTorch itself computes some steps in binary32 (means of RMS norms, sinusoids).
    package static let networkInBinary64 = Tolerance(meanSquare: 1e-12, maximum: 1e-6)

    /// Weights rounded to eight bits of mantissa against PyTorch's whole ones: 2⁻⁹ for each product, and what a chain of layers
    /// makes of it. The project's own limit is 2e-2 of the root mean square.
    package static let networkInBFloat16 = Tolerance(meanSquare: 4e-4, maximum: 1e-1)
    /// A scheduler's samples against diffusers, which rounds its tables to binary32 and computes some updates in it.
    package static let scheduler = Tolerance(meanSquare: 1e-12, maximum: 2e-6)

    /// Four to ten guided steps of a tiny network, and its autoencoder: each step multiplies what the last one was off by. The
    /// project's own limit is 1e-4 of the root mean square.
    package static let pipeline = Tolerance(meanSquare: 1e-8, maximum: 5e-4)
    /// The same with weights in bfloat16.
    package static let pipelineInBFloat16 = Tolerance(meanSquare: 4e-4, maximum: 1e-1)

    /// Results in bfloat16 where the reference rounds its own: the few (less than 1 in 100) that lie nearest to the middle of
    /// two are rounded to different sides, up to 2⁻⁷ apart.
    static let roundedResult = Tolerance(meanSquare: 3e-7, maximum: 8e-3)
    /// The same with another rounding in between (of softmax's weights, or of a first result), which the reference makes
    /// elsewhere or not at all.
    static let twiceRoundedResult = Tolerance(meanSquare: 1e-5, maximum: 1.6e-2)
    /// A norm of results in bfloat16, which the reference rounds too: as few differ, but each by what it did and by its own
    /// rounding.
    static let normOfRoundedResult = Tolerance(meanSquare: 3e-7, maximum: 1.6e-2)

    /// What holds for an operation on a device whose activations are bfloat16.
    package static func ofBFloat16Activations(_ operation: String) -> Tolerance {
        switch operation {
        case "attention", "decodeAttention", "qkvDecodeAttention", "normModulate", "gatedFeedForward",
            "groupNormConvolve", "joinedGroupNormConvolve":
            twiceRoundedResult
        case "convolveGroupNorm": normOfRoundedResult
        default: of(operation) == .exact ? .exact : roundedResult
        }
    }

    /// What holds for an operation of `Backend`; traps for a name that it does not know.
    /// - Parameters:
    ///   - roundsProducts: as in `ReferenceBackend`.
    ///   - roundsAttention: the same.
    package static func of(
        _ operation: String, roundsProducts: Bool = false, roundsAttention: Bool = false
    ) -> Tolerance {
        switch operation {
        case "normLinear" where roundsProducts, "gatedFeedForward" where roundsProducts,
            "groupNormConvolve" where roundsProducts, "joinedGroupNormConvolve" where roundsProducts:
            roundedFused
        case "attention" where roundsAttention: roundedAttention
        case "embed", "append", "castToCache", "concatenate", "gather", "depthToSpace", "increment", "sample",
            "maskedPlaces",
            "unmask", "nearestCode", "guideAndSample":
            exact
        case "add", "activate", "gate", "modulate", "rotate", "guide": elementwise
        case "linear", "joinedLinear", "convolve", "depthwiseConvolve", "combine": product
        case "norm", "groupNorm", "joinedGroupNorm", "globalResponseNorm": norm
        case "attention", "decodeAttention", "qkvDecodeAttention": attention
        case "normLinear", "normModulate", "gatedFeedForward", "groupNormConvolve", "joinedGroupNormConvolve",
            "convolveGroupNorm":
            fused
        default: preconditionFailure("no tolerance for \(operation)")
        }
    }
}

/// How far two results are apart.
package struct Difference: Sendable, CustomStringConvertible {
    /// As in `Tolerance`; infinite when shapes or types differ, or when a number is not finite.
    package private(set) var meanSquare = Double.infinity
    package private(set) var maximum = Double.infinity
    private var reason = ""

    package init(_ result: OpOutput, from reference: OpOutput) {
        guard result.shape == reference.shape, result.isInteger == reference.isInteger else {
            self.init(reason: "\(result.shape) instead of \(reference.shape)")
            return
        }
        self.init(result.values, from: reference.values)
    }

    private init(reason: String) { self.reason = reason }

    package init(_ result: [Double], from reference: [Double]) {
        guard result.count == reference.count else {
            reason = "\(result.count) numbers instead of \(reference.count)"
            return
        }
        var (error, size, worst, scale) = (0.0, 0.0, (difference: -1.0, index: 0), 0.0)
        for (index, expected) in reference.enumerated() {
            let value = result[index]
            guard value.isFinite, expected.isFinite else {
                reason = "element \(index) is \(value) instead of \(expected)"
                return
            }
            let difference = abs(value - expected)
            error += difference * difference
            size += expected * expected
            scale = max(scale, abs(expected))
            if difference > worst.difference { worst = (difference, index) }
        }
        meanSquare = error == 0 ? 0 : error / size
        maximum = worst.difference <= 0 ? 0 : worst.difference / scale
        if maximum > 0 {
            let index = worst.index
            reason =
                "element \(index) of \(result.count) is \(result[index]) instead of \(reference[index])"
        }
    }

    package func isWithin(_ tolerance: Tolerance) -> Bool {
        meanSquare <= tolerance.meanSquare && maximum <= tolerance.maximum
    }

    package var description: String { "mean square \(meanSquare), maximum \(maximum): \(reason)" }
}
