import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct VQGANTests {
    static func check(_ fixture: ModelFixture, _ weights: Weights, _ tested: TestedBackend) throws {
        let b = try tested.make()
        let model = try VQGAN(weights, VQGANConfiguration(fixture.configuration), on: b)
        weights.ignore(VQGAN.ignores)
        #expect(weights.unread.isEmpty)
        let sample = model.decode(b.upload(try fixture.integers("codes")), on: b)
        try expectClose(sample, fixture.channelsLast("sample"), on: b, tested.tolerance)
        let latents = model.encode(b.uploadActivations(try fixture.channelsLast("pixels")), on: b)
        try expectClose(latents, fixture.channelsLast("latents"), on: b, tested.tolerance)
        let codes = model.codes(latents, on: b)
        #expect(codes.shape.array == (try fixture.host("nearest").shape.array))
        #expect(try b.readIntegers(codes).map { Double($0) } == (try fixture.numbers("nearest")))
    }

    @Test(arguments: ["vqmodel", "vqmodel-attention"], TestedBackend.allCases)
    func `pictures, latents and codes are those of diffusers`(_ name: String, _ tested: TestedBackend) throws {
        let fixture = try ModelFixture("models/" + name)
        try Self.check(fixture, fixture.weights, tested)
    }

    @Test func `golden numbers`() throws {
        let fixture = try ModelFixture("models/vqmodel")
        let b = ReferenceBackend()
        let model = try VQGAN(fixture.weights, VQGANConfiguration(fixture.configuration), on: b)
        let sample = try b.numbers(model.decode(b.upload(try fixture.integers("codes")), on: b))
        // The note counts [channels, height, width]; ours are [height, width, channels].
        expectClose(
            (0..<6).map { sample[$0 * 3] }, [-0.417054, -1.028300, -0.013821, 0.817704, 0.036514, -0.882472], .network)
        expectClose(
            [sample.reduce(0, +), sample.reduce(0) { $0 + abs($1) }], [2.910002, 133.514405], .network)
        let codes = model.codes(model.encode(b.uploadActivations(try fixture.channelsLast("pixels")), on: b), on: b)
        #expect(try b.readIntegers(codes) == [0, 28, 27, 25, 28, 27, 26, 4, 28, 26, 5, 28, 2, 1, 28, 19])
    }

    @Test func `attention under its old names`() throws {
        let fixture = try ModelFixture("models/vqmodel-attention")
        let old = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]
        try Self.check(fixture, .values(Self.renamed(fixture.tensors, old)), .reference)
    }

    @Test func `the names of taming`() throws {
        let fixture = try ModelFixture("models/vqmodel-attention")
        var table = [
            ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out"), ("group_norm", "norm"),
            ("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"),
            ("mid_block.attentions.0", "mid.attn_1"), ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut"),
            ("downsamplers.0", "downsample"), ("upsamplers.0", "upsample"), ("resnets", "block"),
            ("attentions", "attn"),
            ("down_blocks", "down"),
        ]
        // diffusers counts the decoder's levels from the inside.
        for level in 0..<3 { table.append(("up_blocks.\(level)", "up.\(2 - level)")) }
        var tensors = Self.renamed(try fixture.tensors, table)
        for (name, tensor) in tensors where name.contains("attn") && tensor.shape.rank == 2 {
            tensors[name] = tensor.reshaped([tensor.shape[0], tensor.shape[1], 1, 1])
        }
        tensors["loss.discriminator.main.0.weight"] = HostTensor([Float(1)], [1, 1, 1, 1])
        try Self.check(fixture, .values(tensors), .reference)
    }

    /// Replaces parts of names, in order.
    static func renamed(_ tensors: [String: HostTensor], _ table: [(String, String)]) -> [String: HostTensor] {
        var result: [String: HostTensor] = [:]
        for (name, tensor) in tensors {
            var name = "." + name
            for (old, new) in table {
                if let range = name.firstRange(of: "." + old + ".") {
                    name.replaceSubrange(range, with: "." + new + ".")
                }
            }
            result[String(name.dropFirst())] = tensor
        }
        return result
    }

    @Test func `decoding needs the memory of its largest tensors`() throws {
        let fixture = try ModelFixture("models/vqmodel")
        let b = ReferenceBackend()
        let model = try VQGAN(fixture.weights, VQGANConfiguration(fixture.configuration), on: b)
        let codes = b.upload(HostTensor([Int32](repeating: 1, count: 32 * 32), [1, 32, 32]))
        b.arena.resetPeak()
        _ = model.decode(codes, on: b)
        // At 64×64 the widest level has 16 channels at its input: that, a shortcut of 8, two tensors inside, and a norm's.
        let largest = 64 * 64 * 16 * 8
        #expect(b.arena.peak <= 4 * largest + 65536)
    }
}
