/// How many tokens stay masked as the steps go by; r is the share of the steps that are done.
package enum MaskSchedule: String, Sendable, CaseIterable {
    case cosine, linear, square, arccos
}

/// Which masked places are revealed first.
package enum RevealOrder: String, Sendable, CaseIterable {
    case confidence, halton
}

/// How the guidance scale grows from the first step to the last.
package enum GuidanceRamp: String, Sendable, CaseIterable {
    case constant, linear, cosine
}

/// Where random numbers come from.
package enum RandomNumbers: String, Sendable, CaseIterable {
    case philox, torch
}

/// The settings of one run, no default left open.
package struct GenerationSettings: Sendable, Hashable {
    /// Steps of masked decoding and of diffusion; tokens of autoregressive decoding.
    package var steps: Int
    /// uncond + guidance · (cond - uncond); 1 is off.
    package var guidance: Float
    package var guidanceRamp = GuidanceRamp.constant
    /// Masked decoding: noise on the confidences at the first and at the last step. Autoregressive: what the logits are
    /// divided by (both the same).
    package var temperature: SIMD2<Float>
    /// 0 is off.
    package var topK = 0
    /// 1 is off.
    package var topP: Float = 1
    package var schedule = MaskSchedule.cosine
    package var order = RevealOrder.confidence
    package var randomNumbers = RandomNumbers.philox
    /// Latent diffusion.
    package var scheduler = SchedulerKind.ddim
    /// Rows of tokens or latents.
    package var gridHeight: Int
    /// Columns of tokens or latents.
    package var gridWidth: Int

    package var tokenCount: Int { gridHeight * gridWidth }

    /// What logits are divided by when a token is drawn: 0, which takes the largest, where quotients would not be finite.
    var drawingTemperature: Float { temperature[0] < 1e-30 ? 0 : temperature[0] }

    package init(steps: Int, guidance: Float, temperature: SIMD2<Float>, gridHeight: Int, gridWidth: Int) {
        self.steps = steps
        self.guidance = guidance
        self.temperature = temperature
        self.gridHeight = gridHeight
        self.gridWidth = gridWidth
    }
}

/// Why a request cannot be done by this checkpoint.
package struct SettingsError: Error, CustomStringConvertible {
    /// A short dotted name, such as `usage.size`.
    package let name: String
    /// One sentence.
    package let description: String
    /// Whether what was given to begin with is bad in itself, whatever the settings.
    package let isBadInput: Bool

    package init(_ name: String, _ description: String, isBadInput: Bool = false) {
        self.name = name
        self.description = description
        self.isBadInput = isBadInput
    }
}
