import TTI
import TTIFormats
import Testing

/// A command line that must be refused before any work.
struct RefusedArguments: Sendable, CustomTestStringConvertible {
    let arguments: [String]
    let status: Int32
    let name: String
    /// What the message must say.
    let mentions: String

    init(_ line: String, _ status: Int32, _ name: String, _ mentions: String = "") {
        arguments = line.split(separator: " ").map { $0 == "''" ? "" : String($0) }
        self.status = status
        self.name = name
        self.mentions = mentions
    }

    var testDescription: String { arguments.joined(separator: " ") }

    static let all: [RefusedArguments] = [
        .init("", 64, "usage.command", "--help"),
        .init("genrate cube", 64, "usage.command", "tti-ar generate"),
        .init("--verbose", 64, "usage.command"),
        .init("batch", 64, "usage.command", "not written yet"),
        .init("compare --preset sd16", 64, "usage.preset", "there is no preset"),
        .init("compare --attention both", 64, "usage.value", "none of flash, eager"),
        .init("compare --clock processor", 64, "usage.option", "--threads 1"),
        .init("analyze --model gpt", 64, "usage.preset", "there is no preset"),
        .init("analyze --device 5,0", 64, "usage.value", "none of h200, a100, cpu"),
        .init("analyze --model muse --size 100", 64, "usage.size", "no multiple of 32"),
        .init("batch jobs.jsonl", 64, "usage.command", "not written yet"),
        .init("worker", 64, "usage.command", "not written yet"),
        .init("help nothing", 64, "usage.command"),
        // generate
        .init("generate", 64, "usage.prompt", "no prompt"),
        .init("generate a b", 64, "usage.argument", "quotes"),
        .init("generate cube -p sphere", 64, "usage.argument", "two prompts"),
        .init("generate cube --prompts p.txt", 64, "usage.argument"),
        .init("generate cube --stepz 4", 64, "usage.option", "--steps"),
        .init("generate cube --step=4", 64, "usage.option", "--steps"),
        .init("generate cube -x", 64, "usage.option"),
        .init("generate cube -seed 4", 64, "usage.option", "--seed"),
        .init("generate cube --steps", 64, "usage.missing-value", "--steps"),
        .init("generate cube --steps --seed 4", 64, "usage.missing-value", "--seed"),
        .init("generate cube --json=yes", 64, "usage.option", "takes no value"),
        .init("generate cube --steps 0", 64, "usage.value", "1 to 1024"),
        .init("generate cube --steps -3", 64, "usage.value", "1 to 1024"),
        .init("generate cube --steps 4x", 64, "usage.value", "whole number"),
        .init("generate cube --steps 4.5", 64, "usage.value", "whole number"),
        .init("generate cube --steps ''", 64, "usage.value"),
        .init("generate cube --steps 99999999999999999999", 64, "usage.value", "out of range"),
        .init("generate cube --seed -2", 64, "usage.value", "-1"),
        .init("generate cube --seed 18446744073709551616", 64, "usage.value", "18446744073709551615"),
        .init("generate cube --seed 1e3", 64, "usage.value"),
        .init("generate cube --seed 0x10", 64, "usage.value"),
        .init("generate cube --count 0", 64, "usage.value", "1 to"),
        .init("generate cube --batch 0", 64, "usage.value"),
        .init("generate cube --guidance nan", 64, "usage.value", "no number"),
        .init("generate cube --guidance inf", 64, "usage.value", "no number"),
        .init("generate cube --guidance -1", 64, "usage.value", "0 to 1000"),
        .init("generate cube --guidance 1e400", 64, "usage.value"),
        .init("generate cube -g", 64, "usage.missing-value", "-g"),
        .init("generate cube --temperature -0.1", 64, "usage.value"),
        .init("generate cube --temperature 1,2,3", 64, "usage.value"),
        .init("generate cube --temperature 1,", 64, "usage.value"),
        .init("generate cube --top-p 0", 64, "usage.value", "at most 1"),
        .init("generate cube --top-p 1.5", 64, "usage.value"),
        .init("generate cube --top-k -1", 64, "usage.value"),
        .init("generate cube --mode paralel", 64, "usage.value", "parallel"),
        .init("generate cube --schedule cosin", 64, "usage.value", "cosine"),
        .init("generate cube --order random", 64, "usage.value", "halton"),
        .init("generate cube --guidance-ramp up", 64, "usage.value"),
        .init("generate cube --scheduler ddim", 64, "usage.mode", "latent diffusion"),
        .init("generate cube --scheduler lms", 64, "usage.value", "euler-a"),
        .init("generate cube --init-latents f", 66, "input.missing", "f"),
        .init("generate cube --init-latents f --init-tokens g", 64, "usage.option", "--init-tokens"),
        .init("generate cube --save-latents f", 64, "usage.mode", "latent diffusion"),
        .init("generate cube --width 100", 64, "usage", "16"),
        .init("generate cube --width 0", 64, "usage.value"),
        .init("generate cube --height 99999", 64, "usage.value"),
        .init("generate cube --rng mt", 64, "usage.value", "philox"),
        .init("generate cube --mask m.png", 64, "usage.option", "--image"),
        .init("generate cube --strength 0.5", 64, "usage.option", "--image"),
        .init("generate cube --image i.png --strength 1.1", 64, "usage.value"),
        .init("generate cube --image i.png --init-tokens t", 64, "usage.option"),
        .init("generate cube --preview 0", 64, "usage.value"),
        .init("generate cube --preview-path p.png", 64, "usage.option", "--preview"),
        .init("generate cube -o - --json", 64, "usage.output"),
        .init("generate cube -o - --count 2", 64, "usage.output"),
        .init("generate cube -o - --preview 2", 64, "usage.option", "--preview-path"),
        .init("generate cube -o one.png --count 2", 64, "usage.output", "{seed}"),
        .init("generate cube -o ''", 64, "usage.value"),
        .init("generate cube -o out.jpg", 64, "usage.value", "PNG"),
        .init("generate cube -o out/{seed}.WebP", 64, "usage.value", ".png"),
        .init("generate cube --preview 2 --preview-path p.tiff", 64, "usage.value", "--preview-path"),
        .init("generate cube --if-exists ask", 64, "usage.value", "overwrite"),
        .init("generate cube --metadata some", 64, "usage.value", "params"),
        .init("generate cube --threads 0", 64, "usage.value"),
        .init("generate cube --backend gpu", 64, "usage.value", "cuda"),
        .init("generate cube --backend cuda:x", 64, "usage.value"),
        .init("generate cube --backend cuda", 69, "device.unavailable", "--backend cpu"),
        .init("generate cube --backend cuda:1", 69, "device.unavailable"),
        .init("generate cube --dtype f16", 64, "usage.value", "bf16"),
        .init("generate cube --dtype int4", 64, "usage.value", "int8"),
        .init("generate cube -m scenes-ar --mode parallel", 64, "usage.mode", "--mode ar"),
        .init("generate cube -m scenes-ar --steps 4", 64, "usage.mode", "masked"),
        .init("generate cube -m scenes-ar --width 128", 64, "usage.size", "256x256"),
        .init("generate cube -m scenes-ar --order halton", 64, "usage.mode"),
        .init("generate cube -m scenes-masked --mode ar", 64, "usage.mode", "--mode parallel"),
        .init("generate cube --count 300 --batch 4096 -W 4096 -H 4096", 80, "device.memory", "free"),
        .init("generate cube -m no-such-model", 66, "model.missing", "no-such-model"),
        .init("generate cube -m scenes-maskd", 66, "model.missing", "scenes-masked"),
        .init("generate cube -m /no/such/folder", 66, "model.missing"),
        .init("generate cube -m org/name", 66, "model.missing", "hf download"),
        .init("generate cube --from none.png", 66, "input.missing"),
        .init("generate cube --image none.png", 66, "input.missing"),
        .init("generate cube --init-tokens none", 66, "input.missing"),
        .init("generate --prompts none.txt", 66, "input.missing"),
        .init("generate cube -o no/such/folder/x.png", 73, "output"),
        .init("generate cube -o no-such-folder/", 73, "output"),
        .init("generate cube --save-tokens no/t.safetensors", 73, "output"),
        // run
        .init("run", 64, "usage.argument", "text_encoder"),
        .init("run transfomer -m scenes-masked", 64, "usage.component", "transformer"),
        .init("run unet -m scenes-masked", 64, "usage.option", "--input"),
        .init("run vae.code -m scenes-masked", 64, "usage.component", "vae.decode"),
        .init("run text_encoder -m scenes-masked", 64, "usage.option", "--input"),
        .init("run text_encoder --input a --output b", 64, "usage.option", "--checkpoint"),
        .init("run text_encoder -m scenes-masked --input none --output b", 66, "input.missing"),
        .init("run encoder -m scenes-masked --incremental --input a --output b", 64, "usage.option", "decoder"),
        // the others
        .init("tokenize -m no-such cube", 66, "model.missing"),
        .init("tokenize -m scenes-masked a b", 64, "usage.argument"),
        .init("inspect", 64, "usage.argument", "scenes-ar"),
        .init("inspect no-such", 66, "model.missing"),
        .init("devices all", 64, "usage.argument"),
        .init("devices --threads many", 64, "usage.value"),
        .init("metadata", 64, "usage.argument"),
        .init("metadata none.png", 66, "input.missing"),
        .init("bench", 64, "usage.argument", "decode"),
        .init("bench decod --preset parti-350m", 64, "usage.argument", "decode"),
        .init("bench decode --preset parti-1b", 64, "usage.preset", "parti-350m"),
        .init("bench decode --preset janus-pro-1b", 64, "usage.preset", "not there yet"),
        .init("bench decode --preset muse-3b", 64, "usage.bench", "step"),
        .init("bench step --preset dalle-mini", 64, "usage.bench", "decode, prefill"),
        .init("bench step --preset parti-350m", 64, "usage.bench", "decode"),
        .init("bench detokenize --preset vqgan-f16 --size 100", 64, "usage.size"),
        .init("bench decode --preset parti-350m -m scenes-ar", 64, "usage.option"),
        .init("bench decode --preset parti-350m --tokens 4", 64, "usage.bench"),
        .init("bench decode --preset parti-20b --batch 256 --dtype f32", 80, "device.memory", "free"),
    ]
}

