internal import CTTIVersion
internal import TTIAccounting
internal import TTICPU
internal import TTICore
internal import TTIFormats
internal import TTITestSupport

/// Measures cases one after the other, and this machine's ceilings beside them.
struct Bench {
    let options: BenchOptions
    let backend: CPUBackend
    /// GB/s of reading and copying, TFLOP/s of multiply-adds: of this process, before the first case.
    let readBandwidth: Double
    let copyBandwidth: Double
    let matrixRate: Double

    /// Memory that the copies of a case should fill together, so that no cache holds them.
    static let workingSet = 256 << 20

    init(_ options: BenchOptions) throws {
        self.options = options
        backend = CPUBackend(
            weightType: options.weightType, threads: options.threads, instructionSet: options.instructionSet)
        readBandwidth = try backend.measureReadBandwidth(bytes: Bench.workingSet)
        copyBandwidth = try backend.measureCopyBandwidth(bytes: Bench.workingSet)
        matrixRate = backend.measureMatrixRate()
    }

    func run() throws {
        if !options.isJSON { printHeader() }
        for opCase in options.cases {
            let cost = try opCase.cost(weightType: backend.weightType, cacheType: backend.cacheType)
            let times = try measure(opCase, cost)
            if options.isJSON {
                print(json(opCase, cost, times).text(isASCII: true))
            } else {
                printRow(opCase, cost, times)
            }
        }
    }

    /// Seconds of each call, sorted.
    private func measure(_ opCase: OpCase, _ cost: OperationTotals) throws -> [Double] {
        // What is bound by memory is called on many copies in turn: inside a model, weights and caches are never warm.
        let isStreaming = cost.intensity < 64
        let copies = isStreaming ? min(64, max(1, Bench.workingSet / max(cost.bytes, 1))) : 1
        try backend.reserve(arenaBytes: try opCase.arenaBytes(for: backend) * copies)
        backend.arena.rewind(to: 0)
        let operations = try (0..<copies).map { _ in try opCase.prepare(on: backend) }
        let mark = backend.arena.mark

        let clock = ContinuousClock()
        var times: [Double] = []
        func call() throws {
            let operation = operations[times.count % copies]
            backend.arena.rewind(to: mark)
            let time = clock.measure { _ = operation() }
            try backend.synchronize()
            times.append(time / .seconds(1))
        }
        // Once over everything, to touch all pages, not counted.
        for _ in 0..<copies { try call() }
        times.removeAll()
        let begin = clock.now
        while times.count < 5 || (clock.now - begin) / .seconds(1) < options.seconds { try call() }
        return times.sorted()
    }

    private func quantile(_ times: [Double], _ fraction: Double) -> Double {
        times[min(times.count - 1, Int(fraction * Double(times.count)))]
    }

    // MARK: What is printed

    private func printHeader() {
        print(
            "\(processorName()), \(options.threads) threads, \(options.instructionSet), \(options.weightType), commit \(commit)"
        )
        print(
            "ceilings: read \(decimal(readBandwidth, 1)) GB/s, copy \(decimal(copyBandwidth, 1)) GB/s, "
                + "\(decimal(matrixRate * 1000, 0)) GFLOP/s")
        print(row("median µs", "p10", "p90", "GB/s", "share", "GFLOP/s", "share", "case"))
    }

    private func printRow(_ opCase: OpCase, _ cost: OperationTotals, _ times: [Double]) {
        let median = quantile(times, 0.5)
        let (bandwidth, rate) = (Double(cost.bytes) / median * 1e-9, Double(cost.flops) / median * 1e-9)
        print(
            row(
                decimal(median * 1e6, 1), decimal(quantile(times, 0.1) * 1e6, 1),
                decimal(quantile(times, 0.9) * 1e6, 1),
                decimal(bandwidth, 2), "\(decimal(100 * bandwidth / readBandwidth, 0)) %", decimal(rate, 1),
                "\(decimal(0.1 * rate / matrixRate, 0)) %", opCase.description))
    }

    private func json(_ opCase: OpCase, _ cost: OperationTotals, _ times: [Double]) -> JSON {
        let median = quantile(times, 0.5)
        let (bandwidth, rate) = (Double(cost.bytes) / median * 1e-9, Double(cost.flops) / median * 1e-12)
        return [
            "what": JSON(opCase.operation), "case": JSON(opCase.detail), "backend": "cpu",
            "device": JSON(processorName()), "isa": JSON(options.instructionSet.rawValue),
            "threads": JSON(options.threads), "dtype": JSON(options.weightType == .float32 ? "f32" : "bf16"),
            "batch": JSON(opCase.batch), "commit": JSON(commit), "repeats": JSON(times.count),
            "median_ms": JSON(median * 1e3), "best_ms": JSON(times[0] * 1e3),
            "p10_ms": JSON(quantile(times, 0.1) * 1e3), "p90_ms": JSON(quantile(times, 0.9) * 1e3),
            "bytes": JSON(cost.bytes), "flops": JSON(cost.flops), "gb_s": JSON(bandwidth), "tflop_s": JSON(rate),
            "bandwidth_share": JSON(bandwidth / readBandwidth), "matrix_share": JSON(rate / matrixRate),
            "ceilings": [
                "read_gb_s": JSON(readBandwidth), "copy_gb_s": JSON(copyBandwidth), "tflop_s": JSON(matrixRate),
            ],
        ]
    }

    private func row(_ cells: String...) -> String {
        let widths = [12, 12, 12, 9, 7, 10, 7]
        let padded = zip(cells, widths).map { String(repeating: " ", count: max(0, $1 - $0.count)) + $0 }
        return padded.joined() + "  " + (cells.last ?? "")
    }
}

/// The commit that this program was built from.
private var commit: String { unsafe String(cString: ctti_commit()) }

/// A number with so many decimal places.
func decimal(_ number: Double, _ places: Int) -> String {
    guard number.isFinite, abs(number) < 1e15 else { return "\(number)" }
    let power = (0..<places).reduce(1.0) { power, _ in power * 10 }
    let scaled = Int((abs(number) * power).rounded())
    let digits = String(scaled)
    let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
    let text = places == 0 ? padded : padded.dropLast(places) + "." + padded.suffix(places)
    return (number < 0 && scaled != 0 ? "-" : "") + text
}
