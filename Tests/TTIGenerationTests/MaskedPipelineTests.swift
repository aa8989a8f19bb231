import TTICore
import TTIGeneration
import Testing

@Suite struct MaskedPipelineTests {
    private let pipeline: any ImagePipeline

    init() throws { pipeline = try ShippedPipelines.make("scenes-masked") }

    @Test func `tokens can be looked at after every step, and never hold the mask`() throws {
        let batch = pipeline.batch("a red cube", seeds: [1, 2])
        pipeline.prepare(batch)
        for step in 0..<pipeline.stepCount {
            pipeline.step(step)
            #expect(try pipeline.tokens().allSatisfy { image in image.allSatisfy { (0..<1024).contains($0) } })
        }
    }

    @Test(arguments: MaskSchedule.allCases, [(RevealOrder.confidence, GuidanceRamp.linear), (.halton, .cosine)])
    func `every schedule, order and ramp fills the grid`(
        schedule: MaskSchedule, _ way: (order: RevealOrder, ramp: GuidanceRamp)
    ) throws {
        let (order, ramp) = way
        let batch = pipeline.batch("a red cube", seeds: [1]) { settings in
            (settings.schedule, settings.order, settings.guidanceRamp, settings.steps) = (schedule, order, ramp, 4)
        }
        #expect(try pipeline.run(batch)[0].allSatisfy { (0..<1024).contains($0) })
    }

    @Test func `a grid that is known stays as it is`() throws {
        var batch = pipeline.batch("a red cube", seeds: [1])
        let finished = try pipeline.run(batch)[0]
        batch.items[0].initialTokens = finished
        #expect(try pipeline.run(batch)[0] == finished)
    }

    @Test func `known tokens stay, and the rest is made`() throws {
        let first = try pipeline.run(pipeline.batch("a red cube", seeds: [1]))[0]
        var batch = pipeline.batch("a blue sphere", seeds: [2])
        let kept = Set((0..<256).filter { $0 % 16 < 8 })
        batch.items[0].initialTokens = first.indices.map { kept.contains($0) ? first[$0] : -1 }
        batch.openShare = 0.5
        let second = try pipeline.run(batch)[0]
        #expect(kept.allSatisfy { second[$0] == first[$0] })
        #expect(second != first)
    }

    @Test(arguments: [0, 0.1, 0.5, 0.99, 1] as [Float])
    func `strength says how much of a picture is made anew`(strength: Float) throws {
        let first = try pipeline.run(pipeline.batch("a red cube", seeds: [1]))[0]
        var batch = pipeline.batch("a blue sphere", seeds: [2])
        SourceTokens.begin(&batch, codes: first, isOpen: nil, strength: strength)
        let masked = batch.maskedCount
        if strength == 0 { #expect(masked == 0) }
        if strength == 1 { #expect(masked == 256) }
        if strength == 0.5 { #expect((100...200).contains(masked)) }
        let second = try pipeline.run(batch)[0]
        let changed = zip(first, second).count { $0 != $1 }
        #expect(changed <= masked)
        if strength == 0 { #expect(second == first) }
    }

    @Test(arguments: [(1, 1), (3, 5), (16, 24), (20, 16)])
    func `any grid`(height: Int, width: Int) throws {
        let batch = pipeline.batch("a red cube", seeds: [1]) { settings in
            (settings.gridHeight, settings.gridWidth, settings.steps) = (height, width, 3)
        }
        #expect(try pipeline.run(batch)[0].count == height * width)
        #expect(try pipeline.detokenize(try pipeline.tokens())[0].count == height * width * 256 * 3)
    }

    @Test func `tokens that do not fit are refused`() {
        var batch = pipeline.batch("a red cube", seeds: [1])
        batch.items[0].initialTokens = [1, 2, 3]
        #expect(throws: SettingsError.self) { try pipeline.check(batch) }
        batch.items[0].initialTokens = [Int32](repeating: 1024, count: 256)
        #expect(throws: SettingsError.self) { try pipeline.check(batch) }
    }
}
