package import TTIFormats
internal import TTIModels

/// The sampling methods of latent diffusion.
package enum SchedulerKind: String, Sendable, CaseIterable {
    case ddim, pndm, euler
    case eulerAncestral = "euler-a"
    case dpmSolver = "dpm++2m"

    /// What diffusers calls its class.
    package var className: String {
        switch self {
        case .ddim: "DDIMScheduler"
        case .pndm: "PNDMScheduler"
        case .euler: "EulerDiscreteScheduler"
        case .eulerAncestral: "EulerAncestralDiscreteScheduler"
        case .dpmSolver: "DPMSolverMultistepScheduler"
        }
    }
}

/// How the noise of training grows from step to step.
package enum BetaSchedule: String, Sendable, CaseIterable {
    case linear
    case scaledLinear = "scaled_linear"
    case cosine = "squaredcos_cap_v2"
}

/// What the network predicts.
package enum PredictionKind: String, Sendable, CaseIterable {
    /// The noise.
    case epsilon
    /// Velocity: signal share · noise - noise share · picture (Salimans and Ho 2022).
    case velocity = "v_prediction"
    /// The picture.
    case sample
}

/// Which of the training's steps are sampled.
package enum TimestepSpacing: String, Sendable, CaseIterable {
    case leading, linspace, trailing
}

/// A scheduler's settings (scheduler_config.json of diffusers). A file of one class may be read as another: what is missing
/// then takes the other's defaults.
package struct SchedulerConfiguration: Sendable, Hashable {
    package let kind: SchedulerKind
    package var trainSteps = 1000
    package var betaStart = 1e-4
    package var betaEnd = 0.02
    package var betaSchedule = BetaSchedule.linear
    package var prediction = PredictionKind.epsilon
    package var spacing: TimestepSpacing
    package var stepsOffset = 0
    /// Moves the last training step to pure noise.
    package var rescalesToZeroSNR = false
    /// DDIM and PNDM: whether the step after the last one is free of noise, or as noisy as the first training step.
    package var setAlphaToOne: Bool
    /// PNDM: whether the first three steps are multistep ones too, not Runge-Kutta ones of four evaluations.
    package var skipsRungeKutta = false
    /// DDIM: predicted pictures are limited to this, up and down.
    package var clipRange: Float
    /// Euler and DPM-Solver: sigmas spaced after Karras et al. 2022.
    package var usesKarrasSigmas = false
    package var sigmaMinimum: Double?
    package var sigmaMaximum: Double?
    /// Euler and DPM-Solver: whether sampling ends at no noise, or at that of the first training step.
    package var endsAtZero = true
    /// DPM-Solver: 1 or 2.
    package var solverOrder = 2
    /// DPM-Solver: the second of the two forms of its second-order term.
    package var usesHeun = false
    /// DPM-Solver: whether the last step is one of first order: always, or when there are fewer than 15.
    package var endsWithEuler = false
    package var lowersLastOrder = true

    /// diffusers' defaults of the class.
    package init(_ kind: SchedulerKind) {
        self.kind = kind
        spacing = kind == .ddim || kind == .pndm ? .leading : .linspace
        setAlphaToOne = kind == .ddim
        clipRange = kind == .ddim ? 1 : .infinity
    }

    /// - Parameter kind: nil: what the file says.
    package init(_ fields: Configuration, as kind: SchedulerKind? = nil) throws(FormatError) {
        if let kind { self.init(kind) } else { self.init(try SchedulerKind(fields)) }
        trainSteps = try fields.integer("num_train_timesteps", default: 1000, in: 1...1_000_000)
        betaStart = try fields.number("beta_start", default: betaStart, in: 0...1)
        betaEnd = try fields.number("beta_end", default: betaEnd, in: 0...1)
        betaSchedule = try fields.choice("beta_schedule", default: betaSchedule)
        prediction = try fields.choice("prediction_type", default: prediction)
        spacing = try fields.choice("timestep_spacing", default: spacing)
        stepsOffset = try fields.integer("steps_offset", default: 0, in: 0...trainSteps - 1)
        try fields.refuse(["thresholding", "trained_betas"])
        switch self.kind {
        case .ddim:
            setAlphaToOne = try fields.bool("set_alpha_to_one", default: true)
            rescalesToZeroSNR = try fields.bool("rescale_betas_zero_snr", default: false)
            let range = Float(try fields.number("clip_sample_range", default: 1, in: 0...1e6))
            clipRange = try fields.bool("clip_sample", default: true) ? range : .infinity
        case .pndm:
            setAlphaToOne = try fields.bool("set_alpha_to_one", default: false)
            skipsRungeKutta = try fields.bool("skip_prk_steps", default: false)
        case .euler, .eulerAncestral, .dpmSolver:
            rescalesToZeroSNR = try fields.bool("rescale_betas_zero_snr", default: false)
        }
        if self.kind == .euler || self.kind == .dpmSolver {
            try fields.refuse(["use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas"])
            usesKarrasSigmas = try fields.bool("use_karras_sigmas", default: false)
            endsAtZero = try fields.string("final_sigmas_type", default: "zero") == "zero"
        }
        if self.kind == .euler {
            try fields.require("interpolation_type", "linear")
            try fields.require("timestep_type", "discrete")
            sigmaMinimum = try fields.positiveIfPresent("sigma_min")
            sigmaMaximum = try fields.positiveIfPresent("sigma_max")
        }
        if self.kind == .dpmSolver {
            try fields.require("algorithm_type", "dpmsolver++")
            guard !fields.contains("lambda_min_clipped") else {
                throw fields.error("'lambda_min_clipped' is a number; only minus infinity is supported")
            }
            solverOrder = try fields.integer("solver_order", default: 2, in: 1...2)
            usesHeun = try fields.string("solver_type", default: "midpoint") == "heun"
            endsWithEuler = try fields.bool("euler_at_final", default: false)
            lowersLastOrder = try fields.bool("lower_order_final", default: true)
        }
        guard betaEnd >= betaStart, betaEnd < 1 else {
            throw fields.error("'beta_end' is \(betaEnd), not between 'beta_start', which is \(betaStart), and 1")
        }
        if prediction == .sample, self.kind == .pndm || self.kind == .eulerAncestral {
            throw fields.error("'prediction_type' is 'sample', which \(self.kind.className) cannot do")
        }
        if rescalesToZeroSNR, prediction == .epsilon, self.kind == .ddim {
            throw fields.error(
                "'rescale_betas_zero_snr' leaves no picture to take the noise from: it needs v_prediction")
        }
    }
}

extension SchedulerKind {
    /// What a file is of.
    init(_ fields: Configuration) throws(FormatError) {
        let name = try fields.string("_class_name")
        guard let kind = SchedulerKind.allCases.first(where: { $0.className == name }) else {
            throw fields.error(
                "'_class_name' is \(quoted(name)), not one of "
                    + SchedulerKind.allCases.map(\.className).joined(separator: ", "),
                try: "choose one with --scheduler")
        }
        self = kind
    }
}

extension Configuration {
    /// Checks that switches which are not built are off.
    fileprivate func refuse(_ switches: [String]) throws(FormatError) {
        for field in switches where contains(field) && json[field]?.bool != false {
            throw error("'\(field)' is set, which is not supported")
        }
    }

    fileprivate func positiveIfPresent(_ field: String) throws(FormatError) -> Double? {
        contains(field) ? try number(field, in: Double.leastNormalMagnitude...1e9) : nil
    }
}
