import Glibc
import TTI
import Testing

/// What signals and readers that go away do.
@Suite struct InterruptTests {
    let place = Workplace()

    /// Starts a generation that would take long, waits until it works, and sends a signal.
    private func interrupted(_ signal: Int32, _ arguments: [String], after begun: () -> Bool) -> Outcome {
        let running = CommandProcess.start(arguments, in: place.path)
        for _ in 0..<600 where !begun() { usleep(50_000) }
        kill(running.id, signal)
        return CommandProcess.finish(running)
    }

    private let long = ["generate", "a red cube", "--steps", "1024", "--preview", "1", "--preview-path", "p.png"]

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func `a signal ends the work and leaves nothing`(_ signal: Int32) {
        let outcome = interrupted(signal, long + ["-o", "x.png", "-q"]) { place.contents().contains("p.png") }
        #expect(outcome.status == 130 && outcome.signal == 0, "\(outcome)")
        #expect(outcome.isOneError("cancelled") && outcome.output.isEmpty, "\(outcome)")
        #expect(place.contents() == ["p.png"])
    }

    @Test func `where the same command finishes the work it is 75, and it does`() {
        place.makeFolder("out")
        let command = [
            "generate", "a red cube", "-s", "1", "--count", "60", "--batch", "1", "-W", "128", "-H", "128", "-o", "out",
            "--if-exists", "skip", "-q",
        ]
        let outcome = interrupted(SIGTERM, command) { !place.contents("out").filter { $0.hasSuffix(".png") }.isEmpty }
        #expect(outcome.status == 75 && outcome.isOneError("cancelled"), "\(outcome)")
        let made = place.contents("out")
        #expect(!made.isEmpty && made.count < 60 && made.allSatisfy { $0.hasPrefix("tti-ar-") }, "\(made)")
        #expect(outcome.lines.count == made.count)
    }

    @Test func `a signal while loading ends at once`() {
        let running = CommandProcess.start(["bench", "decode", "--preset", "parti-350m", "-q"], in: place.path)
        usleep(300_000)
        kill(running.id, SIGINT)
        let outcome = CommandProcess.finish(running)
        #expect(outcome.status == 130 && outcome.isOneError("cancelled"), "\(outcome)")
    }

    @Test func `a reader that goes away ends the program quietly with 74`() {
        for arguments in [
            ["tokenize", "-m", "scenes-masked", "cube"], ["generate", "--help"], ["inspect", "scenes-ar"],
        ] {
            let outcome = CommandProcess.run(arguments, in: place.path, closesOutput: true)
            #expect(outcome.status == 74 && outcome.errors.isEmpty, "\(arguments) \(outcome)")
        }
        place.write("run.sh", "{ \"$1\" generate 'a red cube' -o - -q --steps 2; echo $? > status; } | true\n")
        _ = place.shell("run.sh")
        #expect(String(decoding: place.read("status"), as: UTF8.self) == "74\n")
        #expect(place.contents() == ["run.sh", "status"])
    }
}
