import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct T5TextEncoderTests {
    @Test(arguments: ["t5-gated", "t5-relu"], TestedBackend.allCases)
    func `states are those of transformers`(_ name: String, _ tested: TestedBackend) throws {
        let fixture = try ModelFixture("models/" + name)
        let b = try tested.make()
        let weights = try fixture.weights
        let model = try T5TextEncoder(weights, T5TextConfiguration(fixture.configuration), on: b)
        weights.ignore(T5TextEncoder.ignores)
        #expect(weights.unread.isEmpty)
        let tokens = TokenRows(
            try fixture.rows("input_ids") { Int32($0) }, mask: try fixture.rows("attention_mask") { $0 != 0 })
        try expectClose(model(tokens, on: b), fixture.host("last_hidden_state"), on: b, tested.tolerance)
    }

    @Test func `either name of the token table`() throws {
        let fixture = try ModelFixture("models/t5-gated")
        var tensors = try fixture.tensors
        tensors["encoder.embed_tokens.weight"] = tensors.removeValue(forKey: "shared.weight")
        let weights = Weights.values(tensors)
        _ = try T5TextEncoder(weights, T5TextConfiguration(fixture.configuration), on: ReferenceBackend())
        #expect(weights.unread.isEmpty)
    }

    @Test(arguments: [
        #"{"feed_forward_proj": "gated-what"}"#, #"{"feed_forward_proj": "gated-"}"#, #"{"d_model": 0}"#,
        #"{"num_layers": 5000}"#, #"{"relative_attention_num_buckets": 2}"#, #"{"relative_attention_max_distance": 8}"#,
    ])
    func `encoders that cannot be`(_ json: String) {
        #expect(throws: FormatError.self) { try T5TextConfiguration(ConfigurationTests.fields(json)) }
    }
}
