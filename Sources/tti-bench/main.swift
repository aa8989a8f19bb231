internal import Glibc

let options: BenchOptions
do throws(BenchOptions.Failure) {
    options = try BenchOptions(Array(CommandLine.arguments.dropFirst()))
} catch {
    complain("tti-bench: error[usage]: \(error.text); try --help")
    exit(64)
}
if options.isHelp {
    print(BenchOptions.help)
} else if options.isAlternatives {
    guard
        let alternatives = Alternatives(threads: options.threads, filters: options.filters, seconds: options.seconds)
    else {
        complain("tti-bench: error[usage]: --alternatives needs a processor with AVX-512")
        exit(64)
    }
    do { try alternatives.run() } catch {
        complain("tti-bench: error[backend.failed]: \(error)")
        exit(70)
    }
} else if options.cases.isEmpty {
    complain("tti-bench: error[usage]: no case has \(options.filters) in its name; try --list")
    exit(64)
} else if options.isList {
    for opCase in options.cases { print(opCase) }
} else {
    do {
        if options.isOpenBLAS {
            try OpenBLASPeer(threads: options.threads, seconds: options.seconds).run()
        } else {
            try Bench(options).run()
        }
    } catch {
        complain("tti-bench: error[backend.failed]: \(error)")
        exit(70)
    }
}

/// A line on standard error.
func complain(_ text: String) {
    let line = Array((text + "\n").utf8)
    unsafe _ = line.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
}
