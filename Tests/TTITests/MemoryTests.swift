import TTI
import TTICore
import TTIFormats
import Testing

/// What a command holds of memory, against what it says that it needs.
@Suite struct MemoryTests {
    let place = Workplace()

    /// The most memory that a run held at once, besides what every run of the program holds.
    private func peak(_ arguments: [String]) throws -> (held: Int, outcome: Outcome) {
        let least = CommandProcess.run(["--version"], in: place.path)
        let outcome = CommandProcess.run(arguments, in: place.path)
        #expect(outcome.status == 0, "\(outcome)")
        return (outcome.peakMemory - least.peakMemory, outcome)
    }

    /// Weights once, not a copy of them; and an arena as large as was counted. Above that are what operations have between
    /// their kernels, and the picture files: less than a third where the work is large beside it. How far below the count a run
    /// stays depends on whether the system has large pages for it, so nothing is asked of that.
    @Test(arguments: [("diffusion", 64), ("ar", 32)])
    func `the peak is what was counted`(mode: String, images: Int) throws {
        let (held, outcome) = try peak(
            [
                "generate", "a red circle", "--mode", mode, "-N", "\(images)", "--batch", "\(images)", "--seed", "1",
                "--backend", "cpu", "--dtype", "f32", "--threads", "2", "-o", "{index}.png", "--json", "-q",
            ] + (mode == "ar" ? [] : ["--steps", "1"]))
        let report = try JSON(Array((outcome.lines.first ?? "").utf8), file: "line")
        let counted = try #require(report["timings"]?["peak_memory_bytes"]?.number)
        #expect(Double(held) < 1.3 * counted, "\(held) bytes held, \(counted) counted")
    }
}
