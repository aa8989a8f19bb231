/// What a scheduler does to the latents, worked out before the loop: every one of them is, at every step, a weighted sum of
/// the sample, what the network says, the picture that this predicts, noise, and what was kept from earlier steps.
package struct DiffusionPlan: Sendable {
    /// Weights of a sum.
    package struct Mix: Sendable, Hashable {
        package var sample = 0.0
        /// Of what the network says, guided.
        package var output = 0.0
        /// Of the picture that is predicted at this step.
        package var predicted = 0.0
        /// Of fresh noise of variance 1.
        package var noise = 0.0
        /// Of what was kept.
        package var memory: [Double] = []

        /// Both sums together, the second one times a number.
        func adding(_ other: Mix, times factor: Double) -> Mix {
            var sum = self
            sum.sample += factor * other.sample
            sum.output += factor * other.output
            sum.predicted += factor * other.predicted
            sum.noise += factor * other.noise
            for (index, weight) in other.memory.enumerated() {
                while sum.memory.count <= index { sum.memory.append(0) }
                sum.memory[index] += factor * weight
            }
            return sum
        }

        func scaled(by factor: Double) -> Mix { Mix().adding(self, times: factor) }

        /// One kept tensor alone.
        static func kept(_ index: Int) -> Mix {
            Mix(memory: (0...index).map { $0 == index ? 1 : 0 })
        }
    }

    /// One step.
    package struct Update: Sendable {
        /// What the network is told, as in training; fractions are possible.
        package let timestep: Double
        /// What the sample is multiplied by before the network sees it.
        package let inputScale: Double
        /// The picture as far as can be said at this step (x₀); it does not use itself.
        package let predicted: Mix
        /// The next sample.
        package let sample: Mix
        /// What is kept next; what is not named is kept as it was.
        package let memory: [Int: Mix]

        package init(timestep: Double, inputScale: Double = 1, predicted: Mix, sample: Mix, memory: [Int: Mix] = [:]) {
            self.timestep = timestep
            self.inputScale = inputScale
            self.predicted = predicted
            self.sample = sample
            self.memory = memory
        }
    }

    /// A sample as picture and noise: signal · picture + noise · (noise of variance 1).
    package struct Level: Sendable, Hashable {
        package let signal: Double
        package let noise: Double

        package init(signal: Double, noise: Double) {
            self.signal = signal
            self.noise = noise
        }

        /// The finished picture.
        package static let clean = Level(signal: 1, noise: 0)
    }

    package let updates: [Update]
    /// Where each step begins, and where the last one ends.
    package let levels: [Level]
    /// What noise of variance 1 is multiplied by to begin with nothing else.
    package let initialScale: Double
    /// How many tensors are kept from step to step.
    package let memoryCount: Int
    /// Predicted pictures are limited to this, up and down.
    package let limit: Float

    /// Whether a step adds noise of its own.
    package var isStochastic: Bool { updates.contains { $0.sample.noise != 0 } }

    init(
        _ updates: [Update], levels: [Level], initialScale: Double = 1, memoryCount: Int = 0, limit: Float = .infinity
    ) {
        precondition(levels.count == updates.count + 1, "\(levels.count) levels of \(updates.count) steps")
        self.updates = updates
        self.levels = levels
        self.initialScale = initialScale
        self.memoryCount = memoryCount
        self.limit = limit
    }
}

extension SchedulerConfiguration {
    /// The plan of so many steps.
    /// - Parameter first: steps before it are left out (image to image).
    package func plan(steps: Int, from first: Int = 0) throws(SettingsError) -> DiffusionPlan {
        guard steps <= trainSteps else {
            throw SettingsError("usage.range", "steps is \(steps), but this model was trained with \(trainSteps)")
        }
        let table = NoiseTable(self)
        return switch kind {
        case .ddim: DDIM.plan(self, table, steps: steps, from: first)
        case .pndm: try PNDM.plan(self, table, steps: steps, from: first)
        case .euler: Euler.plan(self, table, steps: steps, from: first)
        case .eulerAncestral: EulerAncestral.plan(self, table, steps: steps, from: first)
        case .dpmSolver: DPMSolver.plan(self, table, steps: steps, from: first)
        }
    }
}
