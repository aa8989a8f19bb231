/// Pseudo numerical methods (Liu et al. 2022; diffusers' PNDMScheduler): Adams-Bashforth steps over the last four outputs of
/// the network (PLMS), begun with three Runge-Kutta steps of four evaluations, or (`skip_prk_steps`, as Stable Diffusion
/// does) with lower orders.
enum PNDM {
    /// What is kept: the sample that a step of several evaluations began with, the sum of their outputs, and outputs, the
    /// last one first.
    private static let (base, sum, outputs) = (0, 1, [2, 3, 4])

    static func plan(
        _ c: SchedulerConfiguration, _ table: NoiseTable, steps: Int, from first: Int
    ) throws(SettingsError) -> DiffusionPlan {
        let skipsRungeKutta = c.skipsRungeKutta || first > 0
        guard skipsRungeKutta || steps >= 4 else {
            throw SettingsError("usage.range", "steps is \(steps), but this checkpoint's scheduler needs at least 4")
        }
        let timesteps = Array(c.wholeTimesteps(steps)[first...])
        let method = Method(c, table, interval: c.trainSteps / steps)
        let updates =
            skipsRungeKutta
            ? method.warmUp(timesteps) + method.multistep(timesteps.dropFirst(1), known: 1)
            : method.rungeKutta(timesteps.prefix(4)) + method.multistep(timesteps.dropFirst(3), known: 3)
        let levels = updates.map { DiffusionPlan.Level(alphaBar: table.alphaBar(Int($0.timestep), final: 1)) }
        return DiffusionPlan(updates, levels: levels + [.clean], memoryCount: 5)
    }

    private struct Method {
        let c: SchedulerConfiguration
        let table: NoiseTable
        /// Training steps between two of sampling.
        let interval: Int
        let final: Double

        init(_ c: SchedulerConfiguration, _ table: NoiseTable, interval: Int) {
            (self.c, self.table, self.interval) = (c, table, interval)
            final = c.setAlphaToOne ? 1 : Double(table.alphaBar[0])
        }

        /// Equation 9 of the paper: from one training step to another, along an output that is a sum itself.
        private func moved(
            _ sample: DiffusionPlan.Mix, from timestep: Int, to next: Int, along output: DiffusionPlan.Mix
        ) -> DiffusionPlan.Mix {
            let (a, b) = (table.alphaBar(timestep, final: final), table.alphaBar(next, final: final))
            var direction = output
            if c.prediction == .velocity {
                direction = output.scaled(by: a.squareRoot()).adding(sample, times: (1 - a).squareRoot())
            }
            let denominator = a * (1 - b).squareRoot() + (a * (1 - a) * b).squareRoot()
            return sample.scaled(by: (b / a).squareRoot()).adding(direction, times: -(b - a) / denominator)
        }

        private func update(
            _ timestep: Int, _ sample: DiffusionPlan.Mix, memory: [Int: DiffusionPlan.Mix] = [:]
        ) -> DiffusionPlan.Update {
            let level = DiffusionPlan.Level(alphaBar: table.alphaBar(timestep, final: final))
            return .init(
                timestep: Double(timestep), predicted: level.picture(c.prediction), sample: sample, memory: memory)
        }

        /// This step's output first, the older ones after it.
        private var remembered: [Int: DiffusionPlan.Mix] {
            [outputs[0]: .init(output: 1), outputs[1]: .kept(outputs[0]), outputs[2]: .kept(outputs[1])]
        }

        /// Without Runge-Kutta the first step is done twice, the second time along the mean of the outputs at both ends.
        func warmUp(_ timesteps: [Int]) -> [DiffusionPlan.Update] {
            var memory = remembered
            memory[base] = .init(sample: 1)
            guard let start = timesteps.first else { return [] }
            let once = update(
                start, moved(.init(sample: 1), from: start, to: start - interval, along: .init(output: 1)),
                memory: memory)
            guard timesteps.count > 1 else { return [once] }
            let mean = DiffusionPlan.Mix(output: 0.5).adding(.kept(outputs[0]), times: 0.5)
            let end = timesteps[1]
            return [once, update(end, moved(.kept(base), from: end + interval, to: end, along: mean))]
        }

        /// Adams-Bashforth: orders 2, 3 and 4.
        /// - Parameter known: how many outputs are kept already, at least one.
        func multistep(_ timesteps: ArraySlice<Int>, known: Int) -> [DiffusionPlan.Update] {
            let weights = [
                [1.5, -0.5], [23.0 / 12, -16.0 / 12, 5.0 / 12], [55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24],
            ]
            return timesteps.enumerated().map { index, timestep in
                let order = weights[min(known + index, 3) - 1]
                var output = DiffusionPlan.Mix(output: order[0])
                for (kept, weight) in zip(outputs, order.dropFirst()) {
                    output = output.adding(.kept(kept), times: weight)
                }
                return update(
                    timestep, moved(.init(sample: 1), from: timestep, to: timestep - interval, along: output),
                    memory: remembered)
            }
        }

        /// Steps of four evaluations: at the start, twice in the middle, at the end.
        /// - Parameter timesteps: where the steps begin, and where the last one ends.
        func rungeKutta(_ timesteps: ArraySlice<Int>) -> [DiffusionPlan.Update] {
            zip(timesteps, timesteps.dropFirst()).flatMap { start, end in
                let middle = end + interval / 2
                var memory = remembered
                memory[base] = .init(sample: 1)
                memory[sum] = .init(output: 1.0 / 6)
                func added(_ share: Double) -> DiffusionPlan.Mix { .kept(sum).adding(.init(output: 1), times: share) }
                func fromBase(_ next: Int, _ output: DiffusionPlan.Mix) -> DiffusionPlan.Mix {
                    moved(.kept(base), from: start, to: next, along: output)
                }
                return [
                    update(
                        start,
                        moved(.init(sample: 1), from: start, to: start - interval / 2, along: .init(output: 1)),
                        memory: memory),
                    update(middle, fromBase(middle, .init(output: 1)), memory: [sum: added(1.0 / 3)]),
                    update(middle, fromBase(middle - interval / 2, .init(output: 1)), memory: [sum: added(1.0 / 3)]),
                    update(end, fromBase(end, added(1.0 / 6))),
                ]
            }
        }
    }
}
