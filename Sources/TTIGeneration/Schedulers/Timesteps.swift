extension SchedulerConfiguration {
    /// The training steps that are sampled, the noisiest first, as DDIM and PNDM round them.
    func wholeTimesteps(_ count: Int) -> [Int] {
        switch spacing {
        case .leading:
            let ratio = trainSteps / count
            return (0..<count).reversed().map { $0 * ratio + stepsOffset }
        case .linspace:
            return line(to: trainSteps - 1, count).reversed().map { Int($0.rounded(.toNearestOrEven)) }
        case .trailing:
            return trailing(from: trainSteps, count)
        }
    }

    /// The same for Euler's methods: fractions between whole steps are possible.
    func timesteps(_ count: Int) -> [Double] {
        spacing == .linspace
            ? line(to: trainSteps - 1, count).reversed().map { Double(Float($0)) }
            : wholeTimesteps(count).map(Double.init)
    }

    /// The same for DPM-Solver, which takes its steps from one more.
    func solverTimesteps(_ count: Int) -> [Int] {
        switch spacing {
        case .leading:
            let ratio = trainSteps / (count + 1)
            return (1...count).reversed().map { $0 * ratio + stepsOffset }
        case .linspace:
            return line(to: trainSteps - 1, count + 1).dropFirst().reversed().map {
                Int($0.rounded(.toNearestOrEven))
            }
        case .trailing:
            return trailing(from: trainSteps, count)
        }
    }

    /// `count` numbers from 0 to `end`.
    private func line(to end: Int, _ count: Int) -> [Double] {
        guard count > 1 else { return [0] }
        let stride = Double(end) / Double(count - 1)
        return (0..<count).map { $0 == count - 1 ? Double(end) : Double($0) * stride }
    }

    private func trailing(from start: Int, _ count: Int) -> [Int] {
        let ratio = Double(trainSteps) / Double(count)
        return (0..<count).map { Int((Double(start) - Double($0) * ratio).rounded(.toNearestOrEven)) - 1 }
    }
}
