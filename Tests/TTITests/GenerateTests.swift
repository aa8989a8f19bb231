import Glibc
import TTI
import TTIFormats
import Testing

/// What `generate` makes, names, prints and leaves alone. Four steps of a small image are enough for all of it.
@Suite struct GenerateTests {
    let place = Workplace()
    private static let quick = ["-q", "--steps", "2", "-W", "64", "-H", "64"]

    private func generate(_ arguments: String..., input: [UInt8] = []) -> Outcome {
        CommandProcess.run(["generate"] + arguments + GenerateTests.quick, input: input, in: place.path)
    }

    private func texts(_ name: String) -> [String: String] {
        let found = (try? PNG.texts(path: place[name])) ?? []
        return Dictionary(found.map { ($0.keyword, $0.text) }) { $1 }
    }

    @Test func `the default name has the seed, and a second one a suffix`() {
        let first = generate("a red cube", "-s", "7")
        #expect(first.status == 0 && first.lines == ["tti-ar-7.png"] && first.errors.isEmpty, "\(first)")
        #expect(generate("a red cube", "-s", "7").lines == ["tti-ar-7-1.png"])
        #expect(place.contents() == ["tti-ar-7-1.png", "tti-ar-7.png"])
        #expect(place.read("tti-ar-7.png") == place.read("tti-ar-7-1.png"))
    }

    @Test func `--if-exists does what it says`() {
        place.write("a.png", "old")
        let refused = generate("a red cube", "-o", "a.png", "--if-exists", "error")
        #expect(refused.status == 73 && refused.isOneError("output"), "\(refused)")
        #expect(generate("a red cube", "-o", "a.png", "--if-exists", "skip").lines == ["a.png"])
        #expect(place.read("a.png") == Array("old".utf8))
        #expect(generate("a red cube", "-o", "a.png", "--if-exists", "suffix").lines == ["a-1.png"])
        #expect(place.read("a.png") == Array("old".utf8))
        #expect(generate("a red cube", "-o", "a.png").lines == ["a.png"])
        #expect(place.read("a.png").starts(with: [0x89, 0x50]))
        #expect(place.contents() == ["a-1.png", "a.png"])
    }