@Suite struct ArgumentTests {
    @Test(arguments: RefusedArguments.all)
    func `a wrong command line is one line, the right code, and nothing on disk`(_ refused: RefusedArguments) {
        let place = Workplace()
        let outcome = CommandProcess.run(refused.arguments, in: place.path)
        #expect(outcome.status == refused.status, "\(outcome)")
        #expect(outcome.isOneError(refused.name), "\(outcome)")
        #expect(outcome.errors.contains(refused.mentions), "\(outcome)")
        #expect(outcome.output.isEmpty)
        #expect(place.contents().isEmpty)
    }

    @Test(arguments: ["generate", "run", "tokenize", "inspect", "devices", "metadata", "bench"])
    func `every command has a help that fits`(_ command: String) {
        let place = Workplace()
        for arguments in [[command, "--help"], [command, "-h"], ["help", command]] {
            let outcome = CommandProcess.run(arguments, in: place.path)
            #expect(outcome.status == 0 && outcome.errors.isEmpty)
            #expect(outcome.text.hasPrefix("usage: tti-ar \(command)"))
            #expect(outcome.lines.count <= 90 && outcome.lines.allSatisfy { $0.count <= 112 })
        }
    }

    @Test func `the version has a commit`() {
        let place = Workplace()
        let outcome = CommandProcess.run(["--version"], in: place.path)
        #expect(outcome.status == 0)
        #expect(outcome.lines.count == 1 && outcome.text.hasPrefix("tti-ar 0."))
        #expect(outcome.text.contains("(") && !outcome.text.contains("unknown"))
    }

