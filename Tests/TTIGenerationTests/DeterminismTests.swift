import TTICore
import TTIGeneration
import Testing

/// The same seed gives the same tokens, whatever else is going on.
@Suite struct DeterminismTests {
    static let prompt = "a large red cube to the left of a small blue sphere"

    @Test(arguments: ["scenes-masked", "scenes-ar"], [DType.float32, .bfloat16])
    func `an image of a batch is the same as alone`(checkpoint: String, weightType: DType) throws {
        let pipeline = try ShippedPipelines.make(checkpoint, weightType)
        let seeds: [UInt64] = [3, 4, 1 << 40, 5, 6]
        let together = try pipeline.run(pipeline.batch(Self.prompt, seeds: seeds))
        #expect(Set(together).count == seeds.count, "different seeds, different images")
        for (index, seed) in seeds.enumerated() {
            #expect(try pipeline.run(pipeline.batch(Self.prompt, seeds: [seed])) == [together[index]], "seed \(seed)")
        }
    }

    @Test(arguments: ["scenes-masked", "scenes-ar"])
    func `an image is the same beside other prompts`(checkpoint: String) throws {
        let pipeline = try ShippedPipelines.make(checkpoint)
        var batch = pipeline.batch(Self.prompt, seeds: [11, 12, 13])
        batch.items[1].prompt = pipeline.tokenize("a shiny green cone on a checkered floor")
        let together = try pipeline.run(batch)
        let alone = try pipeline.run(pipeline.batch(Self.prompt, seeds: [11, 13]))
        #expect(together[0] == alone[0] && together[2] == alone[1])
    }

    @Test(arguments: ["scenes-masked", "scenes-ar"])
    func `an image is the same with any number of threads`(checkpoint: String) throws {
        let tokens = try [1, 2, 5].map { threads in
            let pipeline = try ShippedPipelines.make(checkpoint, threads: threads)
            return try pipeline.run(pipeline.batch(Self.prompt, seeds: [21, 22]))
        }
        #expect(tokens[0] == tokens[1] && tokens[0] == tokens[2])
    }

    @Test(arguments: ["scenes-masked", "scenes-ar"])
    func `pixels are the same with any number of threads, and every image's its own`(checkpoint: String) throws {
        let pixels = try [1, 3].map { threads in
            let pipeline = try ShippedPipelines.make(checkpoint, threads: threads)
            return try pipeline.detokenize(try pipeline.run(pipeline.batch(Self.prompt, seeds: [21, 22])))
        }
        #expect(pixels[0] == pixels[1])
        #expect(pixels[0][0] != pixels[0][1])
    }
}
