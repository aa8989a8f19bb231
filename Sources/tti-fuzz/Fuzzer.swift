import Glibc
import TTIFormats

/// How many inputs are made from one number, so that a crash can be found again quickly.
private let batchCount = 256

/// Mutates seeds and runs the target on them until the time is over.
func fuzz(_ target: FuzzTarget, seconds: Double, seed: UInt64) {
    let file = "tti-fuzz.\(target.name).\(getpid()).input"
    let folder = environmentVariable("TMPDIR") ?? "/tmp"
    let path = joinPath(folder, file)
    say("\(target.name): seed \(seed), the current input is in \(path)")
    let keeper = Keeper(path: path)
    let start = ContinuousClock.now
    // Inputs that were accepted become seeds: what is deeper is reached from them.
    var pool = target.seeds
    var executions = 0
    var acceptedCount = 0
    var longest = 0.0
    var batch: UInt64 = 0
    while (ContinuousClock.now - start).seconds < seconds {
        var random = Mutator(seed: seed &+ batch &* 0x9e37_79b9_7f4a_7c15, target: target)
        for _ in 0..<batchCount {
            let input = random.mutant(of: pool)
            keeper.store(input)
            let before = ContinuousClock.now
            let isAccepted = target.run(input)
            longest = max(longest, (ContinuousClock.now - before).seconds)
            executions += 1
            if isAccepted {
                acceptedCount += 1
                // Replaced in a fixed order, so that the pool depends on the seed alone.
                if pool.count < 256 { pool.append(input) } else if input.count < 4096 { pool[executions % 256] = input }
            }
        }
        batch += 1
    }
    let elapsed = (ContinuousClock.now - start).seconds
    say(
        "\(target.name): \(executions) executions, \(acceptedCount) accepted, \(Int(Double(executions) / elapsed)) a second,"
            + " longest \(durationText(seconds: longest))")
    if longest > 1 {
        say("\(target.name): an input took longer than a second")
        exit(1)
    }
}

/// Gives one file to the targets.
func runOnce(_ path: String, _ targets: [FuzzTarget]) {
    do {
        let bytes = try readFile(path, limit: 1 << 30)
        for target in targets { say("\(target.name): \(target.run(bytes) ? "accepted" : "refused")") }
    } catch {
        say("tti-fuzz: \(error)")
        exit(66)
    }
}

func usage(_ complaint: String?) -> Never {
    if let complaint { say("tti-fuzz: \(complaint)") }
    let names = fuzzTargets.map(\.name).joined(separator: "|")
    say("usage: tti-fuzz [--seconds N] [--seed S] [--input FILE] [\(names)|all]")
    exit(complaint == nil ? 0 : 64)
}

func say(_ line: String) { try? writeAll(Array((line + "\n").utf8), to: 2, name: "standard error") }

/// A file that holds the current input, so that it is found after a crash.
private final class Keeper {
    private let path: String
    private let descriptor: Int32

    init(path: String) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    }

    deinit {
        close(descriptor)
        unsafe unlink(path)
    }

    func store(_ input: [UInt8]) {
        _ = unsafe pwrite(descriptor, input, input.count, 0)
        ftruncate(descriptor, input.count)
    }
}
