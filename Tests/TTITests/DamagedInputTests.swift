import Glibc
import TTI
import TTICore
import TTIFormats
import Testing

/// A file that is given to the command and is wrong.
struct DamagedInput: Sendable, CustomTestStringConvertible {
    let name: String
    let arguments: [String]
    let status: Int32
    let mentions: String
    let prepare: @Sendable (Workplace) -> Void

    var testDescription: String { name }

    init(
        _ name: String, _ line: String, _ status: Int32, _ mentions: String,
        _ prepare: @escaping @Sendable (Workplace) -> Void = { _ in }
    ) {
        self.name = name
        arguments = line.split(separator: " ").map(String.init)
        self.status = status
        self.mentions = mentions
        self.prepare = prepare
    }

    private static func prompts(_ name: String, _ mentions: String, _ lines: String) -> DamagedInput {
        DamagedInput("prompts: " + name, "generate --prompts in.txt -o out", 65, mentions) { $0.write("in.txt", lines) }
    }

    private static func image(_ name: String, _ mentions: String, _ bytes: [UInt8]) -> DamagedInput {
        DamagedInput("image: " + name, "generate cube --image in.png -o out", 65, mentions) {
            $0.write("in.png", bytes)
        }
    }

    private static func tokens(_ name: String, _ mentions: String, _ bytes: [UInt8]) -> DamagedInput {
        DamagedInput("tokens: " + name, "generate cube --init-tokens in.st -o out", 65, mentions) {
            $0.write("in.st", bytes)
        }
    }

    private static func codes(_ values: [Int32], _ shape: Shape, name: String = "codes") -> [UInt8] {
        SafetensorsWriter.bytes([(name, HostTensor(values, shape))])
    }

    private static func run(_ name: String, _ component: String, _ mentions: String, _ bytes: [UInt8]) -> DamagedInput {
        let checkpoint = component == "encoder" || component == "decoder" ? "scenes-ar" : "scenes-masked"
        return DamagedInput(
            "run: " + name, "run \(component) -m \(checkpoint) --input in.st --output out/o.st", 65, mentions
        ) { $0.write("in.st", bytes) }
    }

    private static func picture(_ width: Int, _ height: Int) -> [UInt8] {
        let pixels = (0..<width * height * 3).map { UInt8(truncatingIfNeeded: $0 &* 37) }
        return (try? RGBImage(width: width, height: height, pixels: pixels).pngBytes()) ?? []
    }

    static let all: [DamagedInput] = promptFiles + pictures + tokenFiles + networkInputs + stored

    private static let promptFiles: [DamagedInput] = [
        prompts("empty", "no prompt", ""),
        prompts("blank lines only", "no prompt", "\n  \n\n"),
        prompts("a key that is no option", "line 2", "cube\n{\"prompt\": \"x\", \"stepz\": 3}\n"),
        prompts("a nearly right key", "steps", "{\"prompt\": \"x\", \"step\": 3}"),
        prompts("a value out of range", "line 3", "a\nb\n{\"prompt\": \"x\", \"steps\": 0}\n"),
        prompts("a value of the wrong type", "line 1", "{\"prompt\": 3}"),
        prompts("an object as a value", "line 1", "{\"prompt\": \"x\", \"seed\": {}}"),
        prompts("an output of another format", "line 1", "{\"prompt\": \"x\", \"output\": \"out/x.jpeg\"}"),
        prompts("no prompt in a line", "prompt", "{\"seed\": 3}"),
        prompts("broken JSON", "line 2", "a\n{\"prompt\": \"x\"\n"),
        prompts("an option of the whole command", "line 1", "{\"prompt\": \"x\", \"backend\": \"cpu\"}"),
        prompts("an id with a slash", "line 1", "{\"prompt\": \"x\", \"id\": \"../x\"}"),
        prompts("an empty id", "line 1", "{\"prompt\": \"x\", \"id\": \"\"}"),
        prompts(
            "an id of 300 bytes", "line 1",
            "{\"prompt\": \"x\", \"id\": \"" + String(repeating: "i", count: 300) + "\"}"),
        prompts(
            "the same id twice", "line 1", "{\"prompt\": \"x\", \"id\": \"a\"}\n{\"prompt\": \"y\", \"id\": \"a\"}"),
        prompts(
            "a mode that the checkpoint lacks", "line 1",
            "{\"prompt\": \"x\", \"mode\": \"ar\", \"checkpoint\": \"scenes-masked\"}"),
        prompts("a size that the checkpoint lacks", "line 2", "x\n{\"prompt\": \"x\", \"width\": 100}"),
        DamagedInput("prompts: not UTF-8", "generate --prompts in.txt -o out", 65, "line 2") {
            $0.write("in.txt", Array("a\nb".utf8) + [0xff, 0x0a])
        },
        DamagedInput("prompts: a line over 1 MiB", "generate --prompts in.txt -o out", 65, "line 2") {
            $0.write("in.txt", "a\n" + String(repeating: "x", count: (1 << 20) + 1))
        },
        DamagedInput("prompts: a folder", "generate --prompts out -o out", 66, "folder"),
        DamagedInput("prompts: two images in one file", "generate --prompts in.txt -o one.png --seed 3", 64, "{id}") {
            $0.write("in.txt", "a\nb\n")
        },
        DamagedInput("prompts: on standard output", "generate --prompts in.txt -o -", 64, "standard output") {
            $0.write("in.txt", "a\nb\n")
        },
    ]

