/// DDIM without noise of its own (Song et al. 2020, η = 0; diffusers' DDIMScheduler).
enum DDIM {
    static func plan(_ c: SchedulerConfiguration, _ table: NoiseTable, steps: Int, from first: Int) -> DiffusionPlan {
        let timesteps = Array(c.wholeTimesteps(steps)[first...])
        let final = c.setAlphaToOne ? 1 : Double(table.alphaBar[0])
        var levels: [DiffusionPlan.Level] = []
        let updates = timesteps.map { timestep in
            let now = DiffusionPlan.Level(alphaBar: table.alphaBar(timestep, final: final))
            let next = DiffusionPlan.Level(alphaBar: table.alphaBar(timestep - c.trainSteps / steps, final: final))
            levels.append(now)
            return DiffusionPlan.Update(
                timestep: Double(timestep), predicted: now.picture(c.prediction),
                // the picture as it was limited, the noise as it was said
                sample: now.noise(c.prediction).scaled(by: next.noise)
                    .adding(.init(predicted: 1), times: next.signal))
        }
        return DiffusionPlan(updates, levels: levels + [.clean], limit: c.clipRange)
    }
}
