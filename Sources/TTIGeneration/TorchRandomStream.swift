internal import Glibc

/// What a PyTorch CPU generator draws: MT19937 seeded as `torch.manual_seed` seeds it, and the distributions made from it
/// (ATen `cpu/DistributionTemplates.h`, `core/DistributionsHelper.h`). Draws depend on call order.
package struct TorchRandomStream {
    private var state = [UInt32](repeating: 0, count: 624)
    private var next = 624

    /// Only the seed's low 32 bits count, as in PyTorch.
    package init(seed: UInt64) {
        state[0] = UInt32(truncatingIfNeeded: seed)
        for index in 1..<624 {
            let previous = state[index - 1]
            state[index] = 1_812_433_253 &* (previous ^ (previous >> 30)) &+ UInt32(index)
        }
    }

    /// The next 32 bits.
    package mutating func word() -> UInt32 {
        if next == 624 { twist() }
        var y = state[next]
        next += 1
        y ^= y >> 11
        y ^= (y << 7) & 0x9d2c_5680
        y ^= (y << 15) & 0xefc6_0000
        return y ^ (y >> 18)
    }

    private mutating func twist() {
        for index in 0..<624 {
            let mixed = (state[index] & 0x8000_0000) | (state[(index + 1) % 624] & 0x7fff_ffff)
            let tail: UInt32 = mixed & 1 == 0 ? 0 : 0x9908_b0df
            state[index] = state[(index + 397) % 624] ^ (mixed >> 1) ^ tail
        }
        next = 0
    }

    /// float32 in [0, 1): one draw of 24 bits.
    package mutating func uniform() -> Float { Float(word() & 0xff_ffff) * 0x1p-24 }

    /// float64 in [0, 1): two draws, the first the high word, of which 53 bits count.
    package mutating func uniformDouble() -> Double {
        let high = UInt64(word())
        let low = UInt64(word())
        return Double((high << 32 | low) & ((1 << 53) - 1)) * 0x1p-53
    }

    /// Exponential with rate 1, as float32.
    package mutating func exponential() -> Float { Float(-log1p(-uniformDouble())) }

    /// The index that `torch.multinomial(p, 1)` draws from one row: argmax of p / exponential, the first where equal.
    package mutating func multinomial(_ probabilities: some Collection<Float>) -> Int {
        var best = 0
        var bestValue = -Float.infinity
        for (index, probability) in probabilities.enumerated() {
            let value = probability / exponential()
            if value > bestValue { (best, bestValue) = (index, value) }
        }
        return best
    }

    /// Passes over the draws of a row of `count` entries without using them.
    package mutating func skipMultinomial(count: Int) {
        for _ in 0..<2 * count { _ = word() }
    }

    /// Standard normal numbers as `torch.randn` fills a tensor of at least 16 elements: float32 uniforms for all, then
    /// Box-Muller in blocks of sixteen, eight radii with eight angles; a last incomplete block is drawn anew.
    package mutating func normals(_ count: Int) -> [Float] {
        precondition(count >= 16, "randn of fewer than 16 elements takes another path")
        var values = (0..<count).map { _ in uniform() }
        func transform(_ start: Int) {
            for index in start..<start + 8 {
                let radius = sqrtf(-2 * logf(1 - values[index]))
                let angle = 2 * Float.pi * values[index + 8]
                values[index] = radius * cosf(angle)
                values[index + 8] = radius * sinf(angle)
            }
        }
        for start in stride(from: 0, through: count - 16, by: 16) { transform(start) }
        if count % 16 != 0 {
            for index in count - 16..<count { values[index] = uniform() }
            transform(count - 16)
        }
        return values
    }
}