    private static let pictures: [DamagedInput] = [
        image("empty", "in.png", []),
        image("text", "in.png", Array("hello".utf8)),
        image("a signature only", "in.png", Array(picture(16, 16).prefix(8))),
        image("cut", "in.png", Array(picture(64, 64).prefix(200))),
        image("a bad checksum", "in.png", picture(16, 16).enumerated().map { $0 == 30 ? $1 ^ 1 : $1 }),
        image("no end", "in.png", picture(16, 16).dropLast(12)),
        DamagedInput("image: sides that are no multiples", "generate cube --image in.png -o out", 64, "100") {
            $0.write("in.png", picture(100, 64))
        },
        DamagedInput("image: a mask of another size", "generate cube --image in.png --mask mask.png -o out", 65, "mask")
        {
            $0.write("in.png", picture(64, 64))
            $0.write("mask.png", picture(32, 32))
        },
        DamagedInput(
            "image: an autoregressive checkpoint", "generate cube --mode ar --image in.png -o out", 64, "masked"
        ) {
            $0.write("in.png", picture(256, 256))
        },
        DamagedInput("image: a folder", "generate cube --image out -o out", 66, "out"),
        DamagedInput("image: another size asked for", "generate cube --image in.png --width 128 -o out", 64, "64") {
            $0.write("in.png", picture(64, 64))
        },
    ]

    private static let tokenFiles: [DamagedInput] = [
        tokens("empty", "in.st", []),
        tokens("cut", "in.st", Array(codes([Int32](repeating: 1, count: 256), [1, 16, 16]).dropLast(9))),
        tokens("another name", "codes", codes([1, 2, 3, 4], [1, 2, 2], name: "tokens")),
        tokens("rank 2", "codes", codes([1, 2, 3, 4], [2, 2])),
        tokens("an id below -1", "codes", codes([1, -2, 3, 4], [1, 2, 2])),
        tokens(
            "floats", "codes", SafetensorsWriter.bytes([("codes", HostTensor([1, 2, 3, 4] as [Float], [1, 2, 2]))])),
        tokens("beyond the codebook", "1023", codes([Int32](repeating: 1024, count: 256), [1, 16, 16])),
        tokens("beyond the codebook of a checkpoint, named", "in.st", codes([5000, 1, 1, 1], [1, 2, 2])),
        DamagedInput("tokens: another grid than asked for", "generate cube --init-tokens in.st -W 64 -o out", 64, "4") {
            $0.write("in.st", codes([Int32](repeating: 1, count: 4), [1, 2, 2]))
        },
        DamagedInput(
            "tokens: three grids for two images", "generate cube --init-tokens in.st --count 2 -o out", 65, "3"
        ) {
            $0.write("in.st", codes([Int32](repeating: 1, count: 12), [3, 2, 2]))
        },
    ]

    private static let ids = codes([1, 2, 3], [1, 3], name: "input_ids")

