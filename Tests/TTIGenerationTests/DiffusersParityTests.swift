import TTICore
import TTIFormats
import TTIGeneration
import Testing

/// Tokens equal to those of diffusers' AmusedPipeline, draw by draw (`Scripts/fixtures/make_generation_fixtures.py`).
@Suite struct DiffusersParityTests {
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
