import TTICPU
import TTICore
import TTIFormats
import TTIGeneration
import TTITestSupport
import Testing

/// Runs a plan as the pipeline does, without a network: each step's output is a function of what the network would be given.
struct PlanRun {
    let plan: DiffusionPlan
    let backend: any Backend
    let state: DiffusionState

    /// - Parameter noise: of every step, one after the other.
    init(_ plan: DiffusionPlan, sample: [Double], noise: [Double] = [], on b: any Backend) {
        (self.plan, backend) = (plan, b)
        let shape: Shape = [1, 1, 1, sample.count]
        state = b.diffusionState(
            plan, sample: HostTensor(sample, shape),
            noise: noise.isEmpty ? nil : HostTensor(noise, [plan.updates.count, 1, 1, 1, sample.count]))
    }

    /// - Parameters:
    ///   - goesOnFromInput: whether each step begins with what the network was given, as the loops of diffusers' tests do.
    ///   - output: of the network, for its input, a training step, and the step's index.
    /// - Returns: the sample after each step.
    func callAsFunction(
        goesOnFromInput: Bool = false, _ output: ([Double], Double, Int) -> [Double]
    ) throws -> [[Double]] {
        try plan.updates.enumerated().map { index, update in
            let input = try numbers(state.input)
            if goesOnFromInput { backend.copy(state.input, to: state.sample) }
            let said = HostTensor(output(input, update.timestep, index), state.input.shape)
            backend.combine(backend.uploadActivations(said), in: state)
            backend.increment(in: state.position)
            return try numbers(state.sample)
        }
    }

    private func numbers(_ tensor: Tensor) throws -> [Double] {
        if let reference = backend as? ReferenceBackend { return try reference.readDoubles(tensor) }
        return try backend.read(tensor).map(Double.init)
    }
}

@Suite struct SchedulerTests {
    /// 2 · u(n, i) as in the fixture's script.
    static func closedForm(_ count: Int, _ n: Int) -> [Double] {
        (0..<count).map { 2 * ClosedFormWeights.value(n, $0) }
    }

    static func configuration(
        _ kind: SchedulerKind, _ change: (inout SchedulerConfiguration) -> Void = { _ in }
    ) -> SchedulerConfiguration {
        var configuration = SchedulerConfiguration(kind)
        change(&configuration)
        return configuration
    }

    static func cpu() throws -> any Backend {
        let backend = CPUBackend(weightType: .float32, threads: 1)
        try backend.reserve(arenaBytes: 1 << 24)
        return backend
    }

    // MARK: Golden loops

    /// arange(768) as [3, 8, 8, 4], by 768, axes moved to [4, 3, 8, 8].
    static let goldenSample = (0..<4).flatMap { last in (0..<192).map { Double($0 * 4 + last) / 768 } }

    private static func golden(
        _ configuration: SchedulerConfiguration, noise: [Double] = [], on b: any Backend
    ) throws -> (sum: Double, mean: Double) {
        let plan = try configuration.plan(steps: 10)
        let run = PlanRun(plan, sample: goldenSample.map { $0 * plan.initialScale }, noise: noise, on: b)
        let samples = try run(goesOnFromInput: true) { input, time, _ in input.map { $0 * time / (time + 1) } }
        let sum = try #require(samples.last).reduce(0) { $0 + abs($1) }
        return (sum, sum / 768)
    }

    static let goldenCases: [(SchedulerConfiguration, Double, Double)] = [
        (configuration(.ddim), 172.0067, 0.223967),
        (configuration(.ddim) { $0.prediction = .velocity }, 52.5302, 0.0684),
        (configuration(.ddim) { $0.betaStart = 0.01 }, 149.8295, 0.1951),
        (configuration(.ddim) { ($0.betaStart, $0.setAlphaToOne) = (0.01, false) }, 149.0784, 0.1941),
        (configuration(.pndm), 198.1318, 0.2580),
        (configuration(.pndm) { $0.prediction = .velocity }, 67.3986, 0.0878),
        (configuration(.pndm) { ($0.betaStart, $0.setAlphaToOne) = (0.01, true) }, 230.0399, 0.2995),
        (configuration(.pndm) { $0.betaStart = 0.01 }, 186.9482, 0.2434),
        (configuration(.euler) { $0.trainSteps = 1100 }, 10.0807, 0.0131),
        (
            configuration(.euler) { ($0.trainSteps, $0.prediction) = (1100, .velocity) },
            0.0002, 2.2676e-6
        ),
        (configuration(.euler) { ($0.trainSteps, $0.usesKarrasSigmas) = (1100, true) }, 124.522995, 0.162139),
    ]

    @Test(arguments: goldenCases.indices)
    func `the full loops of diffusers' tests`(index: Int) throws {
        let (configuration, sum, mean) = Self.goldenCases[index]
        let found = try Self.golden(configuration, on: Self.cpu())
        #expect(abs(found.sum - sum) < 1e-2 && abs(found.mean - mean) < 1e-3, "\(found)")
    }

    @Test func `Euler ancestral with PyTorch's noise`() throws {
        let configuration = Self.configuration(.eulerAncestral) { $0.trainSteps = 1100 }
        var random = TorchRandomStream(seed: 0)
        let noise = (0..<10).flatMap { _ in random.normals(768).map(Double.init) }
        let found = try Self.golden(configuration, noise: noise, on: Self.cpu())
        #expect(abs(found.sum - 152.3192) < 1e-2 && abs(found.mean - 0.1983) < 1e-3, "\(found)")
    }

