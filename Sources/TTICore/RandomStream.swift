/// Counter-based random numbers: Philox 4×32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
///
/// A number is a function of (seed, purpose, position, index) and of nothing else: not of call order, batch, thread or
/// device. This mapping is version 1 and cannot change: seeds that people have kept depend on it.
///
///     key      (seed low word, seed high word)
///     counter  (index / 4, position, purpose, 0)
///     word     index mod 4 of the four that come out
package struct RandomStream: Sendable {
    /// What the numbers are for; streams of different purposes never overlap.
    package enum Purpose: UInt32, Sendable {
        /// Gumbel noise over the vocabulary; index = place in the grid · vocabulary + token.
        case token = 1
        /// Gumbel noise on the confidence of a place; index = place.
        case confidence = 2
        /// Initial latents; index = element.
        case latent = 3
        /// Which known tokens are masked again (image to image); index = place.
        case mask = 4
        /// Noise that a step of diffusion adds; position = step, index = element.
        case noise = 5
    }

    package let seed: UInt64

    package init(seed: UInt64) { self.seed = seed }

    /// Four words at a counter.
    package func block(_ counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
        var c = counter
        var key0 = UInt32(truncatingIfNeeded: seed)
        var key1 = UInt32(truncatingIfNeeded: seed >> 32)
        for _ in 0..<10 {
            let product0 = UInt64(0xD251_1F53) * UInt64(c[0])
            let product1 = UInt64(0xCD9E_8D57) * UInt64(c[2])
            c = SIMD4(
                UInt32(truncatingIfNeeded: product1 >> 32) ^ c[1] ^ key0, UInt32(truncatingIfNeeded: product1),
                UInt32(truncatingIfNeeded: product0 >> 32) ^ c[3] ^ key1, UInt32(truncatingIfNeeded: product0))
            key0 &+= 0x9E37_79B9
            key1 &+= 0xBB67_AE85
        }
        return c
    }

    /// The word of (purpose, position, index).
    package func word(_ purpose: Purpose, position: Int, index: Int) -> UInt32 {
        block(SIMD4(UInt32(truncatingIfNeeded: index >> 2), UInt32(truncatingIfNeeded: position), purpose.rawValue, 0))[
            index & 3]
    }

    /// A number in (0, 1), never 0 and never 1: (word / 512 + ½) / 2^23.
    package func uniform(_ purpose: Purpose, position: Int, index: Int) -> Float {
        RandomStream.uniform(word(purpose, position: position, index: index))
    }

    /// A word as a number in (0, 1). 23 bits, not 24: with 24, adding the half would round, and the highest word give 1, whose
    /// Gumbel noise is infinite.
    package static func uniform(_ word: UInt32) -> Float { (Float(word >> 9) + 0.5) * 0x1p-23 }
}
