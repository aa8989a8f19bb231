internal import Glibc

/// The noise levels that Euler's methods go through.
struct SigmaLine {
    let timesteps: [Double]
    /// One more than timesteps: where the last step ends.
    let sigmas: [Double]

    init(_ c: SchedulerConfiguration, _ table: NoiseTable, steps: Int) {
        let trained = table.sigmas(floor: c.rescalesToZeroSNR ? 0x1p-24 : 0)
        var times = c.timesteps(steps)
        var line = times.map { trained.interpolated(at: $0) }
        if c.usesKarrasSigmas {
            line = karrasSigmas(from: c.sigmaMaximum ?? line[0], to: c.sigmaMinimum ?? line[line.count - 1], steps)
            times = line.map { trained.step(ofSigma: $0) }
        }
        (timesteps, sigmas) = (times, (line + [c.endsAtZero ? 0 : trained[0]]).map { Double(Float($0)) })
    }

    /// - Parameter next: the next sample for the noise now and then.
    func plan(
        _ c: SchedulerConfiguration, from first: Int, _ next: (Double, Double) -> DiffusionPlan.Mix
    ) -> DiffusionPlan {
        let updates = (first..<timesteps.count).map { index in
            let level = DiffusionPlan.Level(signal: 1, noise: sigmas[index])
            return DiffusionPlan.Update(
                timestep: timesteps[index], inputScale: 1 / (sigmas[index] * sigmas[index] + 1).squareRoot(),
                predicted: level.picture(c.prediction), sample: next(sigmas[index], sigmas[index + 1]))
        }
        return DiffusionPlan(
            updates, levels: sigmas[first...].map { .init(signal: 1, noise: $0) },
            initialScale: c.spacing == .leading ? (sigmas[0] * sigmas[0] + 1).squareRoot() : sigmas[0])
    }
}

/// Sigmas whose seventh roots lie on a straight line (Karras et al. 2022, equation 5).
func karrasSigmas(from first: Double, to last: Double, _ count: Int) -> [Double] {
    let (a, b) = (pow(first, 1 / 7), pow(last, 1 / 7))
    return (0..<count).map { index in
        pow(a + (count > 1 ? Double(index) / Double(count - 1) : 0) * (b - a), 7)
    }
}

extension [Double] {
    /// Between whole indices in a straight line; beyond the ends, the ends.
    func interpolated(at place: Double) -> Double {
        let low = Int(place.rounded(.down))
        guard low >= 0 else { return self[0] }
        guard low < count - 1 else { return self[count - 1] }
        return self[low] + (place - Double(low)) * (self[low + 1] - self[low])
    }

    /// The training step of a sigma, in a straight line between the logarithms of ascending sigmas.
    func step(ofSigma sigma: Double) -> Double {
        let low = Swift.min(Swift.max((firstIndex { $0 > sigma } ?? count) - 1, 0), count - 2)
        let share = (log(self[low]) - log(Swift.max(sigma, 1e-10))) / (log(self[low]) - log(self[low + 1]))
        return Double(low) + Swift.min(Swift.max(share, 0), 1)
    }
}
