internal import Glibc

/// How much of the picture is left at each of the training's steps: ᾱ, the product of all 1 - β so far.
///
/// In float32 where diffusers' tables are (betas, and the running product rounded at every step).
struct NoiseTable {
    /// `[training steps]`
    let alphaBar: [Float]

    init(_ c: SchedulerConfiguration) {
        var betas = NoiseTable.betas(c)
        if c.rescalesToZeroSNR { betas = NoiseTable.rescaled(betas) }
        alphaBar = NoiseTable.products(betas)
    }

    private static func betas(_ c: SchedulerConfiguration) -> [Float] {
        switch c.betaSchedule {
        case .linear: return line(Float(c.betaStart), Float(c.betaEnd), c.trainSteps)
        case .scaledLinear:
            return line(Float(c.betaStart.squareRoot()), Float(c.betaEnd.squareRoot()), c.trainSteps).map { $0 * $0 }
        case .cosine:
            func share(_ time: Double) -> Double {
                let wave = cos((time + 0.008) / 1.008 * Double.pi / 2)
                return wave * wave
            }
            let count = Double(c.trainSteps)
            return (0..<c.trainSteps).map { step in
                Float(min(1 - share(Double(step + 1) / count) / share(Double(step) / count), 0.999))
            }
        }
    }

    /// As `torch.linspace` counts: from both ends to the middle.
    private static func line(_ start: Float, _ end: Float, _ count: Int) -> [Float] {
        guard count > 1 else { return [start] }
        let stride = (end - start) / Float(count - 1)
        return (0..<count).map { index in
            index < count / 2 ? start + stride * Float(index) : end - stride * Float(count - 1 - index)
        }
    }

    private static func products(_ betas: [Float]) -> [Float] {
        var product = 1.0
        return betas.map { beta in
            product *= Double(1 - beta)
            return Float(product)
        }
    }

    /// The last step becomes pure noise, the first one stays (Lin et al. 2023, algorithm 1).
    private static func rescaled(_ betas: [Float]) -> [Float] {
        let roots = products(betas).map { $0.squareRoot() }
        guard let first = roots.first, let last = roots.last, first > last else { return betas }
        let bars = roots.map { root in
            let moved = (root - last) * (first / (first - last))
            return moved * moved
        }
        return bars.indices.map { 1 - (bars[$0] / ($0 == 0 ? 1 : bars[$0 - 1])) }
    }

    /// ᾱ at a step; beyond the first one, `final`.
    func alphaBar(_ step: Int, final: Double) -> Double {
        step < 0 ? final : Double(alphaBar[min(step, alphaBar.count - 1)])
    }

    /// Noise in units of the picture, √((1 - ᾱ) / ᾱ), at every step.
    /// - Parameter floor: what the last ᾱ is at least, where it would be zero.
    func sigmas(floor: Float = 0) -> [Double] {
        alphaBar.indices.map { index in
            let bar = index == alphaBar.count - 1 ? max(alphaBar[index], floor) : alphaBar[index]
            return Double(((1 - bar) / bar).squareRoot())
        }
    }
}
