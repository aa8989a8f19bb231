internal import Glibc

extension GenerationSettings {
    /// The guidance scale of every step: constant, or growing from 1 (the conditional logits alone) to the full scale, in a
    /// straight line (Muse, arXiv 2301.00704 §2.7) or along half a cosine (MaskGen).
    package var guidanceByStep: [Float] {
        guard guidanceRamp != .constant, steps > 1 else { return [guidance] }
        return (0..<steps).map { step in
            let progress = Float(step) / Float(steps - 1)
            let share = guidanceRamp == .linear ? progress : (1 - cosf(.pi * progress)) / 2
            return 1 + (guidance - 1) * share
        }
    }

    /// Whether an unconditional row runs beside each conditional one.
    package var isGuided: Bool { guidance != 1 }
}
