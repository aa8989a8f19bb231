import TTICore
import TTIFormats
import TTIGeneration
import TTITestSupport
import Testing

/// Tokens equal to those of diffusers' AmusedPipeline, draw by draw (`Scripts/fixtures/make_generation_fixtures.py`).
@Suite struct DiffusersParityTests {
    @Test func `the shipped diffusion checkpoint makes diffusers' latents`() throws {
        let file = try Fixture("generation/diffusion_latents")
        let expected = try file.tensor("latents")
        let pipeline = try ShippedPipelines.make("scenes-diffusion")
        let batch = pipeline.batch(
            try #require(file.metadata("prompt")), seeds: [UInt64(try #require(file.metadata("seed"))) ?? 0]
        ) { $0.randomNumbers = .torch }
        _ = try pipeline.run(batch)
        let found = try pipeline.codes()[0].latents
        let (channels, pixels) = (expected.shape[1], expected.shape[2] * expected.shape[3])
        let values = expected.doubles()
        let wanted = values.indices.map { values[$0 % channels * pixels + $0 / channels] }
        let difference = Difference(found.map(Double.init), from: wanted)
        #expect(difference.isWithin(.pipeline), "\(difference)")
        // and an image of a batch is the image alone
        let together = pipeline.batch("two green cones", seeds: [3, 4, 5])
        _ = try pipeline.run(together)
        let second = try pipeline.codes()[1]
        _ = try pipeline.run(pipeline.batch("two green cones", seeds: [4]))
        #expect(try pipeline.codes() == [second])
    }

    @Test(arguments: 0..<3)
    func `the shipped masked checkpoint makes diffusers' tokens`(index: Int) throws {
        let file = try SafetensorsFile(
            path: ShippedPipelines.root + "/Tests/Fixtures/generation/amused_tokens.safetensors")
        let text = try #require(file.metadata.first { $0.key == "cases" }).value
        let cases = try #require(try JSON(Array(text.utf8), file: "cases").array)
        let entry = cases[index]
        let expected = try #require(try TensorFiles(file).tensor("codes.\(index)")).floats().map { Int32($0) }

        let pipeline = try ShippedPipelines.make("scenes-masked")
        let seed = try #require(entry["seed"]?.integer)
        let noise = try #require(entry["temperature"]?.array).compactMap { $0.number }
        let batch = pipeline.batch(
            try #require(entry["prompt"]?.string), negative: entry["negative"]?.string ?? "", seeds: [UInt64(seed)]
        ) { settings in
            settings.steps = entry["steps"]?.integer ?? 0
            settings.guidance = Float(entry["guidance"]?.number ?? 0)
            settings.temperature = [Float(noise[0]), Float(noise[1])]
            settings.randomNumbers = .torch
        }
        #expect(try pipeline.run(batch) == [expected])
    }
}
