import TTIGeneration
import Testing

@Suite struct MaskPlanTests {
    /// Tokens revealed at each step.
    private func revealed(_ schedule: MaskSchedule, steps: Int, tokens: Int) -> [Int] {
        let before = MaskPlan(schedule, steps: steps, tokenCount: tokens, masked: tokens).maskedBefore + [0]
        return zip(before, before.dropFirst()).map(-)
    }

    @Test func `the cosine schedule reveals what aMUSEd's scheduler reveals`() {
        // as diffusers 0.39 counts in float32; in double precision step 8 would reveal one fewer
        #expect(revealed(.cosine, steps: 12, tokens: 256) == [3, 6, 11, 15, 18, 22, 26, 28, 30, 31, 33, 33])
        #expect(
            revealed(.cosine, steps: 12, tokens: 1024)
                == [9, 26, 43, 60, 74, 88, 101, 112, 120, 126, 132, 133])
    }

    @Test(arguments: MaskSchedule.allCases, [1, 2, 7, 12, 64, 300])
    func `every schedule ends with nothing masked, and reveals something at every step that has something`(
        schedule: MaskSchedule, steps: Int
    ) {
        let plan = MaskPlan(schedule, steps: steps, tokenCount: 256, masked: 256)
        #expect(plan.maskedBefore.count == steps && plan.remaining.count == steps)
        #expect(plan.maskedBefore.first == 256 && plan.remaining.last == 0)
        #expect(revealed(schedule, steps: steps, tokens: 256).reduce(0, +) == 256)
        for (now, next) in zip(plan.maskedBefore, plan.maskedBefore.dropFirst()) {
            #expect(next < now || now == 1)
        }
    }

    @Test func `when a part of the picture is kept, the schedule works on the rest`() {
        let plan = MaskPlan(.linear, steps: 4, tokenCount: 256, masked: 64, startingShare: 0.25)
        #expect(plan.maskedBefore == [64, 48, 32, 16])
    }

    @Test func `noise falls in a straight line`() {
        var settings = GenerationSettings(
            steps: 5, guidance: 1, temperature: [2, 0], gridHeight: 16, gridWidth: 16)
        #expect(settings.noiseByStep == [2, 1.5, 1, 0.5, 0])
        settings.steps = 1
        #expect(settings.noiseByStep == [2])
    }

    @Test func `guidance ramps go from 1 to the full scale`() {
        var settings = GenerationSettings(
            steps: 3, guidance: 5, temperature: [2, 0], gridHeight: 16, gridWidth: 16)
        #expect(settings.guidanceByStep == [5])
        settings.guidanceRamp = .linear
        #expect(settings.guidanceByStep == [1, 3, 5])
        settings.guidanceRamp = .cosine
        #expect(zip(settings.guidanceByStep, [1, 3, 5] as [Float]).allSatisfy { abs($0 - $1) < 1e-6 })
    }
}

@Suite struct HaltonOrderTests {
    /// Cells in the order in which they are revealed.
    private func cells(_ side: Int) -> [[Int]] {
        let ranks = HaltonOrder.ranks(height: side, width: side)
        return ranks.indices.sorted { ranks[$0] < ranks[$1] }.map { [$0 / side, $0 % side] }
    }

    @Test func `the first cells are the reference's`() {
        #expect(
            Array(cells(16).prefix(8)) == [
                [8, 5], [4, 10], [12, 1], [2, 7], [10, 12], [6, 3], [14, 8], [1, 14],
            ])
        #expect(
            Array(cells(32).prefix(8))
                == [[16, 10], [8, 21], [24, 3], [4, 14], [20, 24], [12, 7], [28, 17], [2, 28]])
    }

    @Test(arguments: [(1, 1), (3, 5), (24, 24), (64, 64)])
    func `every cell has a rank of its own`(height: Int, width: Int) {
        #expect(HaltonOrder.ranks(height: height, width: width).sorted() == (0..<Int32(height * width)).map { $0 })
    }
}
