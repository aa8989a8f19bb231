internal import CTTIAlternatives
internal import Glibc
internal import TTICPU
internal import TTICore

/// What "Speed Is All You Need" proposes for diffusion on phones (Winograd, a partially fused softmax, GroupNorm and GELU in one
/// kernel) beside what is in the house, in turns on the same operands in float32, with the error of each against Double.
struct Alternatives {
    let backend: CPUBackend
    let filters: [String]
    let seconds: Double

    /// One way of doing some work: what it is called, and the work. The result is `[rows, width]`.
    struct Way {
        let name: String
        let work: () -> Tensor
    }

    /// The first way is the house's. `expected` gives some numbers of the result in Double: where they are, and what they are.
    struct Comparison {
        let name: String
        let ways: [Way]
        let expected: [(index: Int, value: Double)]
    }

    init?(threads: Int, filters: [String], seconds: Double) {
        guard CPUBackend.InstructionSet.avx512.isAvailable else { return nil }
        backend = CPUBackend(weightType: .float32, threads: threads)
        self.filters = filters
        self.seconds = seconds
    }

    func run() throws {
        let rate = backend.measureMatrixRate() * 1000
        print(
            "\(processorName()), \(backend.pool.threadCount) threads, f32, \(decimal(rate, 0)) GFLOP/s; medians in turns, "
                + (backend.pool.threadCount == 1 ? "processor time" : "wall time")
                + "; error: the largest against Double, in units of the largest number")
        print("ms\tspread\tratio\terror\twork")
        let cases: [(String, () throws -> Comparison)] = winogradCases + attentionCases + passCases
        for (name, make) in cases where filters.isEmpty || filters.contains(where: { name.contains($0) }) {
            try backend.reserve(arenaBytes: 1 << 32)
            backend.arena.rewind(to: 0)
            try measure(try make())
        }
    }

    private func measure(_ comparison: Comparison) throws {
        let mark = backend.arena.mark
        var times = comparison.ways.map { _ in [Double]() }
        var errors = comparison.ways.map { _ in 0.0 }
        let largest = comparison.expected.reduce(0) { max($0, abs($1.value)) }
        // The first turn touches pages and is compared, not counted.
        for (number, way) in comparison.ways.enumerated() {
            backend.arena.rewind(to: mark)
            let result = way.work()
            try backend.synchronize()
            for (index, value) in comparison.expected {
                errors[number] = max(errors[number], abs(Double(unsafe result.elements[index]) - value) / largest)
            }
        }
        let begin = clock()
        while times[0].count < 5 || (clock() - begin < seconds * 4 && times[0].count < 200) {
            for (number, way) in comparison.ways.enumerated() {
                backend.arena.rewind(to: mark)
                let start = clock()
                _ = way.work()
                try backend.synchronize()
                times[number].append(clock() - start)
            }
        }
        let sorted = times.map { $0.sorted() }
        func median(_ number: Int) -> Double { sorted[number][sorted[number].count / 2] }
        for (number, way) in comparison.ways.enumerated() {
            let all = sorted[number]
            let spread = (all[all.count * 9 / 10] - all[all.count / 10]) / median(number)
            print(
                "\(decimal(median(number) * 1e3, 2))\t\(decimal(100 * spread, 0)) %\t"
                    + "\(decimal(median(0) / median(number), 2))\t\(decimal(errors[number] * 1e7, 1))e-7\t"
                    + "\(comparison.name): \(way.name)")
        }
    }

    /// Processor time of one thread, whatever else the machine does; of more threads, which wait for each other, wall time.
    private func clock() -> Double {
        var now = timespec()
        unsafe clock_gettime(backend.pool.threadCount == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
    }

    // MARK: What the cases share

    /// Numbers between -½ and ½.
    func numbers(_ count: Int, _ position: Int) -> [Float] {
        let random = RandomStream(seed: 1)
        return (0..<count).map { random.uniform(.latent, position: position, index: $0) - 0.5 }
    }

    /// Parts of about 64 KB for each thread.
    func inParts(of count: Int, size: Int, _ body: (Range<Int>) -> Void) {
        let step = max(1, 16384 / size)
        backend.pool.forEach((count + step - 1) / step) { body($0 * step..<min(count, ($0 + 1) * step)) }
    }
}

extension Tensor {
    var elements: UnsafeMutablePointer<Float> {
        precondition(dtype == .float32 && address != 0, "\(dtype) as float32")
        return unsafe UnsafeMutablePointer(bitPattern: address)!
    }
}
