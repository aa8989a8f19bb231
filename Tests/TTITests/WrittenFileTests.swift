import TTI
import TTIFormats
import Testing

/// What `generate` writes besides pictures, and what it does where writing fails.
@Suite struct WrittenFileTests {
    let place = Workplace()
    private static let quick = ["-q", "--steps", "2", "-W", "64", "-H", "64"]

    private func generate(_ arguments: String...) -> Outcome {
        CommandProcess.run(["generate"] + arguments + WrittenFileTests.quick, in: place.path)
    }

    @Test(arguments: [("tokens", "scenes-masked"), ("latents", "scenes-diffusion")])
    func `what several prompts save does not end in one file`(what: String, checkpoint: String) {
        place.write("p.txt", "a\nb\n")
        place.write(
            "q.txt", ["x.st", ".//x.st"].map { #"{"prompt": "a", "save_\#(what)": "\#($0)"}"# }.joined(separator: "\n"))
        let before = place.contents()
        func run(_ file: String) -> Outcome {
            CommandProcess.run(
                ["generate", "--prompts", "p.txt", "--save-\(what)", file, "--dry-run", "-q", "-m", checkpoint],
                in: place.path)
        }
        let refused = run("all.st")
        #expect(refused.status == 64 && refused.isOneError("usage.output"), "\(refused)")
        #expect(refused.errors.contains("'all.st'"), "\(refused)")
        // two names of one file
        let hidden = CommandProcess.run(
            ["generate", "--prompts", "q.txt", "--dry-run", "-q", "-m", checkpoint], in: place.path)
        #expect(hidden.status == 64 && hidden.isOneError("usage.output"), "\(hidden)")
        #expect(run("{id}.st").status == 0)
        #expect(place.contents() == before)
    }

    @Test func `what is saved of all images is not saved of some`() throws {
        #expect(generate("a red cube", "-s", "4", "-o", "4.png").status == 0)
        let picture = place.read("4.png")
        let command = ["a red cube", "-s", "4", "--count", "2", "-o", "{seed}.png", "--save-tokens", "t.st"]
        let refused = CommandProcess.run(
            ["generate", "--if-exists", "skip"] + command + WrittenFileTests.quick, in: place.path)
        #expect(refused.status == 64 && refused.isOneError("usage.save"), "\(refused)")
        #expect(refused.errors.contains("'t.st'") && place.contents() == ["4.png"], "\(refused)")
        let made = CommandProcess.run(["generate"] + command + WrittenFileTests.quick, in: place.path)
        #expect(made.status == 0 && place.contents() == ["4.png", "5.png", "t.st"], "\(made)")
        #expect(place.read("4.png") == picture)
        #expect(try SafetensorsFile(path: place["t.st"]).entry("codes")?.extents == [2, 4, 4])
        // Nothing is left to be made, and nothing to be saved.
        let done = CommandProcess.run(
            ["generate", "--if-exists", "skip"] + command + WrittenFileTests.quick, in: place.path)
        #expect(done.status == 0 && done.lines == ["4.png", "5.png"], "\(done)")
    }

    @Test func `a limit of the size of files is an error of writing`() {
        place.write(
            "run.sh", "ulimit -f 1\nexec \"$1\" generate 'a red cube' -s 1 -o a.png -q --steps 2 -W 64 -H 64\n")
        let outcome = place.shell("run.sh")
        #expect(outcome.status == 74 && outcome.signal == 0 && outcome.isOneError("io"), "\(outcome)")
        #expect(place.contents() == ["run.sh"])
    }

    @Test func `the name of a preview has the checkpoint's mode`() {
        let outcome = CommandProcess.run(
            [
                "generate", "a red cube", "-m", "scenes-ar", "-s", "1", "-o", "a.png", "--preview", "200",
                "--preview-path", "{mode}-{seed}.png", "-q",
            ], in: place.path)
        #expect(outcome.status == 0 && place.contents() == ["a.png", "ar-1.png"], "\(outcome)")
    }
}
