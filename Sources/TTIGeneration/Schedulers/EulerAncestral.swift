/// Euler's method that overshoots and adds fresh noise (diffusers' EulerAncestralDiscreteScheduler).
enum EulerAncestral {
    static func plan(_ c: SchedulerConfiguration, _ table: NoiseTable, steps: Int, from first: Int) -> DiffusionPlan {
        let line = SigmaLine(c, table, steps: steps)
        return line.plan(c, from: first) { now, next in
            let up = (next * next * (now * now - next * next) / (now * now)).squareRoot()
            let down = (next * next - up * up).squareRoot()
            return .init(sample: down / now, predicted: 1 - down / now, noise: up)
        }
    }
}
