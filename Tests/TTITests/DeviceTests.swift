import Glibc
import TTI
import TTIFormats
import Testing

/// Devices that are there, that are not, and that go wrong, as a user of the command meets them.
@Suite struct DeviceTests {
    let place = Workplace()

    @Test func `without a driver cuda is 69 and auto is the CPU, quietly`() {
        place.makeFolder("empty")
        let nothing = ["TTI_CUDA_PATH": place["empty"]]
        let outcome = CommandProcess.run(["devices", "--json"], in: place.path, environment: nothing)
        // Where a driver is installed the loader finds it anyway.
        guard outcome.text.contains("\"cuda_driver\":null") else { return }
        #expect(outcome.status == 0 && outcome.text.contains("no CUDA driver was found"), "\(outcome)")
        for backend in ["cuda", "cuda:0", "cuda:3"] {
            let refused = CommandProcess.run(
                ["generate", "cube", "--backend", backend, "-o", "x.png"], in: place.path, environment: nothing)
            #expect(refused.status == 69 && refused.isOneError("device.unavailable"), "\(refused)")
            #expect(refused.errors.contains("install NVIDIA's driver, or use --backend cpu"))
        }
        let automatic = CommandProcess.run(
            ["generate", "cube", "--backend", "auto", "--dry-run", "--json"], in: place.path, environment: nothing)
        #expect(automatic.status == 0 && automatic.errors.isEmpty, "\(automatic)")
        #expect(automatic.text.contains("\"backend\":\"cpu\"") && place.contents() == ["empty"])
    }
}

/// The same with a driver that runs kernels on the processor, and that can be told to fail.
@Suite(.serialized, .enabled(if: CUDAOnCPU.libraries != nil, "there is no clang++ to build Tests/CUDAOnCPU with"))
struct CUDAOnCPUTests {
    let place = Workplace()
    /// Beside the test bundle too.
    private static let check = String(CommandProcess.path.dropLast("tti-ar".count)) + "tti-check"

    private func run(_ arguments: [String], _ environment: [String: String] = [:]) -> Outcome {
        CommandProcess.run(arguments, in: place.path, environment: CUDAOnCPU.environment(environment))
    }

    @Test(arguments: [
        (["TTI_CUDA_ON_CPU_DRIVER": "11040"], "11.8 or newer is needed"),
        (["TTI_CUDA_ON_CPU_CAPABILITY": "7.5"], "8.0 (Ampere) or newer is needed"),
        (["TTI_CUDA_ON_CPU_DEVICES": "0"], "no device"),
    ])
    func `a driver or GPU that cannot be used is 69, and auto says why it takes the CPU`(
        fault: [String: String], words: String
    ) {
        let refused = run(["generate", "cube", "--backend", "cuda", "-o", "x.png"], fault)
        #expect(refused.status == 69 && refused.isOneError("device.unavailable"), "\(refused)")
        #expect(refused.errors.contains(words) && refused.errors.contains("--backend cpu"), "\(refused)")
        let automatic = run(["generate", "cube", "--dry-run", "--json"], fault)
        #expect(automatic.status == 0 && automatic.text.contains("\"backend\":\"cpu\""), "\(automatic)")
        #expect(automatic.errors.contains("warning") && automatic.errors.contains(words), "\(automatic)")
        #expect(place.contents().isEmpty)
    }

    @Test func `a GPU that can be used is taken by auto, with bf16`() throws {
        let outcome = run(["generate", "cube", "--dry-run", "--json"])
        let json = try JSON(Array(outcome.text.utf8), file: "output")
        #expect(json["backend"]?.string == "cuda:0" && json["dtype"]?.string == "bf16", "\(outcome)")
        #expect(json["device"]?.string == "CUDA on a processor")
        let other = run(["generate", "cube", "--backend", "cuda:1", "-o", "x.png"])
        #expect(other.status == 69 && other.errors.contains("there is no cuda:1"), "\(other)")
    }

    @Test func `what does not fit is 80 before any work, with what is needed, what is free and what would fit`() {
        let small = ["TTI_CUDA_ON_CPU_MEMORY": "\(220 << 20)"]
        let outcome = run(
            ["generate", "cube", "--backend", "cuda", "--dtype", "f32", "--count", "4", "-o", "{seed}.png"], small)
        #expect(outcome.status == 80 && outcome.isOneError("device.memory"), "\(outcome)")
        for words in ["cuda:0 (CUDA on a processor)", "weights", "work", "220.0 MiB are free", "--backend cpu"] {
            #expect(outcome.errors.contains(words), "\(words): \(outcome)")
        }
        #expect(outcome.errors.contains("try --batch") || outcome.errors.contains("try --dtype"), "\(outcome)")
        #expect(place.contents().isEmpty)
    }

