import TTIGeneration
import Testing

@Suite struct TorchParityTests {
    @Test func `MT19937 is numpy's and PyTorch's`() {
        var stream = TorchRandomStream(seed: 0)
        #expect((0..<3).map { _ in stream.word() } == [2_357_136_044, 2_546_248_239, 3_071_714_933])
    }

    /// Closed-form numbers: 2 · u(n, i) with u = ((7919 i + 104729 n + 12345) mod 10007) / 10007 - ½.
    private func closedForm(_ count: Int, _ n: Int) -> [Float] {
        (0..<count).map { Float(2 * (Double((7919 * $0 + 104_729 * n + 12_345) % 10_007) / 10_007 - 0.5)) }
    }

    @Test func `aMUSEd's scheduler, token for token`() {
        let vocabulary = 31
        let mask: Int32 = 31
        let channelsFirst = closedForm(31 * 16, 102).map { 3 * $0 }
        // [vocabulary, places] to [places, vocabulary]
        let logits = (0..<16).map { place in (0..<31).map { channelsFirst[$0 * 16 + place] } }
        var random = TorchRandomStream(seed: 0)
        var tokens = [Int32](repeating: mask, count: 16)
        let noise: [Float] = [2, 4 / 3, 2 / 3, 0]
        let expected: [[Int32]] = [
            [31, 31, 13, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 3, 31, 31],
            [31, 31, 13, 30, 31, 31, 31, 31, 31, 27, 31, 25, 31, 3, 31, 31],
            [24, 31, 13, 30, 31, 17, 31, 10, 12, 27, 17, 25, 31, 3, 31, 31],
            [24, 5, 13, 30, 3, 17, 17, 10, 12, 27, 17, 25, 19, 3, 29, 2],
        ]
        let plan = MaskPlan(.cosine, steps: 4, tokenCount: 16, masked: 16)
        for step in 0..<4 {
            let places = tokens.indices.filter { tokens[$0] == mask }
            let predicted = TorchChoice.unmask(
                &tokens, maskToken: mask, places: places, logits: places.flatMap { logits[$0] }, vocabulary: vocabulary,
                remaining: step == 3 ? nil : Int(plan.remaining[step]), noise: noise[step], &random)
            #expect(tokens == expected[step], "step \(step)")
            #expect(!predicted.contains(mask))
        }
    }
}
