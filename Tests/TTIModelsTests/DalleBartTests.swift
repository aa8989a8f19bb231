import TTICPU
import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct DalleBartTests {
    static let cases = ["dalle-bart", "dalle-bart-scales"]

    /// A network of the formula, and its prompts.
    struct Example {
        let fixture: ModelFixture
        let model: DalleBart
        let backend: any Backend
        let text: DalleBart.Text
        let prompt: DalleBart.PreparedPrompt

        /// - Parameter isCalm: whether weights are scaled down, for which the fixture has no outputs.
        init(_ name: String, _ backend: any Backend, isCalm: Bool = false) throws {
            fixture = try ModelFixture("models/" + name)
            let weights = isCalm ? .values(try fixture.tensors.mapValues(ClosedFormWeights.calm)) : try fixture.weights
            let c = try DalleBartConfiguration(fixture.configuration)
            model = try DalleBart(weights, c, on: backend)
            #expect(weights.unread.isEmpty)
            self.backend = backend
            text = model.encode(
                TokenRows(try fixture.rows("prompt_ids") { Int32($0) }).masking(c.padToken), on: backend)
            prompt = model.prepare(text, on: backend)
        }

        /// The start token, and all image tokens but the last.
        func inputs() throws -> [[Int32]] {
            try fixture.rows("image_tokens") { Int32($0) }.map {
                [Int32(model.configuration.startToken)] + $0.dropLast()
            }
        }

        /// Logits of the whole sequence, `[rows, tokens, codes]`.
        func teacherForced() throws -> Tensor {
            let inputs = try inputs()
            let tokens = backend.upload(HostTensor(inputs.flatMap { $0 }, [inputs.count, inputs[0].count]))
            return model(tokens, prompt, on: backend)
        }

        /// Logits of one step after another, `[rows][tokens · codes]`.
        func decoded(_ inputs: [[Int32]]) throws -> [[Double]] {
            let b = backend
            let rows = prompt.batch
            let caches = model.makeCaches(rows: rows, on: b)
            let position = b.upload(HostTensor([Int32(0)], [1]))
            let mark = b.arena.mark
            var logits = [[Double]](repeating: [], count: rows)
            for step in inputs[0].indices {
                b.arena.rewind(to: mark)
                let tokens = b.upload(HostTensor(inputs.map { $0[step] }, [inputs.count]))
                let numbers = try b.numbers(model.step(tokens, at: position, caches, prompt, on: b))
                for row in 0..<rows {
                    logits[row] += numbers[row * numbers.count / rows..<(row + 1) * numbers.count / rows]
                }
                b.increment(in: position)
            }
            return logits
        }
    }

    @Test(arguments: cases, TestedBackend.allCases)
    func `states and logits are those of the PyTorch twin`(_ name: String, _ tested: TestedBackend) throws {
        let example = try Example(name, tested.make())
        let b = example.backend
        try expectClose(example.text.states, example.fixture.host("last_hidden_state"), on: b, tested.tolerance)
        try expectClose(example.teacherForced(), example.fixture.host("logits"), on: b, tested.tolerance)
    }

    @Test(arguments: cases, TestedBackend.allCases)
    func `decoding through the cache equals teacher forcing`(_ name: String, _ tested: TestedBackend) throws {
        let example = try Example(name, tested.make())
        let logits = try example.decoded(example.inputs()).flatMap { $0 }
        expectClose(logits, try example.fixture.numbers("logits"), .network)
    }

    @Test(arguments: cases)
    func `weights in bfloat16`(_ name: String) throws {
        let b = CPUBackend(weightType: .bfloat16, threads: 2)
        try b.reserve(arenaBytes: 64 << 20)
        let example = try Example(name, b, isCalm: true)
        let reference = ReferenceBackend()
        let wanted = try reference.numbers(Example(name, reference, isCalm: true).teacherForced())
        expectClose(try b.numbers(example.teacherForced()), wanted, .networkInBFloat16)
        expectClose(try example.decoded(example.inputs()).flatMap { $0 }, wanted, .networkInBFloat16)
    }

    @Test(arguments: TestedBackend.allCases)
    func `one image's tokens serve both rows of guidance`(_ tested: TestedBackend) throws {
        let example = try Example("dalle-bart", tested.make())
        let first = try example.inputs()[0]
        let shared = try example.decoded([first])
        let separate = try example.decoded([first, first])
        #expect(shared == separate)
    }

    @Test func `scales are where the file has them, the others are needed`() throws {
        let fixture = try ModelFixture("models/dalle-bart")
        var tensors = try fixture.tensors
        #expect(tensors["encoder.layers.0.pre_self_attn_layer_norm.weight"] == nil)
        tensors["encoder.layers.0.self_attn_layer_norm.weight"] = nil
        #expect(throws: ModelError.self) {
            try DalleBart(
                .values(tensors), DalleBartConfiguration(fixture.configuration),
                on: ReferenceBackend(arenaBytes: 4096))
        }
    }
}
