internal import CTTIVersion
internal import TTIAccounting
internal import TTICPU
internal import TTICore
internal import TTIFormats
internal import TTITestSupport

/// The best that this machine can do, measured in this process.
struct Ceilings {
    /// GB/s.
    let read, copy: Double
    /// TFLOP/s of multiply-adds: of float32, or on tiles (or by VDPBF16PS) of bfloat16 when that is what products of many rows use.
    let matrix: Double

    init(_ backend: CPUBackend) throws {
        read = try backend.measureReadBandwidth(bytes: Bench.workingSet)
        copy = try backend.measureCopyBandwidth(bytes: Bench.workingSet)
        let tiles = backend.weightType == .float32 ? nil : backend.measureTileRate(backend.weightType)
        matrix = tiles ?? backend.measureMatrixRate()
    }
}

/// Measures cases one after the other, and this machine's ceilings beside them.
struct Bench {
    let options: BenchOptions
    let backend: CPUBackend

    /// Memory that the copies of a case should fill together, so that no cache holds them.
    static let workingSet = 256 << 20

    init(_ options: BenchOptions) {
        self.options = options
        backend = CPUBackend(
            weightType: options.weightType, threads: options.threads, instructionSet: options.instructionSet)
    }

    func run() throws {
        let clock = ContinuousClock()
        var ceilings = try Ceilings(backend)
        var measured = clock.now
        if !options.isJSON { printHeader(ceilings) }
        for opCase in options.cases {
            // Neighbours and clocks change: a share is of what the machine could do a few seconds ago.
            if clock.now - measured > .seconds(5) {
                ceilings = try Ceilings(backend)
                measured = clock.now
            }
            let cost = try opCase.cost(weightType: backend.weightType, cacheType: backend.cacheType)
            let times = try measure(opCase, cost)
            if options.isJSON {
                print(json(opCase, cost, times, ceilings).text(isASCII: true))
            } else {
                printRow(opCase, cost, times, ceilings)
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
            // Up to `synchronize`: a product is done when it is asked for.
            let time = try clock.measure {
                _ = operation()
                try backend.synchronize()
            }
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

    private func printHeader(_ ceilings: Ceilings) {
        print(
            "\(processorName()), \(options.threads) threads, \(options.instructionSet), \(options.weightType), commit \(commit)"
        )
        print(
            "ceilings: read \(decimal(ceilings.read, 1)) GB/s, copy \(decimal(ceilings.copy, 1)) GB/s, "
                + "\(decimal(ceilings.matrix * 1000, 0)) GFLOP/s")
        print(row("best µs", "median", "p90", "GB/s", "share", "GFLOP/s", "share", "case"))
    }

    private func printRow(_ opCase: OpCase, _ cost: OperationTotals, _ times: [Double], _ ceilings: Ceilings) {
        let median = quantile(times, 0.5)
        let (bandwidth, rate) = (Double(cost.bytes) / median * 1e-9, Double(cost.flops) / median * 1e-9)
        print(
            row(
                decimal(times[0] * 1e6, 1), decimal(median * 1e6, 1), decimal(quantile(times, 0.9) * 1e6, 1),
                decimal(bandwidth, 2), "\(decimal(100 * bandwidth / ceilings.read, 0)) %", decimal(rate, 1),
                "\(decimal(0.1 * rate / ceilings.matrix, 0)) %", opCase.description))
    }

    private func json(_ opCase: OpCase, _ cost: OperationTotals, _ times: [Double], _ ceilings: Ceilings) -> JSON {
        let median = quantile(times, 0.5)
        let (bandwidth, rate) = (Double(cost.bytes) / median * 1e-9, Double(cost.flops) / median * 1e-12)
        return [
            "what": JSON(opCase.operation), "case": JSON(opCase.detail), "backend": "cpu",
            "device": JSON(processorName()), "isa": JSON(options.instructionSet.rawValue),
            "threads": JSON(options.threads),
            "dtype": JSON(options.weightType == .float32 ? "f32" : options.weightType == .int8 ? "int8" : "bf16"),
            "batch": JSON(opCase.batch), "commit": JSON(commit), "repeats": JSON(times.count),
            "median_ms": JSON(median * 1e3), "best_ms": JSON(times[0] * 1e3),
            "p10_ms": JSON(quantile(times, 0.1) * 1e3), "p90_ms": JSON(quantile(times, 0.9) * 1e3),
            "bytes": JSON(cost.bytes), "flops": JSON(cost.flops), "gb_s": JSON(bandwidth), "tflop_s": JSON(rate),
            "bandwidth_share": JSON(bandwidth / ceilings.read), "matrix_share": JSON(rate / ceilings.matrix),
            "ceilings": [
                "read_gb_s": JSON(ceilings.read), "copy_gb_s": JSON(ceilings.copy), "tflop_s": JSON(ceilings.matrix),
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