    @Test func `a fault in a kernel is 82, names the kernel when asked to, and writes nothing`() {
        for sync in ["0", "1"] {
            let outcome = run(
                ["generate", "cube", "--mode", "ar", "--backend", "cuda", "-o", "x.png", "-q"],
                ["TTI_CUDA_ON_CPU_FAIL": "convert", "TTI_CUDA_SYNC": sync])
            #expect(outcome.status == 82 && outcome.errors.contains("error[device.lost]"), "\(outcome)")
            #expect(outcome.errors.contains(sync == "1" ? "'convert'" : "TTI_CUDA_SYNC=1"), "\(outcome)")
        }
        #expect(place.contents().isEmpty)
    }

    @Test(arguments: ["0", "1"])
    func `a kernel that reads where nothing is loses the device, and nothing hangs`(sync: String) {
        let outcome = CommandProcess.run(
            program: Self.check, ["--check", "fault"], in: place.path,
            environment: CUDAOnCPU.environment(["TTI_CUDA_SYNC": sync]))
        #expect(outcome.status == 0 && outcome.text.contains("5 of 5 checks passed"), "\(outcome)")
    }

    @Test func `ctrl-c in the middle of decoding is 130 and leaves nothing`() {
        let running = CommandProcess.start(
            ["generate", "cube", "--mode", "ar", "--backend", "cuda", "-o", "x.png"], in: place.path,
            environment: CUDAOnCPU.environment())
        // The line that says what was loaded comes right before decoding.
        var said = ""
        var byte: UInt8 = 0
        while !said.contains("loaded"), read(running.errors, &byte, 1) == 1 { said.unicodeScalars.append(.init(byte)) }
        usleep(1_000_000)
        let sent = ContinuousClock.now
        kill(running.id, SIGINT)
        let outcome = CommandProcess.finish(running)
        #expect(outcome.status == 130 && outcome.errors.contains("error[cancelled]"), "\(said) \(outcome)")
        #expect(ContinuousClock.now - sent < .seconds(20), "\(ContinuousClock.now - sent)")
        #expect(place.contents().isEmpty)
    }

    // MARK: Compiled kernels

    /// A few operations with a cache of compiled kernels.
    private func load(cache: String, compiler: String? = nil) -> Outcome {
        let environment = CUDAOnCPU.environment(cache: cache, compiler.map { ["TTI_CUDA_ON_CPU_CXX": $0] } ?? [:])
        return CommandProcess.run(
            program: Self.check, ["--dtype", "f32", "--check", "reference", "--filter", "increment"], in: place.path,
            environment: environment)
    }

    @Test func `compiled kernels are kept, and made again when they are damaged`() throws {
        let cache = place["kernels"]
        // Two processes fill it at once.
        let program = [Self.check, "--dtype", "f32", "--check", "reference", "--filter", "increment"]
        let environment = CUDAOnCPU.environment(cache: cache)
        let both = (0..<2).map { _ in
            CommandProcess.start(program: program[0], Array(program[1...]), in: place.path, environment: environment)
        }
        for outcome in both.map(CommandProcess.finish) { #expect(outcome.status == 0, "\(outcome)") }
        let files = place.contents("kernels")
        #expect(!files.isEmpty && files.allSatisfy { $0.hasSuffix(".kernels") }, "\(files)")
        // The second time nothing is compiled: there is no compiler to do it.
        #expect(load(cache: cache, compiler: "/bin/false").status == 0)

        let path =
            "kernels/" + (files.min { place.read("kernels/" + $0).count < place.read("kernels/" + $1).count } ?? "")
        let whole = place.read(path)
        var flipped = whole
        flipped[whole.count - 100] ^= 1
        for damaged in [flipped, Array(whole.prefix(whole.count / 2)), Array(whole.prefix(10)), [], [7] + whole] {
            place.write(path, damaged)
            #expect(load(cache: cache, compiler: "/bin/false").status != 0, "\(damaged.count) bytes were taken")
            #expect(load(cache: cache).status == 0, "\(damaged.count) bytes")
            #expect(load(cache: cache, compiler: "/bin/false").status == 0)
        }
        // Where nothing can be kept, it is compiled every time.
        place.write("file", "")
        #expect(load(cache: place["file/kernels"]).status == 0)
    }
}
