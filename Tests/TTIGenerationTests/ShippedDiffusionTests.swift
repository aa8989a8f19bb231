import TTICore
import TTIGeneration
import TTITestSupport
import Testing

/// `Checkpoints/scenes-diffusion` against diffusers' StableDiffusionPipeline, in float32.
@Suite struct ShippedDiffusionTests {
    /// `[1, channels, height, width]` as `[height, width, channels]`.
    static func channelsLast(_ tensor: HostTensor) -> [Double] {
        let (values, channels) = (tensor.doubles(), tensor.shape[1])
        let pixels = values.count / channels
        return (0..<values.count).map { values[$0 % channels * pixels + $0 / channels] }
    }

    @Test func `four steps from the same noise give diffusers' latents and picture`() throws {
        let fixture = try Fixture("scenes/diffusion")
        let pipeline = try ShippedPipelines.make("scenes-diffusion")
        var batch = pipeline.batch("a large red cube to the left of a small blue sphere", seeds: [0]) {
            ($0.steps, $0.guidance) = (4, 2.5)
        }
        batch.items[0].initialLatents = Self.channelsLast(try fixture.tensor("noise")).map(Float.init)
        try pipeline.check(batch)
        pipeline.prepare(batch)
        for step in 0..<pipeline.stepCount { pipeline.step(step) }
        let codes = try pipeline.codes()
        let latents = Difference(
            codes[0].latents.map(Double.init), from: Self.channelsLast(try fixture.tensor("latents")))
        #expect(latents.isWithin(.pipeline), "\(latents)")

        let pixels = try pipeline.decode(codes)[0].map { 2 * Double($0) - 1 }  // [256, 256, 3]
        let patch = (112..<144).flatMap { row in (112 * 3..<144 * 3).map { pixels[row * 768 + $0] } }
        let picture = Difference(patch, from: Self.channelsLast(try fixture.tensor("picture_patch")))
        #expect(picture.isWithin(.pipeline), "\(picture)")
    }

    @Test func `the checkpoint's own settings are those that were chosen for it`() throws {
        let defaults = try ShippedPipelines.make("scenes-diffusion").defaults
        #expect(defaults.scheduler == .dpmSolver && defaults.steps == 20 && defaults.guidance == 2.5)
    }
}
