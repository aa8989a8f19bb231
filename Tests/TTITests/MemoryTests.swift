import Glibc
import TTI
import TTICore
import TTIFormats
import TTITestSupport
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

    /// The most memory that a process held so far, as the system says while it runs; nil once it has ended. What a run's end
    /// says is at least what the process that started it held.
    private func peak(of id: pid_t) -> Int? {
        guard let file = fopen("/proc/\(id)/status", "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = fread(&bytes, 1, bytes.count, file)
        let lines = String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
        let words = lines.first { $0.hasPrefix("VmHWM:") }?.split(separator: " ")
        return words.flatMap { $0.count > 1 ? Int($0[1]) : nil }.map { $0 * 1024 }
    }

    /// Files are all that is left of an image: neither its pixels nor its latents are kept.
    @Test func `a long run holds no more than a short one`() throws {
        try DiffusionFixture("sd15").writeCheckpoint(to: place["sd15"])
        place.makeFolder("out")
        func held(images: Int) -> Int {
            let running = CommandProcess.start(
                [
                    "generate", "a red circle", "-m", "sd15", "-N", "\(images)", "--batch", "4", "--seed", "1",
                    "--scheduler", "ddim", "--steps", "1", "-W", "64", "-H", "64", "--threads", "1", "-o",
                    "out/{index}.png", "-q",
                ], in: place.path)
            var most = 0
            while let held = peak(of: running.id) {
                most = held
                usleep(5000)
            }
            let outcome = CommandProcess.finish(running)
            #expect(outcome.status == 0 && outcome.lines.count == images, "\(outcome)")
            return most
        }
        let (few, many) = (held(images: 8), held(images: 200))
        // An image has 12 KiB of pixels and 16 KiB of latents.
        #expect(few > 0 && many - few < 192 * 12 << 10, "\(few) bytes for 8 images, \(many) for 200")
    }

    /// What a matrix is loaded from is given back, so that the next one lies where it lay: holes between them would be a fifth
    /// of the weights and more.
    @Test func `loading leaves no holes`() throws {
        let (held, outcome) = try peak([
            "bench", "prefill", "--preset", "dalle-mini", "--dtype", "bf16", "--backend", "cpu", "--batch", "1",
            "--tokens", "1", "--repeats", "1", "--steps", "1", "--json", "-q",
        ])
        let counted = try #require(try JSON(outcome.output, file: "bench")["peak_memory_bytes"]?.integer)
        // Ceilings are measured at the end in 512 MiB, which are not counted.
        #expect(held - counted < 700 << 20, "\(held) bytes held, \(counted) counted")
    }
}
