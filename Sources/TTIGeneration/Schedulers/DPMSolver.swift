internal import Glibc

/// DPM-Solver++ of first and second order over several steps, 2M (Lu et al. 2022; diffusers' DPMSolverMultistepScheduler,
/// algorithm "dpmsolver++").
enum DPMSolver {
    /// What is kept: the picture that the step before predicted.
    private static let before = 0

    static func plan(_ c: SchedulerConfiguration, _ table: NoiseTable, steps: Int, from first: Int) -> DiffusionPlan {
        let trained = table.sigmas(floor: c.rescalesToZeroSNR ? 0x1p-24 : 0)
        var timesteps = c.solverTimesteps(steps).map(Double.init)
        var line = timesteps.map { trained.interpolated(at: $0) }
        if c.usesKarrasSigmas {
            line = karrasSigmas(from: trained[trained.count - 1], to: trained[0], steps)
            timesteps = line.map { trained.step(ofSigma: $0) }
            if c.betaSchedule != .cosine { timesteps = timesteps.map { $0.rounded(.toNearestOrEven) } }
            timesteps = timesteps.map { $0.rounded(.down) }
        }
        let levels = (line + [c.endsAtZero ? 0 : trained[0]]).map { sigma in
            let sigma = Double(Float(sigma))
            let signal = 1 / (sigma * sigma + 1).squareRoot()
            return DiffusionPlan.Level(signal: signal, noise: sigma * signal)
        }
        let updates = (first..<steps).map { index in
            let isLast = index == steps - 1
            // the first step has nothing to look back to; the last one is steadier without, if there are few, and has to be
            // without if it ends at no noise
            let isFirstOrder =
                c.solverOrder == 1 || index == first
                || isLast && (c.endsAtZero || c.endsWithEuler || c.lowersLastOrder && steps < 15)
            return DiffusionPlan.Update(
                timestep: timesteps[index], predicted: levels[index].picture(c.prediction),
                sample: next(
                    levels[index], levels[index + 1], before: isFirstOrder ? nil : levels[index - 1],
                    usesHeun: c.usesHeun),
                memory: [before: .init(predicted: 1)])
        }
        return DiffusionPlan(updates, levels: Array(levels[first...]), memoryCount: 1)
    }

    /// Equations 9 and 12 of the paper.
    private static func next(
        _ now: DiffusionPlan.Level, _ next: DiffusionPlan.Level, before: DiffusionPlan.Level?, usesHeun: Bool
    ) -> DiffusionPlan.Mix {
        let h = next.logRatio - now.logRatio
        let share = next.signal * (1 - exp(-h))
        let mix = DiffusionPlan.Mix(sample: next.noise / now.noise, predicted: share)
        guard let before else { return mix }
        let ratio = (now.logRatio - before.logRatio) / h
        let second = (usesHeun ? next.signal * ((exp(-h) - 1) / h + 1) : share / 2) / ratio
        return mix.adding(.init(predicted: second), times: 1).adding(.kept(DPMSolver.before), times: -second)
    }
}

extension DiffusionPlan.Level {
    /// Half the logarithm of the ratio of signal to noise.
    fileprivate var logRatio: Double { log(signal) - log(noise) }
}
