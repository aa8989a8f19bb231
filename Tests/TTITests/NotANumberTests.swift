import Testing

/// What comes of a checkpoint whose numbers are not: a damage that no reader of files can see.
@Suite struct NotANumberTests {
    let place = Workplace()

    init() {
        place.copyCheckpoint("scenes-ar")
        let weights = "model/transformer/model.safetensors"
        var bytes = place.read(weights)
        for index in bytes.count - 4096..<bytes.count { bytes[index] = 0xFF }  // bfloat16 0xFFFF is not a number
        place.write(weights, bytes)
    }

    @Test func `it is one line, exit code 81, and nothing on disk`() {
        let outcome = CommandProcess.run(["generate", "x", "-m", "model", "-o", "a.png", "-q"], in: place.path)
        #expect(outcome.status == 81 && outcome.isOneError("numerics"), "\(outcome)")
        #expect(place.contents() == ["model"])
    }

    @Test func `the other prompts of a list are made, and the exit code is 83`() {
        place.write(
            "list.jsonl",
            """
            {"id": "bad", "prompt": "x", "checkpoint": "model"}
            {"id": "good", "prompt": "a red cube", "checkpoint": "scenes-ar"}
            """)
        let outcome = CommandProcess.run(
            ["generate", "--prompts", "list.jsonl", "-o", "{id}.png", "-q"], in: place.path)
        #expect(outcome.status == 83 && outcome.lines == ["good.png"], "\(outcome)")
        #expect(outcome.errors.contains("'list.jsonl', line 1") && outcome.errors.contains("1 of 2 prompts failed"))
        #expect(place.contents() == ["good.png", "list.jsonl", "model"])
    }
}