    private static let networkInputs: [DamagedInput] = [
        run("a missing tensor", "text_encoder", "input_ids", codes([1], [1, 1], name: "ids")),
        run(
            "a tensor too many", "text_encoder", "extra",
            SafetensorsWriter.bytes([
                ("input_ids", HostTensor([1, 2] as [Int32], [1, 2])),
                ("extra", HostTensor([1, 2] as [Int32], [1, 2])),
            ])),
        run(
            "floats for ids", "text_encoder", "I64",
            SafetensorsWriter.bytes([("input_ids", HostTensor([1, 2] as [Float], [1, 2]))])),
        run("an id beyond the table", "text_encoder", "672", codes([1, 673], [1, 2], name: "input_ids")),
        run("a negative id", "text_encoder", "0", codes([-1, 3], [1, 2], name: "input_ids")),
        run("too long", "text_encoder", "40", codes([Int32](repeating: 1, count: 41), [1, 41], name: "input_ids")),
        run("rank 1", "text_encoder", "[B, T]", codes([1, 2], [2], name: "input_ids")),
        run("no rows", "text_encoder", "[B, T]", codes([], [0, 4], name: "input_ids")),
        run(
            "a mask of another shape", "text_encoder", "attention_mask",
            SafetensorsWriter.bytes([
                ("input_ids", HostTensor([1, 2] as [Int32], [1, 2])),
                ("attention_mask", HostTensor([1] as [Int32], [1, 1])),
            ])),
        run(
            "a mask of sevens", "text_encoder", "attention_mask",
            SafetensorsWriter.bytes([
                ("input_ids", HostTensor([1, 2] as [Int32], [1, 2])),
                ("attention_mask", HostTensor([1, 7] as [Int32], [1, 2])),
            ])),
        run("only ids", "transformer", "encoder_hidden_states", ids),
        run(
            "text of another width", "transformer", "[1, T, 128]",
            SafetensorsWriter.bytes([
                ("input_ids", HostTensor([1, 2, 3, 4] as [Int32], [1, 2, 2])),
                ("encoder_hidden_states", HostTensor([Float](repeating: 0, count: 64), [1, 1, 64])),
                ("pooled_text_emb", HostTensor([Float](repeating: 0, count: 128), [1, 128])),
                ("micro_conds", HostTensor([256, 256, 0, 0, 6] as [Float], [1, 5])),
            ])),
        run("no tokens", "decoder", "decoder_input_ids", ids),
        run("no text", "decoder", "no text", codes([1024], [1, 1], name: "decoder_input_ids")),
        run(
            "too many tokens", "decoder", "256",
            SafetensorsWriter.bytes([
                ("input_ids", HostTensor([1] as [Int32], [1, 1])),
                ("decoder_input_ids", HostTensor([Int32](repeating: 1, count: 257), [1, 257])),
            ])),
        run(
            "rows that differ", "decoder", "rows",
            SafetensorsWriter.bytes([
                ("input_ids", HostTensor([1] as [Int32], [1, 1])),
                ("decoder_input_ids", HostTensor([1, 1] as [Int32], [2, 1])),
            ])),
        run(
            "a picture of odd sides", "vqvae.encode", "16",
            SafetensorsWriter.bytes([
                ("sample", HostTensor([Float](repeating: 0, count: 3 * 17 * 16), [1, 3, 17, 16]))
            ])),
        run(
            "one channel", "vqvae.encode", "[B, 3, H, W]",
            SafetensorsWriter.bytes([
                ("sample", HostTensor([Float](repeating: 0, count: 256), [1, 1, 16, 16]))
            ])),
        run(
            "infinity", "vqvae.encode", "finite",
            SafetensorsWriter.bytes([
                ("sample", HostTensor([Float](repeating: .infinity, count: 3 * 256), [1, 3, 16, 16]))
            ])),
        run("a code beyond the book", "vqvae.decode", "1023", codes([1024], [1, 1, 1])),
        run("no safetensors", "vqvae.decode", "in.st", Array("hello".utf8)),
        DamagedInput(
            "run: another network's component", "run decoder -m scenes-masked --input in.st --output out/o.st", 64,
            "UVit2DModel"
        ) {
            $0.write("in.st", ids)
        },
        DamagedInput(
            "run: a component that is not there", "run text_encoder -m scenes-ar --input in.st --output out/o.st", 64,
            "text_encoder"
        ) {
            $0.write("in.st", ids)
        },
        DamagedInput(
            "run: no folder for the output", "run text_encoder -m scenes-masked --input in.st --output no/o.st", 73,
            "no"
        ) {
            $0.write("in.st", ids)
        },
    ]

