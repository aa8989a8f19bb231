// tti-check: every operation of a backend against the Double-precision reference, and whole models against the CPU, without a
// testing library, so that it can be carried to a machine with a GPU and no Swift.
internal import Glibc
internal import TTICore

do throws(CheckOptions.Failure) {
    let options = try CheckOptions(Array(CommandLine.arguments.dropFirst()))
    if options.isHelp {
        print(CheckOptions.help)
    } else {
        do { exit(try run(options) ? 0 : 1) } catch {
            complain("tti-check: error[backend.failed]: \(error)")
            exit(70)
        }
    }
} catch {
    complain("tti-check: error[usage]: \(error.text); try --help")
    exit(64)
}

/// - Returns: whether everything is as it should be.
func run(_ options: CheckOptions) throws -> Bool {
    let report = CheckReport()
    if options.compiledCapabilities.isEmpty {
        report.note("backend", options.backend)
        report.note("device", try options.deviceName())
        try OperationChecks(options: options, report: report).run()
        if options.checks.contains(.models) { try ModelChecks(options: options, report: report).run() }
        if options.checks.contains(.fault) { try FaultChecks(options: options, report: report).run() }
    } else {
        CompilationChecks(options: options, report: report).run()
    }
    if let json = options.json { try report.write(to: json) }
    return report.isClean
}

/// A line on standard error.
func complain(_ text: String) {
    let line = Array((text + "\n").utf8)
    unsafe _ = line.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
}
