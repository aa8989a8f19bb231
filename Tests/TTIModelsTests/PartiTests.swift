import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct PartiTests {
    static let cases = ["parti", "parti-window", "parti-relu"]

    /// A network of the formula, and its prompts.
    struct Example {
        let fixture: ModelFixture
        let model: Parti
        let backend: any Backend
        let text: Parti.Text
        let prompt: Parti.PreparedPrompt

        init(_ name: String, _ backend: any Backend) throws {
            fixture = try ModelFixture("models/" + name)
            let weights = try fixture.weights
            let c = try PartiConfiguration(fixture.configuration)
            model = try Parti(weights, c, on: backend)
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
        let inputs = try example.inputs()
        let tokens = b.upload(HostTensor(inputs.flatMap { $0 }, [2, inputs[0].count]))
        try expectClose(
            example.model(tokens, example.prompt, on: b), example.fixture.host("logits"), on: b, tested.tolerance)
    }

    @Test(arguments: cases, TestedBackend.allCases)
    func `decoding through the cache equals teacher forcing`(_ name: String, _ tested: TestedBackend) throws {
        let example = try Example(name, tested.make())
        let logits = try example.decoded(example.inputs()).flatMap { $0 }
        expectClose(logits, try example.fixture.numbers("logits"), .network)
    }

    @Test(arguments: TestedBackend.allCases)
    func `one image's tokens serve both rows of guidance`(_ tested: TestedBackend) throws {
        let example = try Example("parti", tested.make())
        let first = try example.inputs()[0]
        let shared = try example.decoded([first])
        let separate = try example.decoded([first, first])
        #expect(shared == separate)
    }

    @Test func `no biases where the file has none`() throws {
        let fixture = try ModelFixture("models/parti")
        #expect(try !fixture.tensors.keys.contains { $0.hasSuffix("bias") })
        var tensors = try fixture.tensors
        tensors["decoder.layers.0.fc2.weight"] = nil
        #expect(throws: ModelError.self) {
            try Parti(
                .values(tensors), PartiConfiguration(fixture.configuration), on: ReferenceBackend(arenaBytes: 4096))
        }
    }

    @Test func `every size of Table 1 has the parameters that the paper counts`() {
        for (c, millions) in [
            (PartiConfiguration.parti350M, 352.0), (.parti750M, 755), (.parti3B, 3020), (.parti20B, 20401),
        ] {
            let w = c.width
            let encoder = c.encoderLayerCount * (4 * w * w + 2 * w * c.encoderMLPWidth)
            let decoder = c.decoderLayerCount * (8 * w * w + 2 * w * c.decoderMLPWidth)
            #expect(abs(Double(encoder + decoder) / 1e6 - millions) < millions / 100)
            #expect(c.width % c.headCount == 0 && c.imageLength == 1024)
        }
    }
}
