import Glibc
import TTI

/// What a run of the built command left behind.
struct Outcome: CustomStringConvertible {
    let status: Int32
    /// The signal that ended it; 0: none.
    let signal: Int32
    let output: [UInt8]
    let errors: String
    /// Bytes of memory that it held at most.
    let peakMemory: Int

    var text: String { String(decoding: output, as: UTF8.self) }
    var lines: [String] { text.split(separator: "\n").map(String.init) }
    var errorLines: [String] { errors.split(separator: "\n").map(String.init) }
    var description: String {
        "status \(status), signal \(signal), output \(text.prefix(300)), errors \(errors.prefix(500))"
    }

    /// Whether standard error is exactly one line of the contract's form, about what is said.
    func isOneError(_ name: String) -> Bool {
        errorLines.count == 1 && errors.hasPrefix("tti-ar: error[\(name)")
            && errors.utf8.allSatisfy { $0 >= 0x20 || $0 == UInt8(ascii: "\n") }
    }
}

/// The built `tti-ar`, as a process.
enum CommandProcess {
    /// Beside the test bundle that is running.
    static let path: String = {
        let bundle = executablePath()
        let folder = bundle.prefix(upTo: bundle.lastIndex(of: "/") ?? bundle.startIndex)
        return String(folder) + "/tti-ar"
    }()

    /// The repository, found by its checkpoints.
    static let repository: String = {
        let checkpoint = findShippedCheckpoint(named: "scenes-masked") ?? ""
        return checkpoint.replacing("/Checkpoints/scenes-masked", with: "")
    }()

    /// A process that was started, and what it is given and gives.
    struct Running {
        let id: pid_t
        let output: Int32
        let errors: Int32
    }

    /// Starts the command.
    /// - Parameters:
    ///   - program: the command, unless it says otherwise.
    ///   - arguments: without the program's name.
    ///   - input: what standard input has.
    ///   - folder: the working directory.
    ///   - environment: variables besides PATH and HOME.
    ///   - closesOutput: whether standard output is closed from the start.
    static func start(
        program: String = path, _ arguments: [String], input: [UInt8] = [], in folder: String,
        environment: [String: String] = [:],
        closesOutput: Bool = false
    ) -> Running {
        var (outputs, errors, inputs): ([Int32], [Int32], [Int32]) = ([-1, -1], [-1, -1], [-1, -1])
        precondition(pipe2(&outputs) == 0 && pipe2(&errors) == 0 && pipe2(&inputs) == 0)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, inputs[0], 0)
        if closesOutput {
            posix_spawn_file_actions_addclose(&actions, 1)
        } else {
            posix_spawn_file_actions_adddup2(&actions, outputs[1], 1)
        }
        posix_spawn_file_actions_adddup2(&actions, errors[1], 2)
        // Threads of the test runner block signals, and a shell in the background ignores some; the command has neither.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var variables = ["PATH": "/usr/bin:/bin", "HOME": folder]
        variables.merge(environment) { $1 }
        let argv = (["env", "-C", folder, program] + arguments).map { strdup($0) } + [nil]
        let envp = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var id: pid_t = 0
        let result = posix_spawn(&id, "/usr/bin/env", &actions, &attributes, argv, envp)
        precondition(result == 0, "cannot start \(program): \(result)")
        close(outputs[1])
        close(errors[1])
        close(inputs[0])
        var rest = input[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(inputs[1], $0.baseAddress, $0.count) }
            if written <= 0 { break }
            rest = rest.dropFirst(written)
        }
        close(inputs[1])
        return Running(id: id, output: outputs[0], errors: errors[0])
    }

    /// Reads both pipes to their ends, and waits; a process that takes two minutes is killed.
    static func finish(_ running: Running) -> Outcome {
        var streams: [(descriptor: Int32, bytes: [UInt8])] = [(running.output, []), (running.errors, [])]
        let deadline = ContinuousClock.now + .seconds(120)
        var open = 2
        while open > 0 {
            var polls = streams.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            if poll(&polls, 2, 1000) == 0, ContinuousClock.now > deadline { kill(running.id, SIGKILL) }
            for (index, poll) in polls.enumerated() where poll.revents != 0 {
                var chunk = [UInt8](repeating: 0, count: 65536)
                let count = read(streams[index].descriptor, &chunk, chunk.count)
                if count > 0 {
                    streams[index].bytes += chunk[..<count]
                } else {
                    close(streams[index].descriptor)
                    streams[index].descriptor = -1
                    open -= 1
                }
            }
        }
        var status: Int32 = 0
        var usage = rusage()
        wait4(running.id, &status, 0, &usage)
        let signal = status & 0x7f
        return Outcome(
            status: signal == 0 ? status >> 8 & 0xff : -1, signal: signal, output: streams[0].bytes,
            errors: String(decoding: streams[1].bytes, as: UTF8.self), peakMemory: usage.ru_maxrss * 1024)
    }

    static func run(
        program: String = path, _ arguments: [String], input: [UInt8] = [], in folder: String,
        environment: [String: String] = [:],
        closesOutput: Bool = false
    ) -> Outcome {
        finish(
            start(
                program: program, arguments, input: input, in: folder, environment: environment,
                closesOutput: closesOutput))
    }

    /// A pipe whose ends no other child inherits.
    private static func pipe2(_ ends: inout [Int32]) -> Int32 {
        let result = pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return result
    }
}
