import TTICore
import Testing

/// The published vectors of Philox 4×32-10 (kat_vectors of Random123), and our own mapping, which cannot change.
struct RandomStreamTests {
    private func seed(_ low: UInt32, _ high: UInt32) -> UInt64 { UInt64(low) | UInt64(high) << 32 }

    @Test func `Philox gives its published vectors`() {
        #expect(
            RandomStream(seed: 0).block(.zero) == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
        #expect(
            RandomStream(seed: .max).block(SIMD4(repeating: .max))
                == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
        #expect(
            RandomStream(seed: seed(0xa409_3822, 0x299f_31d0))
                .block(SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344))
                == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
    }

    @Test func `a word is found by purpose, position and index`() {
        let stream = RandomStream(seed: 0x0123_4567_89ab_cdef)
        let block = stream.block(SIMD4(25, 7, RandomStream.Purpose.confidence.rawValue, 0))
        for lane in 0..<4 { #expect(stream.word(.confidence, position: 7, index: 100 + lane) == block[lane]) }
        #expect(stream.word(.token, position: 7, index: 100) != block[0])
    }

    @Test func `a uniform number is never 0 and never 1`() {
        #expect(RandomStream.uniform(0) == 0x1p-24)
        #expect(RandomStream.uniform(.max) == 1 - 0x1p-24)
        #expect(RandomStream.uniform(1 << 31) == 0.5 + 0x1p-24)
    }

    @Test func `uniform numbers have the moments of the uniform distribution`() {
        let stream = RandomStream(seed: 42)
        let count = 100_000
        let numbers = (0..<count).map { Double(stream.uniform(.latent, position: 3, index: $0)) }
        let mean = numbers.reduce(0, +) / Double(count)
        let variance = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count)
        // Five standard errors.
        #expect(abs(mean - 0.5) < 5 * (1.0 / 12 / Double(count)).squareRoot())
        #expect(abs(variance - 1.0 / 12) < 5 * (1.0 / 180 / Double(count)).squareRoot())
    }
}
