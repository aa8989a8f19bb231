internal import Glibc

/// How many tokens of a grid are masked before and after each step of masked decoding.
///
/// The counts follow aMUSEd's scheduler (diffusers `AmusedScheduler.step`): the schedule's share is computed and multiplied in
/// float32, rounded down, then at least one token is revealed and, except after the last step, at least one stays.
package struct MaskPlan: Sendable, Hashable {
    /// How many places are masked when step k begins. The same for every image of a batch.
    package let maskedBefore: [Int]
    /// How many tokens the schedule leaves masked after step k, before the bounds of "at least one"; 0 after the last.
    package let remaining: [Int32]

    /// - Parameters:
    ///   - tokenCount: places of the grid.
    ///   - masked: how many of them are masked at the start.
    ///   - firstStep: steps before it are left out (image to image), so fewer steps remain.
    ///   - startingShare: what the schedule's share is multiplied by: masked / all when a part of the picture is kept
    ///     (inpainting), otherwise 1.
    package init(
        _ schedule: MaskSchedule, steps: Int, tokenCount: Int, masked: Int, firstStep: Int = 0, startingShare: Float = 1
    ) {
        var before: [Int] = []
        var after: [Int32] = []
        var unknown = masked
        for step in firstStep..<steps {
            before.append(unknown)
            if step == steps - 1 {
                after.append(0)
                unknown = 0
                continue
            }
            let share = schedule.maskedShare(Float(step + 1) / Float(steps)) * startingShare
            let scheduled = Int((Float(tokenCount) * share).rounded(.down))
            after.append(Int32(scheduled))
            unknown = unknown == 0 ? 0 : max(1, min(scheduled, unknown - 1))
        }
        maskedBefore = before
        remaining = after
    }
}

extension MaskSchedule {
    /// The share of the grid that is masked when the share `progress` of the steps is done; float32 throughout.
    package func maskedShare(_ progress: Float) -> Float {
        // the nearest float32 to π; Float.pi is the one below it, and the counts tell
        let pi: Float = 3.141_592_74
        return switch self {
        case .cosine: cosf(progress * pi / 2)
        case .linear: 1 - progress
        case .square: 1 - progress * progress
        case .arccos: acosf(min(max(progress, -1), 1)) / (pi / 2)
        }
    }
}

extension GenerationSettings {
    /// How much Gumbel noise the confidences get at each step: a straight line from the first temperature to the last, as
    /// `torch.linspace` counts it.
    package var noiseByStep: [Float] {
        guard steps > 1 else { return [temperature[0]] }
        let stride = (temperature[1] - temperature[0]) / Float(steps - 1)
        return (0..<steps).map { step in
            step < steps / 2 ? temperature[0] + stride * Float(step) : temperature[1] - stride * Float(steps - 1 - step)
        }
    }
}
