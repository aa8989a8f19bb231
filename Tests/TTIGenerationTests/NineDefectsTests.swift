import TTICore
import TTIGeneration
import Testing

/// The nine defects of the reference's masked pipelines (diffusers' AmusedImg2ImgPipeline and AmusedInpaintPipeline) do not
/// exist here.
@Suite struct NineDefectsTests {
    private let pipeline: any ImagePipeline
    private let picture: [Int32]

    init() throws {
        pipeline = try ShippedPipelines.make("scenes-masked")
        picture = try pipeline.run(pipeline.batch("a red cube", seeds: [1]))[0]
    }

    /// A batch that begins with the picture.
    private func batch(
        seeds: [UInt64] = [2], isOpen: [Bool]? = nil, strength: Float,
        _ change: (inout GenerationSettings) -> Void = { _ in }
    ) -> ImageBatch {
        var batch = pipeline.batch("a blue sphere", seeds: seeds, change)
        SourceTokens.begin(&batch, codes: picture, isOpen: isOpen, strength: strength)
        return batch
    }

    @Test func `1: strength 1 keeps nothing of the picture`() throws {
        let anew = try pipeline.run(batch(strength: 1))[0]
        #expect(batch(strength: 1).maskedCount == 256)
        #expect(try anew == pipeline.run(pipeline.batch("a blue sphere", seeds: [2]))[0])
    }

    @Test(arguments: [(20, 20), (24, 24), (17, 23)])
    func `2: painting works at sizes that are no multiples of 256`(height: Int, width: Int) throws {
        let codes = (0..<height * width).map { Int32($0 % 1024) }
        let isOpen = codes.indices.map { $0 % width < 5 }
        var batch = pipeline.batch("a blue sphere", seeds: [2]) { settings in
            (settings.gridHeight, settings.gridWidth, settings.steps) = (height, width, 3)
        }
        SourceTokens.begin(&batch, codes: codes, isOpen: isOpen, strength: 1)
        let made = try pipeline.run(batch)[0]
        #expect(made.indices.allSatisfy { isOpen[$0] || made[$0] == codes[$0] })
        #expect(try pipeline.detokenize([made])[0].count == height * width * 768)
    }

    @Test func `3: painting changes no setting of text to image`() throws {
        let before = (pipeline.defaults, try pipeline.run(pipeline.batch("a blue sphere", seeds: [2])))
        _ = try pipeline.run(batch(isOpen: picture.indices.map { $0 < 100 }, strength: 1) { $0.schedule = .linear })
        #expect(pipeline.defaults == before.0)
        #expect(try pipeline.run(pipeline.batch("a blue sphere", seeds: [2])) == before.1)
    }

    @Test func `4: one negative prompt serves a batch of prompts`() throws {
        var together = pipeline.batch("a blue sphere", negative: "a checkered floor", seeds: [2, 3])
        together.items[1].prompt = pipeline.tokenize("two green cones")
        let alone = pipeline.batch("two green cones", negative: "a checkered floor", seeds: [3])
        #expect(try pipeline.run(together)[1] == pipeline.run(alone)[0])
    }

    @Test func `5: a prompt needs no negative one`() throws {
        let empty = pipeline.batch("a blue sphere", negative: "", seeds: [2])
        #expect(try pipeline.run(empty) == pipeline.run(pipeline.batch("a blue sphere", seeds: [2])))
        var unguided = empty
        unguided.settings.guidance = 1
        #expect(unguided.textRows.count == 1)
        #expect(try pipeline.run(unguided)[0].count == 256)
    }

    @Test func `6: every image of a batch has a seed of its own`() throws {
        let together = try pipeline.run(batch(seeds: [2, 9, 1 << 50], strength: 0.7))
        #expect(Set(together).count == 3)
        #expect(try together[1] == pipeline.run(batch(seeds: [9], strength: 0.7))[0])
    }

    @Test func `7: every step can be looked at, the mask token is never decoded`() throws {
        let batch = batch(isOpen: picture.indices.map { $0 % 16 > 7 }, strength: 1)
        try pipeline.check(batch)
        pipeline.prepare(batch)
        for step in 0..<pipeline.stepCount {
            pipeline.step(step)
            let tokens = try pipeline.tokens()
            #expect(tokens[0].allSatisfy { (0..<1024).contains($0) })
            #expect(try pipeline.detokenize(tokens)[0].allSatisfy(\.isFinite))
        }
    }

    @Test(arguments: [0.25, 0.5, 0.75] as [Float], MaskSchedule.allCases)
    func `8: painting at less than full strength begins as gently as it goes on`(
        strength: Float, schedule: MaskSchedule
    ) {
        let isOpen = picture.indices.map { $0 < 128 }
        let batch = batch(isOpen: isOpen, strength: strength) { ($0.schedule, $0.steps) = (schedule, 12) }
        let plan = MaskPlan(
            schedule, steps: 12, tokenCount: 256, masked: batch.maskedCount, firstStep: batch.firstStep,
            startingShare: batch.openShare)
        let whole = MaskPlan(schedule, steps: 12, tokenCount: 256, masked: 128, startingShare: 0.5)
        // what is masked when it begins is what a whole run would have left by then
        #expect(abs(plan.maskedBefore[0] - whole.maskedBefore[batch.firstStep]) <= 1)
        #expect(plan.maskedBefore.dropFirst() == whole.maskedBefore[(batch.firstStep + 1)...])
    }

    @Test func `9: the schedule works on each picture's own share`() throws {
        let (small, large) = (picture.indices.map { $0 < 32 }, picture.indices.map { $0 < 192 })
        let batches = [batch(isOpen: small, strength: 1), batch(isOpen: large, strength: 1)]
        #expect(batches.map(\.openShare) == [0.125, 0.75] && batches.map(\.maskedCount) == [32, 192])
        // pictures with different masks are different batches: in one they are refused
        var mixed = batches[0]
        mixed.items += batches[1].items
        #expect(throws: SettingsError.self) { try pipeline.check(mixed) }
    }
}
