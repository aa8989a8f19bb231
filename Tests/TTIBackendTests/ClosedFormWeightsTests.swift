import TTICore
import TTITestSupport
import Testing

struct ClosedFormWeightsTests {
    @Test func `the formula, names in byte order, kinds of tensors`() throws {
        #expect(ClosedFormWeights.value(0, 0) == 2338.0 / 10007 - 0.5)
        #expect(ClosedFormWeights.value(2, 5) == Double((7919 * 5 + 104_729 * 2 + 12345) % 10007) / 10007 - 0.5)
        let tensors = ClosedFormWeights.tensors([
            "norm.weight": [2], "embeddings.position_ids": [1, 4], "linear.bias": [3], "Linear.weight": [2, 2],
            "grn.gamma": [1, 1, 1, 2],
        ])
        #expect(tensors.count == 4)
        func first(_ name: String) throws -> Double { try #require(tensors[name]).doubles()[0] }
        // Capitals come first: Linear.weight 0, grn.gamma 1, linear.bias 2, norm.weight 3.
        #expect(try first("Linear.weight") == ClosedFormWeights.value(0, 0))
        #expect(try first("grn.gamma") == 0.5 * ClosedFormWeights.value(1, 0))
        #expect(try first("linear.bias") == 0.2 * ClosedFormWeights.value(2, 0))
        #expect(try first("norm.weight") == 1 + 0.2 * ClosedFormWeights.value(3, 0))
    }

    @Test func `fixtures are found`() throws {
        let fixture = try Fixture("scenes/vqvae")
        #expect(!fixture.file.entries.isEmpty && fixture.metadata("nothing") == nil)
        #expect(throws: (any Error).self) { try fixture.tensor("nothing") }
    }
}