    private static let stored: [DamagedInput] = [
        DamagedInput("from: no settings in the picture", "generate cube --from in.png -o out", 65, "in.png") {
            $0.write("in.png", picture(16, 16))
        },
        DamagedInput("from: text", "generate cube --from in.txt -o out", 65, "in.txt") { $0.write("in.txt", "hello") },
        DamagedInput("from: JSON of something else", "generate cube --from in.json -o out", 65, "in.json") {
            $0.write("in.json", "{\"a\": 1}")
        },
        DamagedInput("from: a setting out of range", "generate cube --from in.json -o out", 65, "steps") {
            $0.write("in.json", "{\"mode\": \"parallel\", \"steps\": 0}")
        },
        DamagedInput("from: a precision that there is not", "generate cube --from in.json -o out", 65, "in.json") {
            $0.write("in.json", "{\"mode\": \"parallel\", \"dtype\": \"f99\"}")
        },
        DamagedInput("from: attention that there is not", "generate cube --from in.json -o out", 65, "in.json") {
            $0.write("in.json", "{\"mode\": \"parallel\", \"attention\": \"half\"}")
        },
        DamagedInput(
            "from: a setting out of range beside --image", "generate cube --from in.json --image in.png -o out", 65,
            "in.json"
        ) {
            $0.write("in.json", "{\"mode\": \"parallel\", \"steps\": 0, \"image\": true, \"strength\": 0.5}")
            $0.write("in.png", picture(64, 64))
        },
        DamagedInput("from: made from another picture", "generate cube --from in.json -o out", 64, "--image") {
            $0.write("in.json", "{\"mode\": \"parallel\", \"image\": true, \"strength\": 0.5}")
        },
        DamagedInput("metadata: no settings", "metadata in.png", 65, "in.png") { $0.write("in.png", picture(16, 16)) },
        DamagedInput("metadata: no picture", "metadata in.png --json", 65, "in.png") { $0.write("in.png", "hello") },
        DamagedInput("metadata: cut", "metadata in.png", 65, "in.png") {
            $0.write("in.png", picture(16, 16).prefix(40))
        },
        DamagedInput("tokenize: a folder without a tokenizer", "tokenize -m out cube", 78, "out"),
        DamagedInput("inspect: an empty folder", "inspect out", 78, "out"),
        DamagedInput("inspect: a file", "inspect in.txt", 66, "folder") { $0.write("in.txt", "x") },
        DamagedInput("a pickled checkpoint", "generate cube -m in.ckpt -o out", 78, "from_single_file") {
            $0.write("in.ckpt", [0x80, 2])
        },
        DamagedInput("a pickled checkpoint with another ending", "inspect in.pt", 78, "safetensors") {
            $0.write("in.pt", [0x50, 0x4b, 3, 4])
        },
        DamagedInput("a checkpoint of one file, by its folder", "inspect one", 78, "from_single_file") {
            $0.makeFolder("one")
            $0.write("one/x.ckpt", [0x80, 2])
        },
    ]
}

@Suite struct DamagedInputTests {
    @Test(arguments: DamagedInput.all)
    func `a damaged input is one line, the right code, and nothing on disk`(_ damaged: DamagedInput) {
        let place = Workplace()
        place.makeFolder("out")
        damaged.prepare(place)
        let before = place.contents()
        let outcome = CommandProcess.run(damaged.arguments + ["-q"], in: place.path)
        #expect(outcome.status == damaged.status, "\(outcome)")
        #expect(outcome.errorLines.count == 1 && outcome.errors.hasPrefix("tti-ar: error["), "\(outcome)")
        #expect(outcome.errors.contains(damaged.mentions), "\(outcome)")
        #expect(outcome.output.isEmpty && place.contents() == before && place.contents("out").isEmpty)
    }

    @Test func `a prompt on standard input that is not UTF-8, or too long`() {
        let place = Workplace()
        let bad = CommandProcess.run(["generate", "-", "-q"], input: [0x61, 0xff], in: place.path)
        #expect(bad.status == 65 && bad.isOneError("input.encoding"), "\(bad)")
        let long = CommandProcess.run(
            ["generate", "-", "-q"], input: [UInt8](repeating: 0x61, count: (1 << 20) + 1), in: place.path)
        #expect(long.status == 65 && long.isOneError("input"), "\(long)")
        let texts = CommandProcess.run(
            ["tokenize", "-m", "scenes-masked"], input: [0x61, 0x0a, 0xff, 0x0a], in: place.path)
        #expect(texts.status == 65 && texts.isOneError("input.encoding"), "\(texts)")
        #expect(place.contents().isEmpty)
    }
}
