import TTI
import TTICore
import TTIFormats
import Testing

/// `run`, `tokenize`, `devices` and `bench` on what ships.
@Suite struct ComponentTests {
    let place = Workplace()

    private func run(_ component: String, _ checkpoint: String, _ options: [String] = []) throws -> SafetensorsFile {
        let outcome = CommandProcess.run(
            ["run", component, "-m", checkpoint, "--input", "in.st", "--output", "out.st", "-q"] + options,
            in: place.path)
        #expect(outcome.status == 0 && outcome.errors.isEmpty && outcome.output.isEmpty, "\(outcome)")
        return try SafetensorsFile(path: place["out.st"])
    }

    private func fixture(_ name: String) throws -> SafetensorsFile {
        try SafetensorsFile(path: CommandProcess.repository + "/Tests/Fixtures/scenes/\(name).safetensors")
    }

    private func tensor(_ name: String, _ file: SafetensorsFile) throws -> HostTensor {
        try #require(try file.tensor(name))
    }

    private func largestDifference(_ a: [Float], _ b: [Float]) -> Float {
        a.count == b.count ? zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) } : .infinity
    }

    @Test func `the text encoder and the transformer are diffusers'`() throws {
        let text = try fixture("masked-text")
        let ids = try tensor("prompt_ids", text)
        place.write("in.st", SafetensorsWriter.bytes([("input_ids", ids)]))
        let states = try run("text_encoder", "scenes-masked")
        #expect(
            states.entries.map(\.name).sorted() == ["last_hidden_state", "penultimate_hidden_state", "text_embeds"])
        let penultimate = try tensor("penultimate_hidden_state", states)
        let embeds = try tensor("text_embeds", states)
        #expect(largestDifference(penultimate.floats(), try tensor("encoder_hidden_states", text).floats()) < 1e-3)
        #expect(largestDifference(embeds.floats(), try tensor("text_embeds", text).floats()) < 1e-4)

        let masked = try fixture("masked-logits")
        let grid = try tensor("input_ids", masked).floats().map { Int32($0) }
        let micro = try tensor("micro_conditions", masked).floats()
        place.write(
            "in.st",
            SafetensorsWriter.bytes([
                ("input_ids", HostTensor(grid + grid, [2, 16, 16])), ("encoder_hidden_states", penultimate),
                ("pooled_text_emb", embeds), ("micro_conds", HostTensor(micro + micro, [2, 5])),
            ]))
        let logits = try tensor("logits", run("transformer", "scenes-masked"))
        #expect(logits.shape == [2, 1024, 16, 16] && logits.dtype == .float32)
        // The fixture has every 32nd place, codes last.
        let all = logits.floats()
        var picked: [Float] = []
        for row in 0..<2 {
            for place in 0..<8 {
                for code in 0..<1024 { picked.append(all[(row * 1024 + code) * 256 + place * 32]) }
            }
        }
        #expect(largestDifference(picked, try tensor("logits", masked).floats()) < 1e-3)
    }

    @Test func `the decoder through its cache is the decoder at once`() throws {
        let file = try fixture("ar-logits")
        let ids = try tensor("prompt_ids", file)
        let mask = HostTensor(ids.floats().map { Int32($0 == 0 ? 0 : 1) }, ids.shape)
        let tokens = try tensor("image_tokens", file).floats().map { Int32($0) }
        let start: [Int32] = [1024]
        let shifted = start + Array(tokens[0..<255]) + start + Array(tokens[256..<511])
        place.write(
            "in.st",
            SafetensorsWriter.bytes([
                ("input_ids", ids), ("attention_mask", mask), ("decoder_input_ids", HostTensor(shifted, [2, 256])),
            ]))
        let whole = try tensor("logits", run("decoder", "scenes-ar"))
        #expect(whole.shape == [2, 256, 1024])
        let all = whole.floats()
        var picked: [Float] = []
        for row in 0..<2 {
            for place in 0..<8 {
                let first = (row * 256 + place * 32) * 1024
                picked += all[first..<first + 1024]
            }
        }
        #expect(largestDifference(picked, try tensor("logits", file).floats()) < 1e-3)
        let stepwise = try tensor("logits", run("decoder", "scenes-ar", ["--incremental"])).floats()
        #expect(largestDifference(all, stepwise) < 1e-3)
        // The first row of the fixture is the empty prompt, the model's null condition.
        let null = try tensor("logits", run("decoder", "scenes-ar", ["--unconditional"])).floats()
        #expect(largestDifference(Array(null[..<(256 * 1024)]), Array(all[..<(256 * 1024)])) < 1e-4)
    }

    @Test func `codes become pixels and codes again`() throws {
        let file = try fixture("vqvae")
        place.write("in.st", SafetensorsWriter.bytes([("codes", try tensor("tokens", file))]))
        let sample = try tensor("sample", run("vqvae.decode", "scenes-ar"))
        #expect(sample.shape == [1, 3, 256, 256])
        let clipped = HostTensor(sample.floats().map { min(max($0, 0), 1) }, sample.shape)
        place.write("in.st", SafetensorsWriter.bytes([("sample", clipped)]))
        let encoded = try run("vqvae.encode", CommandProcess.repository + "/Checkpoints/scenes-masked/vqvae")
        #expect(encoded.entry("codes")?.dtypeName == "I64" && encoded.entry("latents")?.extents == [1, 16, 16, 16])
        let codes = try tensor("codes", encoded).floats()
        let expected = try tensor("codes_of_picture", file).floats()
        #expect(zip(codes, expected).count { $0 != $1 } <= 1)
    }

    @Test func `tokenize prints ids`() {
        let outcome = CommandProcess.run(["tokenize", "-m", "scenes-ar", "a large red cube"], in: place.path)
        #expect(outcome.status == 0 && outcome.lines.count == 1 && outcome.text.hasSuffix(" 1\n"), "\(outcome)")
        let many = CommandProcess.run(
            ["tokenize", "-m", "scenes-masked", "--json"], input: Array("a cube\n\nlast".utf8), in: place.path)
        #expect(many.status == 0 && many.lines.count == 3, "\(many)")
        #expect(many.lines.allSatisfy { $0.hasPrefix("{\"ids\":[671,") })
        let dashed = CommandProcess.run(["tokenize", "-m", "scenes-masked", "--", "-a"], in: place.path)
        #expect(dashed.status == 0, "\(dashed)")
        let long = CommandProcess.run(
            ["tokenize", "-m", "scenes-ar", String(repeating: "cube ", count: 100)], in: place.path)
        #expect(
            long.status == 0 && long.text.split(separator: " ").count == 40 && long.errors.contains("warning"),
            "\(long)")
    }

    @Test func `a tokenizer's own folder may hold a SentencePiece model alone`() {
        place.link("tokenizer", to: CommandProcess.repository + "/Checkpoints/scenes-ar/tokenizer")
        #expect(place.contents("tokenizer") == ["spiece.model"])
        let (own, pipeline) = (
            CommandProcess.run(["tokenize", "-m", "tokenizer", "a red cube"], in: place.path),
            CommandProcess.run(["tokenize", "-m", "scenes-ar", "a red cube"], in: place.path)
        )
        #expect(own.status == 0 && !own.lines.isEmpty && own.lines == pipeline.lines, "\(own)")
    }

    @Test func `bench says everything that it promises`() throws {
        let outcome = CommandProcess.run(
            ["bench", "decode", "-m", "scenes-ar", "--json", "--repeats", "1", "--steps", "2", "-q"], in: place.path)
        #expect(outcome.status == 0 && outcome.lines.count == 1, "\(outcome)")
        let json = try JSON(outcome.output, file: "bench")
        let keys = [
            "what", "preset", "backend", "device", "threads", "dtype", "batch", "commit", "repeats", "median_ms",
            "best_ms",
            "p10_ms", "p90_ms", "tokens_per_s", "bytes", "flops", "gb_s", "tflop_s", "bandwidth_share", "matrix_share",
            "ceilings", "peak_memory_bytes", "positions",
        ]
        for key in keys { #expect(json[key] != nil, "\(key)") }
        for key in ["read_gb_s", "copy_gb_s", "tflop_s"] { #expect(json["ceilings"]?[key]?.number ?? 0 > 0, "\(key)") }
        #expect(json["positions"]?.array?.count == 2)
    }
}