    @Test func `a value may begin with a mark that combines with the sign before it`() {
        let place = Workplace()
        for (option, value) in [("--prompt=", "\u{301}x"), ("--prompt=", "=\u{338}")] {
            let outcome = CommandProcess.run(["generate", option + value, "--dry-run", "--json", "-q"], in: place.path)
            let json = try? JSON(outcome.output, file: "plan")
            #expect(
                outcome.status == 0
                    && json?["prompt"]?.string?.unicodeScalars.elementsEqual(value.unicodeScalars) == true, "\(outcome)"
            )
        }
    }

    @Test func `an argument that is not UTF-8 is bad input`() {
        let place = Workplace()
        // A lone continuation byte cannot be written in Swift's String, so the shell makes it.
        place.write("run.sh", "exec \"$1\" generate \"$(printf 'cube \\200')\" -q\n")
        let outcome = place.shell("run.sh")
        #expect(outcome.status == 65 && outcome.isOneError("input.encoding"), "\(outcome)")
    }

    @Test func `TTI_CPU forces an instruction set, or is refused in one line`() {
        func devices(_ name: String) -> Outcome {
            CommandProcess.run(["devices", "--json"], in: "/tmp", environment: ["TTI_CPU": name])
        }
        let portable = devices("portable")
        #expect(portable.status == 0 && portable.text.contains("\"instruction_set\":\"portable\""), "\(portable)")
        let wrong = devices("sse9")
        #expect(wrong.status == 64 && wrong.isOneError("usage.environment") && wrong.errors.contains("amx"), "\(wrong)")
    }

    @Test func `what comes from outside cannot command the terminal`() {
        let place = Workplace()
        let outcome = CommandProcess.run(["generate", "x", "-m", "evil\u{1b}[2J\u{202e}name"], in: place.path)
        #expect(outcome.status == 66 && outcome.isOneError("model.missing"), "\(outcome)")
        #expect(!outcome.errors.unicodeScalars.contains("\u{202e}"))
    }
}

extension Workplace {
    /// Runs a shell script in the folder, with the command as its first argument.
    func shell(_ name: String) -> Outcome {
        CommandProcess.run(program: "/bin/sh", [self[name], CommandProcess.path], in: path)
    }
}
