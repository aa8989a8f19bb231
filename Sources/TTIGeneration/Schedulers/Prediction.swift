// What a network's output says of picture and noise.

extension DiffusionPlan.Level {
    /// A sample that keeps its variance: √ᾱ of the picture, √(1 - ᾱ) of the noise.
    init(alphaBar: Double) {
        self.init(signal: alphaBar.squareRoot(), noise: (1 - alphaBar).squareRoot())
    }

    /// Signal² + noise²: 1 where the variance is kept.
    private var power: Double { signal * signal + noise * noise }

    /// The picture in a sample of this level.
    func picture(_ prediction: PredictionKind) -> DiffusionPlan.Mix {
        switch prediction {
        case .epsilon: .init(sample: 1 / signal, output: -noise / signal)
        case .velocity: .init(sample: signal / power, output: -noise / power.squareRoot())
        case .sample: .init(output: 1)
        }
    }

    /// The noise in a sample of this level.
    func noise(_ prediction: PredictionKind) -> DiffusionPlan.Mix {
        switch prediction {
        case .epsilon: .init(output: 1)
        case .velocity: .init(sample: noise / power, output: signal / power.squareRoot())
        case .sample: .init(sample: 1 / noise, output: -signal / noise)
        }
    }
}
