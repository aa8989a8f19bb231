internal import TTICore

/// Which units are timed, and how.
///
/// A device that does its work as it is issued is looked at unit by unit. One that works behind the host is waited for
/// once after many units, as a pipeline would, and the time is theirs: waiting after each would count the way to the
/// device and back.
struct BenchmarkSchedule {
    /// Units in a row that begin at a place of the sequence.
    struct Run: Sendable {
        let position: Int
        let units: Int
    }

    /// Early and late in the sequence for decoding.
    let places: [Run]
    /// The whole sequence, or many units; nil where the places are all that is looked at.
    let whole: Run?
    let repeats: Int
    let isIssuedAhead: Bool

    /// Where in the sequence a unit is on average.
    var meanPosition: Int {
        if let whole { return whole.position + whole.units / 2 }
        return places.reduce(0) { $0 + $1.position } / max(1, places.count)
    }

    /// How long a measurement may go on after its first repeat.
    private static let budget = 120.0
    /// A GPU's clocks rise with the work that it has.
    private static let warmUp = 0.3

    /// - Parameter length: tokens of the sequence, where there is one.
    init(_ benchmark: Benchmark, _ length: Int?, isIssuedAhead: Bool) throws(TTIError) {
        repeats = benchmark.repeats
        self.isIssuedAhead = isIssuedAhead
        guard benchmark.what == .decode, let full = length else {
            let units = benchmark.steps ?? (isIssuedAhead && benchmark.what != .prefill ? 16 : 1)
            places = [Run(position: 0, units: units)]
            whole = nil
            return
        }
        let length = min(benchmark.tokens ?? full, full)
        let units = benchmark.steps ?? (isIssuedAhead ? min(32, length) : 8)
        guard length >= units else {
            throw TTIError(
                .usage, "usage.bench",
                "\(units) tokens in a row do not fit a sequence of \(length); give fewer --steps or more --tokens")
        }
        let late = length - units
        places = (late == 0 ? [0] : [min(16, late / 2), late]).map { Run(position: $0, units: units) }
        whole = isIssuedAhead ? Run(position: 0, units: length) : nil
    }

    /// Seconds of a unit.
    struct Samples {
        var all: [Double]
        var byPosition: [(position: Int, seconds: [Double])]
        var repeats: Int
    }

    /// The first repeat warms up and is not kept.
    func sample(_ work: BenchmarkWork, _ progress: (Int, Int) -> Void) throws -> Samples {
        var samples = [[Double]](repeating: [], count: places.count)
        var wholes: [Double] = []
        let begin = ContinuousClock.now
        var done = 0
        for pass in 0...repeats {
            repeat {
                for (index, run) in places.enumerated() {
                    let seconds = try time(work, run)
                    if pass > 0 { samples[index] += seconds }
                }
                if let whole {
                    let seconds = try time(work, whole)
                    if pass > 0 { wholes += seconds }
                }
            } while pass == 0 && isIssuedAhead && begin.secondsSinceThen < BenchmarkSchedule.warmUp
            progress(pass, repeats)
            done = pass
            if pass > 0, begin.secondsSinceThen > BenchmarkSchedule.budget { break }
        }
        return Samples(
            all: whole == nil ? samples.flatMap { $0 } : wholes,
            byPosition: zip(places, samples).map { ($0.position, $1) }, repeats: done)
    }

    private func time(_ work: BenchmarkWork, _ run: Run) throws -> [Double] {
        work.begin(run.position)
        try work.wait()
        if isIssuedAhead {
            let start = ContinuousClock.now
            for _ in 0..<run.units { work.issue() }
            try work.wait()
            return [start.secondsSinceThen / Double(run.units)]
        }
        return try (0..<run.units).map { _ in
            let start = ContinuousClock.now
            work.issue()
            try work.wait()
            return start.secondsSinceThen
        }
    }
}