    @Test func `image to image begins with noise on the picture`() throws {
        let plan = try Self.configuration(.ddim).plan(steps: 10, from: 8)
        let level = plan.levels[0]
        let noise = (0..<768).map { Double(767 - $0) }
        let picture = Self.goldenSample
        // noise is [4, 3, 8, 8] of the reversed arange, moved as the sample is
        let moved = (0..<4).flatMap { last in (0..<192).map { noise[$0 * 4 + last] / 768 } }
        let run = PlanRun(
            plan, sample: picture.indices.map { level.signal * picture[$0] + level.noise * moved[$0] },
            on: try Self.cpu())
        let samples = try run { input, time, _ in input.map { $0 * time / (time + 1) } }
        #expect(plan.updates.map(\.timestep) == [100, 0])
        #expect(abs(samples[1].reduce(0) { $0 + abs($1) } - 354.5418) < 1e-2)
    }

    // MARK: Tables

    /// The fixture of make_scheduler_fixtures.py.
    private static func fixture() throws -> (cases: [JSON], file: Fixture) {
        let file = try Fixture("generation/schedulers")
        let cases = try JSON(Array(try #require(file.metadata("cases")).utf8), file: "cases")
        return (try #require(cases.array), file)
    }

    @Test func `every weight of every step is diffusers'`() throws {
        let (cases, file) = try Self.fixture()
        #expect(cases.count > 50)
        for (index, entry) in cases.enumerated() {
            let json = try #require(entry["configuration"])
            let fields = try Configuration(json, file: "scheduler_config.json")
            let steps = try #require(entry["steps"]?.integer)
            let name = "\(index): \(json.text()), \(steps) steps"
            let plan = try SchedulerConfiguration(fields).plan(steps: steps)
            func expect(_ found: [Double], _ key: String) throws {
                let difference = Difference(found, from: try file.tensor("\(index).\(key)").doubles())
                #expect(difference.isWithin(.scheduler), "\(key) of \(name): \(difference)")
            }
            try expect(plan.updates.map(\.timestep), "timesteps")
            try expect(plan.updates.map(\.inputScale), "scales")
            try expect([plan.initialScale], "first")
            let levels = plan.levels.dropLast()
            try expect(levels.map(\.signal) + levels.map(\.noise), "levels")
            for backend in [ReferenceBackend() as any Backend, try Self.cpu()] {
                let run = PlanRun(
                    plan, sample: Self.closedForm(6, 104).map { $0 * plan.initialScale },
                    noise: plan.isStochastic ? (0..<plan.updates.count).flatMap { Self.closedForm(6, 300 + $0) } : [],
                    on: backend)
                let samples = try run { _, _, index in Self.closedForm(6, 200 + index) }
                try expect(samples.flatMap { $0 }, "samples")
            }
        }
    }

    @Test func `steps of the file of Stable Diffusion 1.5`() throws {
        let json = """
            {"_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
             "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1,
             "trained_betas": null, "clip_sample": false}
            """
        func times(_ kind: SchedulerKind?, _ steps: Int) throws -> [Double] {
            let fields = try Configuration(JSON(Array(json.utf8), file: "x"), file: "scheduler_config.json")
            return try SchedulerConfiguration(fields, as: kind).plan(steps: steps).updates.map(\.timestep)
        }
        #expect(try times(nil, 20).prefix(4) == [951, 901, 901, 851])
        #expect(try times(nil, 20).count == 21 && times(nil, 50).count == 51)
        #expect(try times(nil, 50).prefix(5) == [981, 961, 961, 941, 921])
        #expect(try times(.ddim, 20) == (0..<20).reversed().map { Double(50 * $0 + 1) })
        #expect(try times(.euler, 20).prefix(3).map { ($0 * 100).rounded() } == [99900, 94642, 89384])
    }

    @Test(arguments: [
        #"{"_class_name": "LCMScheduler"}"#, #"{}"#, #"{"_class_name": "DDIMScheduler", "thresholding": true}"#,
        #"{"_class_name": "DDIMScheduler", "prediction_type": "flow"}"#,
        #"{"_class_name": "PNDMScheduler", "prediction_type": "sample"}"#,
        #"{"_class_name": "DDIMScheduler", "trained_betas": [0.1]}"#,
        #"{"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"}"#,
        #"{"_class_name": "DDIMScheduler", "beta_start": 0.5, "beta_end": 0.1}"#,
        #"{"_class_name": "DDIMScheduler", "num_train_timesteps": 0}"#,
        #"{"_class_name": "DDIMScheduler", "steps_offset": 1000}"#,
        #"{"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true}"#,
        #"{"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": true}"#,
        #"{"_class_name": "EulerDiscreteScheduler", "interpolation_type": "log_linear"}"#,
        #"{"_class_name": "EulerDiscreteScheduler", "sigma_min": -1}"#,
        #"{"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3}"#,
        #"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"}"#,
    ])
    func `schedulers that cannot be`(_ json: String) {
        #expect(throws: FormatError.self) {
            try SchedulerConfiguration(Configuration(JSON(Array(json.utf8), file: "x"), file: "x"))
        }
    }

    @Test func `more steps than there were in training, and too few for Runge-Kutta`() {
        #expect(throws: SettingsError.self) { try SchedulerConfiguration(.ddim).plan(steps: 1001) }
        #expect(throws: SettingsError.self) { try SchedulerConfiguration(.pndm).plan(steps: 3) }
    }
}
