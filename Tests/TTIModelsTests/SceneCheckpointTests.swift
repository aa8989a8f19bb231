import TTICPU
import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

/// The checkpoints that ship, against PyTorch and diffusers in float32.
@Suite struct SceneCheckpointTests {
    static let b = TestedBackend.cpu

    static func component(_ name: String) throws -> (weights: Weights, configuration: Configuration) {
        let folder = try CheckpointFolder(path: "\(ModelFixture.folder)/../Checkpoints/\(name)")
        return (.checkpoint(try folder.weights()), try folder.configuration())
    }

    /// Every `step`-th row of `[batch, rows, width]`.
    static func everyRow(_ tensor: Tensor, step: Int, on b: any Backend) throws -> [Double] {
        rows(
            Array(stride(from: 0, to: tensor.rowCount, by: step)), of: try b.numbers(tensor), width: tensor.shape.last)
    }

    static func textEncoder(
        _ fixture: ModelFixture, on b: any Backend
    ) throws -> CLIPTextModel.Output {
        let (weights, file) = try component("scenes-masked/text_encoder")
        let model = try CLIPTextModel(weights, CLIPTextConfiguration(file), on: b)
        weights.ignore(CLIPTextModel.ignores)
        #expect(weights.unread.isEmpty)
        return model(TokenRows(try fixture.rows("prompt_ids") { Int32($0) }), on: b)
    }

    @Test func `text states of scenes-masked are those of transformers`() throws {
        let b = try Self.b.make()
        let fixture = try ModelFixture("scenes/masked-text")
        let text = try Self.textEncoder(fixture, on: b)
        try expectClose(text.penultimate, fixture.host("encoder_hidden_states"), on: b, Self.b.tolerance)
        try expectClose(#require(text.projected), fixture.host("text_embeds"), on: b, Self.b.tolerance)
    }

    @Test func `logits of scenes-masked are those of diffusers`() throws {
        let b = try Self.b.make()
        let fixture = try ModelFixture("scenes/masked-logits")
        let text = try Self.textEncoder(fixture, on: b)
        let (weights, file) = try Self.component("scenes-masked/transformer")
        let model = try UVit2D(weights, UVit2DConfiguration(file), on: b)
        #expect(weights.unread.isEmpty)
        let prompt = model.prepare(
            text: text.penultimate, pooled: try #require(text.projected),
            microConditions: try fixture.rows("micro_conditions") { Float($0) }, on: b)
        let grid = b.upload(try fixture.integers("input_ids"))
        let logits = model(b.concatenate([grid, grid], axis: 0), prompt, on: b)
        let wanted = try fixture.host("logits")
        let step = logits.shape[1] / wanted.shape[1]
        expectClose(try Self.everyRow(logits, step: step, on: b), wanted.doubles(), Self.b.tolerance)
    }

    @Test func `pictures and codes of scenes-masked are those of diffusers`() throws {
        let b = try Self.b.make()
        let fixture = try ModelFixture("scenes/vqvae")
        let (weights, file) = try Self.component("scenes-masked/vqvae")
        let model = try VQGAN(weights, VQGANConfiguration(file), on: b)
        #expect(weights.unread.isEmpty)
        let picture = model.decode(b.upload(try fixture.integers("tokens")), on: b)
        let pixels = try b.numbers(picture)
        let side = picture.shape[1]
        func patch(_ rows: Range<Int>) -> [Double] {
            (0..<3).flatMap { channel in
                rows.flatMap { y in rows.map { x in pixels[(y * side + x) * 3 + channel] } }
            }
        }
        expectClose(patch(0..<16), try fixture.numbers("picture_corner"), Self.b.tolerance)
        expectClose(patch(112..<144), try fixture.numbers("picture_patch"), Self.b.tolerance)
        let clamped = pixels.map { Float(min(max($0, 0), 1)) }
        let latents = model.encode(b.upload(HostTensor(clamped, picture.shape)), on: b)
        let codes = try b.readIntegers(model.codes(latents, on: b)).map { Double($0) }
        let wanted = try fixture.numbers("codes_of_picture")
        // A picture's latent can lie as near to one code as to another.
        #expect(zip(codes, wanted).count { $0 != $1 } <= 1)
    }

    /// The scene model that decodes token by token, and its prompts.
    static func parti(_ fixture: ModelFixture, on b: any Backend) throws -> (Parti, Parti.Text, Parti.PreparedPrompt) {
        let (weights, file) = try component("scenes-ar/transformer")
        let c = try PartiConfiguration(file)
        let model = try Parti(weights, c, on: b)
        #expect(weights.unread.isEmpty)
        let text = model.encode(TokenRows(try fixture.rows("prompt_ids") { Int32($0) }).masking(c.padToken), on: b)
        return (model, text, model.prepare(text, on: b))
    }

    @Test func `states and logits of scenes-ar are those of the PyTorch twin, also through the cache`() throws {
        let b = try Self.b.make()
        let fixture = try ModelFixture("scenes/ar-logits")
        let (model, text, prompt) = try Self.parti(fixture, on: b)
        let states = try b.numbers(text.states)
        expectClose(
            stride(from: 0, to: states.count, by: 16).map { states[$0] }, try fixture.numbers("last_hidden_state"),
            Self.b.tolerance)

        let inputs = try fixture.rows("image_tokens") { Int32($0) }
            .map { [Int32(model.configuration.startToken)] + $0.dropLast() }
        let count = inputs[0].count
        let logits = model(b.upload(HostTensor(inputs.flatMap { $0 }, [2, count])), prompt, on: b)
        let wanted = try fixture.host("logits")
        expectClose(try Self.everyRow(logits, step: count / wanted.shape[1], on: b), wanted.doubles(), Self.b.tolerance)

        let all = try b.numbers(logits)
        let codes = model.configuration.codebookSize
        let caches = model.makeCaches(rows: 2, on: b)
        let position = b.upload(HostTensor([Int32(0)], [1]))
        let mark = b.arena.mark
        for step in 0..<count {
            b.arena.rewind(to: mark)
            let tokens = b.upload(HostTensor(inputs.map { $0[step] }, [2]))
            let found = try b.numbers(model.step(tokens, at: position, caches, prompt, on: b))
            let expected = rows([step, count + step], of: all, width: codes)
            expectClose(found, expected, .network)
            b.increment(in: position)
        }
    }

    @Test func `the likeliest tokens of scenes-ar are those of the PyTorch twin`() throws {
        let b = try Self.b.make()
        let fixture = try ModelFixture("scenes/ar-logits")
        let (model, _, prompt) = try Self.parti(fixture, on: b)
        let wanted = try fixture.rows("greedy_tokens") { Int32($0) }[0]
        let codes = model.configuration.codebookSize
        let caches = model.makeCaches(rows: 2, on: b)
        let position = b.upload(HostTensor([Int32(0)], [1]))
        let mark = b.arena.mark
        var tokens = [Int32(model.configuration.startToken)]
        for _ in wanted.indices {
            b.arena.rewind(to: mark)
            let token = b.upload(HostTensor([tokens[tokens.count - 1]], [1]))
            let logits = try b.numbers(model.step(token, at: position, caches, prompt, on: b))
            let guided = (0..<codes).map { logits[$0] + 1.5 * (logits[codes + $0] - logits[$0]) }
            tokens.append(Int32(guided.indices.max { guided[$0] < guided[$1] } ?? 0))
            b.increment(in: position)
        }
        #expect(Array(tokens.dropFirst()) == wanted)
    }
}
