/// Euler's method on the noise in units of the picture (Karras et al. 2022; diffusers' EulerDiscreteScheduler without
/// churn).
enum Euler {
    static func plan(_ c: SchedulerConfiguration, _ table: NoiseTable, steps: Int, from first: Int) -> DiffusionPlan {
        let line = SigmaLine(c, table, steps: steps)
        return line.plan(c, from: first) { now, next in
            // along the straight line from the sample to the predicted picture
            .init(sample: next / now, predicted: 1 - next / now)
        }
    }
}