    @Test func `names are templates, folders, or standard output`() {
        place.makeFolder("out")
        #expect(
            generate("x", "-s", "18446744073709551615", "--count", "2", "-o", "out/{mode}-{id}-{seed}-{index}.png")
                .lines
                == ["out/parallel-1-18446744073709551615-0.png", "out/parallel-1-0-1.png"])
        #expect(generate("x", "-s", "3", "-o", "out").lines == ["out/tti-ar-3.png"])
        let piped = generate("x", "-s", "3", "-o", "-")
        #expect(piped.status == 0 && piped.output == place.read("out/tti-ar-3.png"))
        #expect(place.contents() == ["out"])
    }

    @Test func `a folder and a file without a format may be called as they like`() {
        place.makeFolder("all.jpg")
        #expect(generate("x", "-s", "3", "-o", "all.jpg").lines == ["all.jpg/tti-ar-3.png"])
        #expect(generate("x", "-s", "3", "-o", "picture.v2").lines == ["picture.v2"])
        #expect(generate("x", "-s", "3", "-o", "jpg").lines == ["jpg"])
    }

    @Test func `image i is the same at any count, batch and number of threads`() {
        #expect(generate("a blue cone", "-s", "5", "--count", "3", "-o", "all-{seed}.png", "--batch", "3").status == 0)
        #expect(
            generate("a blue cone", "-s", "5", "--count", "3", "-o", "one-{seed}.png", "--batch", "1", "-t", "1").status
                == 0)
        #expect(generate("a blue cone", "-s", "6", "-o", "six.png", "-t", "3").status == 0)
        for seed in 5...7 { #expect(place.read("all-\(seed).png") == place.read("one-\(seed).png")) }
        #expect(place.read("all-6.png") == place.read("six.png") && place.read("all-5.png") != place.read("all-6.png"))
    }

    @Test func `a large batch has the memory that its steps take`() {
        let outcome = CommandProcess.run(
            [
                "generate", "a red cube", "-s", "1", "--count", "24", "--batch", "24", "--steps", "1", "-o",
                "{seed}.png", "-q",
            ],
            in: place.path)
        #expect(outcome.status == 0 && outcome.lines.count == 24, "\(outcome)")
    }

    @Test func `an object a line with --json, and nothing else`() throws {
        let outcome = generate("a red cube", "-s", "7", "--count", "2", "--json", "-o", "{index}.png")
        #expect(outcome.status == 0 && outcome.lines.count == 2, "\(outcome)")
        let keys = [
            "path", "id", "index", "seed", "prompt", "mode", "checkpoint", "backend", "device", "dtype", "width",
            "height",
            "steps",
            "truncated_tokens", "timings",
        ]
        let timings = [
            "load_s", "encode_s", "decode_s", "detokenize_s", "total_s", "tokens", "tokens_per_s", "steps",
            "step_ms_median",
            "weight_bytes_per_step", "flops_per_step", "bandwidth_gb_s", "tflop_s", "peak_memory_bytes",
        ]
        for (index, line) in outcome.lines.enumerated() {
            let json = try JSON(Array(line.utf8), file: "line")
            for key in keys { #expect(json[key] != nil, "\(key)") }
            for key in timings { #expect(json["timings"]?[key]?.number != nil, "\(key)") }
            #expect(json["path"]?.string == "\(index).png" && json["index"]?.integer == index)
            #expect(json["seed"]?.integer == 7 + index && json["width"]?.integer == 64 && json["steps"]?.integer == 2)
            #expect(json["prompt"]?.string == "a red cube" && json["mode"]?.string == "parallel")
        }
    }

    @Test func `of a picture that is skipped --json says what it says itself`() throws {
        func skipped(_ arguments: String...) throws -> JSON {
            let outcome = CommandProcess.run(
                ["generate", "a blue cone", "--if-exists", "skip", "--json"] + GenerateTests.quick + arguments,
                in: place.path)
            #expect(outcome.status == 0 && outcome.lines.count == 1 && outcome.errors.isEmpty, "\(outcome)")
            return try JSON(outcome.output, file: "line")
        }
        #expect(generate("a red cube", "-s", "7", "-g", "3", "-o", "a.png").status == 0)
        for seed in ["-1", "8"] {
            let json = try skipped("-o", "a.png", "--steps=5", "-s", seed)
            #expect(json["skipped"]?.bool == true && json["path"]?.string == "a.png" && json["id"]?.string == "1")
            #expect(json["seed"]?.integer == 7 && json["prompt"]?.string == "a red cube", "\(seed)")
            #expect(json["steps"]?.integer == 2 && json["settings"]?["guidance"]?.number == 3)
        }
        place.write("b.png", "of another program")
        let foreign = try skipped("-o", "b.png")
        #expect(foreign["skipped"]?.bool == true && foreign["path"]?.string == "b.png")
        for key in ["seed", "prompt", "dtype", "settings"] { #expect(foreign[key] == nil, "\(key)") }
    }

    @Test func `the same image comes back from its picture, its JSON and its command`() throws {
        let made = generate(
            "it's \"so\", é, a'\u{301}; echo x > gone; echo '\u{301}", "-n", "blue", "-s", "9", "-g", "3.5",
            "--temperature", "1.5", "--order", "halton",
            "--top-p", "0.9", "--json", "-o", "first.png")
        #expect(made.status == 0, "\(made)")
        place.write("first.json", made.output)
        for source in ["first.png", "first.json"] {
            let again = CommandProcess.run(["generate", "--from", source, "-o", "again.png", "-q"], in: place.path)
            #expect(again.status == 0 && place.read("again.png") == place.read("first.png"), "\(again)")
        }
        let command = CommandProcess.run(["metadata", "first.png", "--command"], in: place.path)
        #expect(
            command.status == 0 && command.lines.count == 1 && command.text.hasPrefix("tti-ar generate "), "\(command)")
        place.write("run.sh", "\"$1\"" + command.lines[0].dropFirst("tti-ar".count) + " -o again.png -q\n")
        place.remove("again.png")
        let again = place.shell("run.sh")
        #expect(again.status == 0 && place.read("again.png") == place.read("first.png"), "\(again)")
        #expect(place.read("gone").isEmpty)
        // What stands on the line wins.
        let other = CommandProcess.run(
            ["generate", "--from", "first.png", "-s", "10", "-o", "other.png", "-q"], in: place.path)
        #expect(other.status == 0 && place.read("other.png") != place.read("first.png"))
    }

    @Test func `attention that is not the usual one is stored and done again`() throws {
        #expect(generate("a red cube", "-s", "9", "--attention", "eager", "-o", "eager.png").status == 0)
        #expect(generate("a red cube", "-s", "9", "-o", "flash.png").status == 0)
        let stored = try JSON(Array((texts("eager.png")["tti-ar"] ?? "").utf8), file: "chunk")
        #expect(stored["attention"]?.string == "eager")
        #expect(texts("flash.png")["tti-ar"]?.contains("attention") == false)
        let command = CommandProcess.run(["metadata", "eager.png", "--command"], in: place.path)
        #expect(command.text.contains(" --attention=eager "), "\(command)")
        for (options, name) in [([], "eager.png"), (["--attention", "flash"], "flash.png")] {
            let again = CommandProcess.run(
                ["generate", "--from", "eager.png", "-o", "again.png", "-q"] + options, in: place.path)
            #expect(again.status == 0 && place.read("again.png") == place.read(name), "\(again)")
        }
    }

    @Test func `--metadata says how much a picture carries`() throws {
        #expect(generate("a secret cube", "-n", "hidden sphere", "-s", "1", "-o", "full.png").status == 0)
        #expect(
            generate("a secret cube", "-n", "hidden sphere", "-s", "1", "-o", "params.png", "--metadata", "params")
                .status == 0)
        #expect(
            generate("a secret cube", "-n", "hidden sphere", "-s", "1", "-o", "none.png", "--metadata", "none").status
                == 0)
        let full = texts("full.png")
        #expect(full["parameters"]?.hasPrefix("a secret cube\nNegative prompt: hidden sphere\nSteps: 2, ") == true)
        let json = try JSON(Array((full["tti-ar"] ?? "").utf8), file: "chunk")
        #expect(json["prompt"]?.string == "a secret cube" && json["seed"]?.integer == 1)
        let params = texts("params.png")
        #expect(params["parameters"]?.hasPrefix("Steps: 2, ") == true && params["tti-ar"] != nil)
        #expect(texts("none.png").isEmpty)
        for name in ["params.png", "none.png"] {
            #expect(!place.read(name).contains("secret".utf8) && !place.read(name).contains("hidden".utf8))
        }
        #expect(!place.read("full.png").contains(place.path.utf8))
    }

    @Test func `a prompts file makes every line, whose keys win`() throws {
        place.makeFolder("out")
        place.write(
            "p.txt",
            "a red cube\r\n\n{\"prompt\": \"a cone\", \"id\": \"b\", \"seed\": 4, \"count\": 2, \"top_k\": 5}\n")
        let outcome = CommandProcess.run(
            ["generate", "--prompts", "p.txt", "-s", "3", "-o", "out", "--json"] + GenerateTests.quick, in: place.path)
        #expect(outcome.status == 0 && outcome.lines.count == 3, "\(outcome)")
        #expect(place.contents("out") == ["tti-ar-1-3.png", "tti-ar-b-4.png", "tti-ar-b-5.png"])
        let ids = try outcome.lines.map { try JSON(Array($0.utf8), file: "line")["id"]?.string }
        #expect(ids == ["1", "b", "b"])
        let piped = CommandProcess.run(
            ["generate", "--prompts", "-", "-s", "3", "-o", "out", "--if-exists", "skip"] + GenerateTests.quick,
            input: Array("a red cube\na sphere\n".utf8), in: place.path)
        #expect(piped.status == 0 && piped.lines == ["out/tti-ar-1-3.png", "out/tti-ar-2-3.png"], "\(piped)")
    }

    @Test func `names with the mode are told apart by the checkpoint's own`() {
        func run(_ lines: [String], _ arguments: String...) -> Outcome {
            place.write("p.txt", lines.joined(separator: "\n"))
            return CommandProcess.run(["generate", "--prompts", "p.txt", "-s", "3", "-q"] + arguments, in: place.path)
        }
        let masked = #"{"prompt": "a", "checkpoint": "scenes-masked"}"#
        let autoregressive = #"{"prompt": "a", "checkpoint": "scenes-ar"}"#
        #expect(run([masked, autoregressive], "-o", "{mode}.png", "--dry-run").status == 0)
        let saved = run([masked, autoregressive], "--save-tokens", "{mode}.st", "--dry-run")
        #expect(saved.status == 0, "\(saved)")
        let same = run([#"{"prompt": "a", "mode": "ar"}"#, autoregressive], "-o", "{mode}.png")
        #expect(same.status == 64 && same.isOneError("usage.output") && same.errors.contains("'ar.png'"), "\(same)")
        let missing = run([autoregressive, #"{"prompt": "a", "checkpoint": "none"}"#], "-o", "{mode}.png")
        #expect(missing.status == 66 && missing.errors.contains("line 2"), "\(missing)")
        #expect(place.contents() == ["p.txt"])
    }

    @Test func `tokens can be saved and begun with`() throws {
        #expect(
            generate("a red cube", "-s", "2", "--count", "2", "-o", "{index}.png", "--save-tokens", "t.st").status == 0)
        let file = try SafetensorsFile(path: place["t.st"])
        #expect(file.entry("codes")?.extents == [2, 4, 4] && file.entry("codes")?.dtypeName == "I64")
        // All tokens are given, so there is nothing left to make.
        let kept = CommandProcess.run(
            [
                "generate", "x", "-s", "50", "--count", "2", "--init-tokens", "t.st", "-o", "k{index}.png",
                "--save-tokens", "u.st",
                "--metadata", "none", "-q",
            ], in: place.path)
        #expect(kept.status == 0, "\(kept)")
        #expect(place.read("t.st") == place.read("u.st"))
    }

    @Test func `settings of one mode are not those of another, and the file is named`() {
        #expect(generate("a red cube", "-s", "2", "-o", "a.png").status == 0)
        func refusal(_ arguments: String...) -> String {
            let outcome = CommandProcess.run(["generate", "--from", "a.png", "-q"] + arguments, in: place.path)
            #expect(outcome.status == 64 && outcome.isOneError("usage.mode"), "\(outcome)")
            return outcome.errors
        }
        let stored = refusal("-m", "scenes-ar")
        #expect(stored.contains("not by --mode parallel, stored in 'a.png'; leave -m out"), "\(stored)")
        let given = refusal("--mode", "ar")
        #expect(given.contains("'scenes-masked', stored in 'a.png', makes images by --mode parallel"), "\(given)")
        let both = refusal("-m", "scenes-ar", "--mode", "ar")
        #expect(both.contains("steps, stored in 'a.png' by --mode parallel, belongs to"), "\(both)")
        #expect(both.contains("leave -m and --mode out"), "\(both)")
        // What is on the line is not the file's.
        let own = refusal("-m", "scenes-ar", "--mode", "ar", "--steps", "4")
        #expect(own.contains("]: steps belongs to") && !own.contains("stored"), "\(own)")
    }

    @Test func `a picture to begin with keeps its size`() throws {
        #expect(generate("a red cube", "-s", "2", "-o", "base.png").status == 0)
        let outcome = CommandProcess.run(
            [
                "generate", "a blue cube", "-s", "2", "--image", "base.png", "--strength", "0.5", "--steps", "4", "-o",
                "next.png", "-q",
            ],
            in: place.path)
        #expect(outcome.status == 0, "\(outcome)")
        let image = try RGBImage(pngFile: place["next.png"])
        #expect(image.width == 64 && image.height == 64)
        let lost = CommandProcess.run(["generate", "--from", "next.png", "-q", "-o", "x.png"], in: place.path)
        #expect(lost.status == 64 && lost.errors.contains("--image"), "\(lost)")
        let again = CommandProcess.run(
            ["generate", "--from", "next.png", "--image", "base.png", "-q", "-o", "again.png"], in: place.path)
        #expect(again.status == 0 && place.read("again.png") == place.read("next.png"), "\(again)")
    }

    @Test func `a picture made under a mask asks for both again`() throws {
        #expect(generate("a red cube", "-s", "2", "-o", "base.png").status == 0)
        let leftHalf = (0..<64 * 64 * 3).map { $0 / 3 % 64 < 32 ? UInt8(255) : 0 }
        try RGBImage(width: 64, height: 64, pixels: leftHalf).writePNG(to: place["mask.png"])
        let inpainting = ["--image", "base.png", "--mask", "mask.png"]
        func run(_ arguments: [String]) -> Outcome {
            CommandProcess.run(["generate", "-q"] + arguments, in: place.path)
        }
        #expect(run(["a blue cone", "-s", "3", "--steps", "4", "-o", "next.png"] + inpainting).status == 0)
        let lost = run(["--from", "next.png", "--image", "base.png", "-o", "x.png"])
        #expect(lost.status == 64 && lost.errors.contains("--mask"), "\(lost)")
        #expect(run(["--from", "next.png", "-o", "again.png"] + inpainting).status == 0)
        #expect(place.read("again.png") == place.read("next.png"))
        let line = CommandProcess.run(["metadata", "next.png", "--command"], in: place.path)
        #expect(line.text.contains("--image=PICTURE.png --mask=MASK.png"), "\(line)")
    }

    @Test func `a preview is written beside the image`() {
        #expect(generate("a red cube", "-s", "2", "-o", "a.png", "--preview", "1").status == 0)
        #expect(place.contents() == ["a.png", "a.preview.png"])
        #expect(place.read("a.preview.png").starts(with: [0x89, 0x50]))
    }

    @Test func `a plan is printed and nothing is made`() throws {
        let text = generate("a red cube", "--dry-run")
        #expect(text.status == 0 && text.text.contains("memory"), "\(text)")
        let json = try JSON(generate("a red cube", "--dry-run", "--json", "-s", "3").output, file: "plan")
        #expect(json["memory_bytes"]?["weights"]?.integer ?? 0 > 0 && json["flops"]?["decode"]?.integer ?? 0 > 0)
        #expect(json["seed"]?.integer == 3 && json["steps"]?.integer == 2)
        #expect(place.contents().isEmpty)
    }

    @Test func `a prompt that is cut is a warning, the empty prompt is none`() throws {
        let long = String(repeating: "a large red cube ", count: 40)
        let outcome = generate(long, "-s", "1", "--json")
        #expect(
            outcome.status == 0 && outcome.errorLines.count == 1 && outcome.errors.contains("warning"), "\(outcome)")
        #expect(try JSON(outcome.output, file: "line")["truncated_tokens"]?.integer ?? 0 > 100)
        let empty = generate("", "-s", "1")
        #expect(empty.status == 0 && empty.errors.isEmpty, "\(empty)")
        #expect(generate("-", "-s", "1", input: Array("a red cube\n".utf8)).status == 0)
        let dashed = CommandProcess.run(
            ["generate"] + GenerateTests.quick + ["--seed=1", "--", "-dash"], in: place.path)
        #expect(dashed.status == 0, "\(dashed)")
    }

    @Test func `a temperature that no logit can be divided by takes the likeliest`() throws {
        func pixels(_ temperature: String) throws -> [UInt8] {
            let outcome = CommandProcess.run(
                [
                    "generate", "a red cube", "-m", "scenes-ar", "-s", "1", "-o", "a.png", "-q", "--temperature",
                    temperature,
                ],
                in: place.path)
            #expect(outcome.status == 0, "\(outcome)")
            return try PNG.decode(path: place["a.png"]).bytes
        }
        #expect(try pixels("1e-40") == pixels("0"))
    }

    @Test func `a checkpoint's own size is refused where it cannot be made`() {
        place.copyCheckpoint("scenes-masked")
        place.edit("model/transformer/config.json", "\"sample_size\": 16", "\"sample_size\": 300")
        let refused = CommandProcess.run(["generate", "a red cube", "-m", "model", "-q"], in: place.path)
        #expect(refused.status == 64 && refused.isOneError("usage.size"), "\(refused)")
        #expect(refused.errors.contains("4800") && refused.errors.contains("width"), "\(refused)")
        #expect(generate("a red cube", "-m", "model", "--dry-run").status == 0)
    }

    @Test func `nothing that moves a cursor goes to a pipe`() {
        let outcome = CommandProcess.run(
            ["generate", "a red cube", "-s", "1", "--steps", "2"], in: place.path, environment: ["TERM": "xterm"])
        #expect(outcome.status == 0 && outcome.errorLines.count >= 2, "\(outcome)")
        #expect(outcome.errorLines.allSatisfy { $0.hasPrefix("tti-ar: ") } && !outcome.errors.contains("\r"))
        #expect(!outcome.errors.contains("\u{1b}"))
    }

    @Test func `an output folder that may not be written to is known before the work`() {
        place.makeFolder("locked")
        chmod(place["locked"], 0o555)
        // The superuser may write anywhere.
        guard access(place["locked"], W_OK) != 0 else { return }
        let outcome = generate("a red cube", "-o", "locked/x.png")
        #expect(outcome.status == 73 && outcome.isOneError("output"), "\(outcome)")
    }
}

extension [UInt8] {
    fileprivate func contains(_ text: String.UTF8View) -> Bool {
        let wanted = Array(text)
        guard count >= wanted.count, let first = wanted.first else { return false }
        return indices.dropLast(wanted.count - 1).contains {
            self[$0] == first && self[$0..<$0 + wanted.count].elementsEqual(wanted)
        }
    }
}
