// tti-check: every operation of a backend against the Double-precision reference, without a testing library, so that it can
// be carried to a machine with a GPU and no Swift.
internal import Glibc
internal import TTICore

do throws(CheckOptions.Failure) {
    let options = try CheckOptions(Array(CommandLine.arguments.dropFirst()))
    if options.isHelp {
        print(CheckOptions.help)
    } else {
        do {
            exit(try OperationChecks(options).run() ? 0 : 1)
        } catch {
            complain("tti-check: error[backend.failed]: \(error)")
            exit(70)
        }
    }
} catch {
    complain("tti-check: error[usage]: \(error.text); try --help")
    exit(64)
}

/// A line on standard error.
func complain(_ text: String) {
    let line = Array((text + "\n").utf8)
    unsafe _ = line.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
}
