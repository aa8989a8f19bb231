import TTICPU
import TTICore
import TTIGeneration
import TTITestSupport
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

    @Test(arguments: [[3], [3, 4, 5]] as [[UInt64]])
    func `a masked step whose network is replayed makes the same tokens`(seeds: [UInt64]) throws {
        let tokens = try [false, true].map { issuesAhead in
            let backend = PrimitivesOnlyBackend(CPUBackend(weightType: .float32, threads: 2))
            backend.issuesAhead = issuesAhead
            try backend.reserve(arenaBytes: 1 << 28)
            let pipeline = try ShippedPipelines.open("scenes-masked").makePipeline(on: backend, weights: .files)
            let batch = pipeline.batch(Self.prompt, seeds: seeds) {
                ($0.steps, $0.gridHeight, $0.gridWidth) = (6, 8, 8)
            }
            // A second batch makes a recording of its own.
            return [try pipeline.run(batch), try pipeline.run(batch)]
        }
        #expect(tokens[0] == tokens[1] && tokens[0][0] == tokens[0][1])
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
