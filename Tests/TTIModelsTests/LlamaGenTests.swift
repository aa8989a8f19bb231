import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct LlamaGenTests {
    /// A network of the formula.
    struct Example {
        let fixture: ModelFixture
        let model: LlamaGen
        let backend: any Backend
        let padding: [[Int32]]
        let tokens: [[Int32]]

        init(_ backend: any Backend) throws {
            fixture = try ModelFixture("models/llamagen")
            let weights = try fixture.weights
            model = try LlamaGen(weights, LlamaGenConfiguration(fixture.configuration), on: backend)
            #expect(weights.unread.isEmpty)
            self.backend = backend
            padding = try fixture.rows("padding") { Int32($0) }
            tokens = try fixture.rows("image_tokens") { Int32($0) }
        }

        var prefix: Tensor {
            get throws {
                let features = try backend.uploadActivations(HostTensor(fixture.host("features").floats(), [2, 5, 7]))
                return model.prefix(features, on: backend)
            }
        }

        /// `[rows][places · codes]` of the file, from a row's first place that is no padding on.
        func expected(_ row: Int) throws -> [Double] {
            let all = try fixture.numbers("logits")
            let c = model.configuration
            let first = padding[row].count { $0 == 1 }
            let length = all.count / 2
            return Array(all[row * length + first * c.codebookSize..<(row + 1) * length])
        }
    }

    @Test(arguments: TestedBackend.allCases)
    func `logits are those of the PyTorch twin`(_ tested: TestedBackend) throws {
        let example = try Example(tested.make())
        let (b, c) = (example.backend, example.model.configuration)
        let keyBias = example.padding.flatMap { row in
            row.map { $0 == 1 ? -Float.infinity : 0 } + [Float](repeating: 0, count: c.imageLength)
        }
        let logits = try b.numbers(
            example.model(
                prefix: example.prefix, b.upload(HostTensor(example.tokens.flatMap { $0 }, [2, c.imageLength])),
                keyBias: b.upload(HostTensor(keyBias, [2, c.sequenceLength])), on: b))
        for row in 0..<2 {
            let expected = try example.expected(row)
            expectClose(Array(logits[..<((row + 1) * logits.count / 2)].suffix(expected.count)), expected, .network)
        }
    }

    @Test(arguments: TestedBackend.allCases)
    func `decoding through the cache equals teacher forcing`(_ tested: TestedBackend) throws {
        let example = try Example(tested.make())
        let (b, c) = (example.backend, example.model.configuration)
        // Of the caption without padding.
        let prefix = try b.numbers(example.prefix).prefix(c.textLength * c.width).map { Float($0) }
        let caches = example.model.makeCaches(rows: 1, on: b)
        let position = b.upload(HostTensor([Int32(0)], [1]))
        let mark = b.arena.mark
        var logits: [Double] = []
        for place in 0..<c.sequenceLength {
            b.arena.rewind(to: mark)
            let next: Tensor
            if place < c.textLength {
                let row = Array(prefix[place * c.width..<(place + 1) * c.width])
                next = example.model.step(
                    embedded: b.uploadActivations(HostTensor(row, [1, c.width])), at: position, caches, on: b)
            } else {
                let token = example.tokens[0][place - c.textLength]
                next = example.model.step(b.upload(HostTensor([token], [1])), at: position, caches, on: b)
            }
            logits += try b.numbers(next)
            b.increment(in: position)
        }
        expectClose(logits, try example.expected(0), .network)
    }

    @Test func `GPT-XL has the parameters that the paper counts`() {
        let c = LlamaGenConfiguration.xl
        #expect(c.mlpWidth == 3584 && c.headWidth == 64 && c.imageLength == 1024)
        let layers = c.layerCount * (4 * c.width * c.width + 3 * c.width * c.mlpWidth)
        let ends = 2 * c.codebookSize * c.width + c.textWidth * c.width + c.width * c.width
        #expect(abs(Double(layers + ends) / 1e6 - 775) < 10)
    }
}
