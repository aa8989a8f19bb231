import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct UVit2DTests {
    static let cases = ["uvit2d-512", "uvit2d-256", "uvit2d-512-odd", "uvit2d-256-plain"]

    /// A network of the formula, its tokens and its prompts.
    struct Example {
        let fixture: ModelFixture
        let model: UVit2D
        let backend: any Backend
        let tokens: Tensor
        let prompt: UVit2D.PreparedPrompt

        init(_ name: String, _ backend: any Backend) throws {
            fixture = try ModelFixture("models/" + name)
            let weights = try fixture.weights
            model = try UVit2D(weights, UVit2DConfiguration(fixture.configuration), on: backend)
            #expect(weights.unread.isEmpty)
            self.backend = backend
            tokens = backend.upload(try fixture.integers("input_ids"))
            prompt = model.prepare(
                text: backend.uploadActivations(try fixture.host("encoder_hidden_states")),
                pooled: backend.uploadActivations(try fixture.host("pooled_text_emb")),
                microConditions: try fixture.rows("micro_conds") { Float($0) }, on: backend)
        }
    }

    @Test(arguments: cases, TestedBackend.allCases)
    func `logits are those of diffusers`(_ name: String, _ tested: TestedBackend) throws {
        let example = try Example(name, tested.make())
        let logits = example.model(example.tokens, example.prompt, on: example.backend)
        let wanted = try example.fixture.channelsLast("logits")
        let grid = example.model.configuration.outputGrid(
            height: example.tokens.shape[1], width: example.tokens.shape[2])
        #expect([grid.height, grid.width] == [wanted.shape[1], wanted.shape[2]])
        try expectClose(
            logits, wanted.reshaped([wanted.shape[0], grid.height * grid.width, wanted.shape[3]]),
            on: example.backend, tested.tolerance)
    }

    /// The numbers of the research note, whatever the fixture says.
    @Test(arguments: [
        ("uvit2d-512", [0.724804, -0.375043, -0.463401, -0.575788, -0.381270, 0.380757], 2.312039, 214.520135),
        ("uvit2d-256", [0.274178, 0.479354, -0.020206, -0.084658, 0.486822, 0.033550], 129.541505, 236.696264),
    ])
    func `golden numbers`(_ name: String, _ first: [Double], _ sum: Double, _ sumOfAbsolutes: Double) throws {
        let example = try Example(name, ReferenceBackend())
        let logits = try example.backend.numbers(example.model(example.tokens, example.prompt, on: example.backend))
        // The note counts [codes, places]; ours are [places, codes].
        expectClose((0..<6).map { logits[$0 * 31] }, first, .network)
        expectClose([logits.reduce(0, +), logits.reduce(0) { $0 + abs($1) }], [sum, sumOfAbsolutes], .network)
    }

    @Test(arguments: TestedBackend.allCases)
    func `logits at places are those of the whole grid`(_ tested: TestedBackend) throws {
        let example = try Example("uvit2d-512-odd", tested.make())
        let b = example.backend
        let all = try b.numbers(example.model(example.tokens, example.prompt, on: b))
        let hidden = example.model.hidden(example.tokens, example.prompt, on: b)
        // One image: its places serve both rows of guidance.
        let places: [Int32] = [0, 5, 6, 23, 11]
        let some = example.model.logits(hidden, at: b.upload(HostTensor(places, [1, 5])), on: b)
        #expect(some.shape == [2, 5, 31])
        let wanted = (0..<2).flatMap { row in
            places.flatMap { place in (0..<31).map { all[(row * 24 + Int(place)) * 31 + $0] } }
        }
        expectClose(try b.numbers(some), wanted, .networkInBinary64)
    }

    @Test func `a shared first step gives each image its prompt's row`() throws {
        let example = try Example("uvit2d-256-plain", ReferenceBackend())
        let b = example.backend
        let all = try b.numbers(example.model(example.tokens, example.prompt, on: b))
        let hidden = example.model.hidden(example.tokens, example.prompt, on: b)
        let places: [Int32] = [0, 14, 3, 3, 7, -1, 1, 2]
        let some = try b.numbers(example.model.logits(hidden, at: b.upload(HostTensor(places, [4, 2])), on: b))
        for (index, place) in places.enumerated() where place >= 0 {
            let row = index / 4
            expectClose(
                Array(some[index * 31..<(index + 1) * 31]),
                Array(all[(row * 15 + Int(place)) * 31..<(row * 15 + Int(place) + 1) * 31]), .networkInBinary64)
        }
    }

    @Test(arguments: TestedBackend.allCases)
    func `images of one prompt are computed as alone`(_ tested: TestedBackend) throws {
        let example = try Example("uvit2d-256-plain", tested.make())
        let b = example.backend
        // Rows: two images with the first prompt, the same two with the second.
        let codes = try example.fixture.integers("input_ids")
        let both = b.concatenate([b.upload(codes), b.upload(codes)], axis: 0)
        let together = try b.read(example.model(both, example.prompt, on: b))
        let count = together.count / 4
        for prompt in 0..<2 {
            for image in 0..<2 {
                // A batch of one image with both prompts has the same prompt in the same row.
                let tokens = b.upload(codes).prefixRows(image..<image + 1)
                let single = b.concatenate([tokens, tokens], axis: 0)
                let alone = try b.read(example.model(single, example.prompt, on: b))
                let row = prompt * 2 + image
                let isEqual = together[row * count..<(row + 1) * count]
                    .elementsEqual(alone[prompt * count..<(prompt + 1) * count])
                #expect(isEqual, "image \(image) of prompt \(prompt)")
            }
        }
    }

    @Test func `a missing tensor, a wrong shape and a leftover are noticed`() throws {
        let fixture = try ModelFixture("models/uvit2d-256")
        let configuration = try UVit2DConfiguration(fixture.configuration)
        for name in try fixture.tensors.keys {
            var tensors = try fixture.tensors
            tensors[name] = nil
            #expect(throws: ModelError.self, "without \(name)") {
                try UVit2D(.values(tensors), configuration, on: ReferenceBackend(arenaBytes: 4096))
            }
        }
        var tensors = try fixture.tensors
        tensors["project_to_hidden.weight"] = HostTensor([Float](repeating: 0, count: 8), [4, 2])
        #expect(throws: ModelError.self) {
            try UVit2D(.values(tensors), configuration, on: ReferenceBackend(arenaBytes: 4096))
        }
        tensors = try fixture.tensors
        tensors["project_to_hidden.bias"] = HostTensor([Float](repeating: 0, count: 16), [16])
        let weights = Weights.values(tensors)
        _ = try UVit2D(weights, configuration, on: ReferenceBackend(arenaBytes: 4096))
        weights.ignore(UVit2D.ignores)
        #expect(weights.unread == ["project_to_hidden.bias"])
    }
}
