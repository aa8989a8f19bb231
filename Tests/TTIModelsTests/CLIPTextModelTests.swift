import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct CLIPTextModelTests {
    static func output(
        _ fixture: ModelFixture, _ weights: Weights, on b: any Backend
    ) throws -> CLIPTextModel.Output {
        let configuration = try CLIPTextConfiguration(fixture.configuration)
        let model = try CLIPTextModel(weights, configuration, on: b)
        weights.ignore(CLIPTextModel.ignores)
        #expect(weights.unread.isEmpty)
        let tokens = TokenRows(
            try fixture.rows("input_ids") { Int32($0) },
            mask: fixture.file.contains("attention_mask") ? try fixture.rows("attention_mask") { $0 != 0 } : nil)
        try tokens.check(
            vocabularySize: configuration.vocabularySize, maximumLength: configuration.maximumLength)
        return model(tokens, on: b)
    }

    static func check(
        _ output: CLIPTextModel.Output, _ fixture: ModelFixture, _ tested: TestedBackend, on b: any Backend
    ) throws {
        try expectClose(output.penultimate, fixture.host("penultimate_hidden_state"), on: b, tested.tolerance)
        try expectClose(output.lastHidden, fixture.host("last_hidden_state"), on: b, tested.tolerance)
        if fixture.file.contains("text_embeds") {
            try expectClose(#require(output.projected), fixture.host("text_embeds"), on: b, tested.tolerance)
        } else {
            try expectClose(output.pooled, fixture.host("pooler_output"), on: b, tested.tolerance)
            #expect(output.projected == nil)
        }
    }

    @Test(arguments: ["clip-projection", "clip-mask", "clip-argmax"], TestedBackend.allCases)
    func `states are those of transformers`(_ name: String, _ tested: TestedBackend) throws {
        let fixture = try ModelFixture("models/" + name)
        let b = try tested.make()
        try Self.check(Self.output(fixture, fixture.weights, on: b), fixture, tested, on: b)
    }

    @Test func `golden numbers`() throws {
        let fixture = try ModelFixture("models/clip-projection")
        let b = ReferenceBackend()
        let output = try Self.output(fixture, fixture.weights, on: b)
        func check(_ tensor: Tensor, _ first: [Double], _ sum: Double, _ sumOfAbsolutes: Double) throws {
            let numbers = try b.numbers(tensor)
            expectClose(Array(numbers.prefix(6)), first, .network)
            expectClose([numbers.reduce(0, +), numbers.reduce(0) { $0 + abs($1) }], [sum, sumOfAbsolutes], .network)
        }
        try check(
            output.penultimate, [-3.243639, 1.036906, 1.713346, -1.522585, 0.835547, 0.311987], 6.537573, 58.136148)
        try check(
            output.lastHidden, [-2.120027, 0.969386, 0.673624, -1.041183, 0.689366, -0.125747], -1.825663, 58.074347)
        try check(
            #require(output.projected), [1.511948, 0.279177, -1.323232, 1.513712, 0.280941, -1.321468], 0.941079,
            6.230478)
    }

    @Test func `names with and without their old prefix, and what old files carry besides`() throws {
        for (name, rename) in [
            ("clip-projection", { (name: String) in String(name.dropFirst("text_model.".count)) }),
            ("clip-mask", { (name: String) in "text_model." + name }),
        ] {
            let fixture = try ModelFixture("models/" + name)
            var tensors: [String: HostTensor] = [:]
            for (name, tensor) in try fixture.tensors {
                tensors[name == "text_projection.weight" ? name : rename(name)] = tensor
            }
            tensors["text_model.embeddings.position_ids"] = HostTensor((0..<8).map { Int32($0) }, [1, 8])
            let b = ReferenceBackend()
            try Self.check(Self.output(fixture, .values(tensors), on: b), fixture, .reference, on: b)
        }
    }

    @Test func `tokens that the model cannot take are refused`() {
        #expect(throws: FormatError.self) { try TokenRows([[1, 100]]).check(vocabularySize: 100, maximumLength: 8) }
        #expect(throws: FormatError.self) { try TokenRows([[1, -1]]).check(vocabularySize: 100, maximumLength: 8) }
        #expect(throws: FormatError.self) { try TokenRows([[1, 2, 3]]).check(vocabularySize: 100, maximumLength: 2) }
    }
}
