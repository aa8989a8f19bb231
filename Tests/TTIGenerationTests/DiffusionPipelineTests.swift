import TTICPU
import TTICore
import TTIFormats
import TTIGeneration
import TTITestSupport
import Testing

/// Pipelines over the tiny checkpoints of make_diffusion_fixtures.py.
@Suite struct DiffusionPipelineTests {
    /// A checkpoint that the fixture describes, on the CPU.
    struct Subject {
        let fixture: DiffusionFixture
        let pipeline: any ImagePipeline
        private let folder = ScratchFolder()

        init(_ name: String, _ weightType: DType = .float32, threads: Int = 2) throws {
            fixture = try DiffusionFixture(name)
            try fixture.writeCheckpoint(to: folder.path + "/model")
            let backend = CPUBackend(weightType: weightType, threads: threads)
            try backend.reserve(arenaBytes: 64 << 20)
            pipeline = try PipelineCheckpoint(CheckpointFolder(path: folder.path + "/model")).makePipeline(
                on: backend, weights: .files)
        }

        /// What a case asks for, with PyTorch's noise or the formula's.
        func batch(_ entry: JSON) throws -> ImageBatch {
            let kind = try #require(entry["scheduler"]?.string.flatMap { SchedulerKind(rawValue: $0) })
            var batch = pipeline.batch(
                fixture.prompt, negative: entry["negative"]?.string ?? "",
                seeds: [UInt64(entry["seed"]?.integer ?? 0)]
            ) { settings in
                settings.scheduler = kind
                settings.steps = entry["steps"]?.integer ?? 0
                settings.guidance = Float(entry["guidance"]?.number ?? 0)
                settings.gridHeight = (entry["height"]?.integer ?? 0) / 2
                settings.gridWidth = (entry["width"]?.integer ?? 0) / 2
                settings.randomNumbers = .torch
            }
            guard let strength = entry["strength"]?.number else { return batch }
            batch.settings.randomNumbers = .philox
            let code = try pipeline.encode(
                pixels: Self.formula([3, 16, 16], 108).map { 0.5 * $0 + 0.5 }, height: 16, width: 16)
            let mask = (0..<256).map { ($0 / 16 >= 4 && $0 / 16 < 12 && $0 % 16 >= 6) ? Float(1) : 0 }
            SourceLatents.begin(
                &batch, picture: code.latents,
                isOpen: entry["masked"]?.bool == true
                    ? SourceTokens.openTokens(mask: mask, height: 16, width: 16, factor: 2) : nil,
                strength: Float(strength))
            batch.items[0].initialLatents = Self.formula([4, 8, 8], 109)
            return batch
        }

        /// The formula's `[channels, height, width]` as `[height, width, channels]`.
        static func formula(_ shape: [Int], _ n: Int) -> [Float] {
            let (channels, pixels) = (shape[0], shape[1] * shape[2])
            return (0..<channels * pixels).map {
                Float(2 * ClosedFormWeights.value(n, $0 % channels * pixels + $0 / channels))
            }
        }

        func codes(_ batch: ImageBatch) throws -> [ImageCode] {
            try pipeline.check(batch)
            pipeline.prepare(batch)
            for step in 0..<pipeline.stepCount { pipeline.step(step) }
            return try pipeline.codes()
        }
    }

    @Test(arguments: [("sd15", 14), ("sd21", 3), ("sdxl", 4)], [DType.float32, .bfloat16])
    func `latents and pictures are diffusers'`(_ checkpoint: (name: String, count: Int), _ weightType: DType) throws {
        let subject = try Subject(checkpoint.name, weightType)
        #expect(subject.fixture.cases.count == checkpoint.count)
        let tolerance = weightType == .float32 ? Tolerance.pipeline : .pipelineInBFloat16
        for (index, entry) in subject.fixture.cases.enumerated() {
            let codes = try subject.codes(subject.batch(entry))
            let latents = Difference(
                codes[0].latents.map(Double.init), from: try subject.fixture.channelsLast("latents.\(index)"))
            #expect(latents.isWithin(tolerance), "latents of \(entry.text()): \(latents)")
            let pixels = try subject.pipeline.decode(codes)[0]
            let sample = Difference(
                pixels.map { 2 * Double($0) - 1 }, from: try subject.fixture.channelsLast("sample.\(index)"))
            #expect(sample.isWithin(tolerance), "picture of \(entry.text()): \(sample)")
        }
    }

    @Test(arguments: ["sd15", "sdxl"], SchedulerKind.allCases)
    func `an image of a batch is the same as alone`(_ name: String, _ kind: SchedulerKind) throws {
        let subject = try Subject(name)
        let p = subject.pipeline
        var batch = p.batch("a red cube", seeds: [3, 1 << 40, 5]) { ($0.scheduler, $0.steps) = (kind, 5) }
        batch.items[1].prompt = p.tokenize("two green cones")
        batch.items[2].negative = p.tokenize("a blue floor")
        let together = try subject.codes(batch)
        #expect(Set(together).count == 3)
        for index in 0..<3 {
            var alone = batch
            alone.items = [batch.items[index]]
            #expect(try subject.codes(alone) == [together[index]], "image \(index)")
        }
        // and images that share one prompt
        let shared = p.batch("a red cube", seeds: [3, 4]) { ($0.scheduler, $0.steps) = (kind, 5) }
        #expect(try subject.codes(shared)[0] == together[0])
    }

    @Test func `an image is the same with any number of threads`() throws {
        let codes = try [1, 2, 5].map { threads in
            let subject = try Subject("sd15", threads: threads)
            return try subject.codes(subject.pipeline.batch("a red cube", seeds: [1, 2]) { $0.steps = 3 })
        }
        #expect(codes[0] == codes[1] && codes[0] == codes[2])
    }

    @Test func `a preview is the picture that is predicted, and the end is the sample`() throws {
        let subject = try Subject("sd15")
        let p = subject.pipeline
        let batch = p.batch("a red cube", seeds: [1]) { ($0.scheduler, $0.steps) = (.euler, 4) }
        p.prepare(batch)
        var seen: [[Float]] = []
        for step in 0..<p.stepCount {
            p.step(step)
            seen.append(try p.codes()[0].latents)
            #expect(try p.decode(p.codes())[0].allSatisfy(\.isFinite))
        }
        #expect(Set(seen).count == 4)
        // Euler's last step ends at the picture that it predicts; the first preview is no noise of variance 14
        #expect(seen[0].map(abs).reduce(0, +) < 20 * seen[3].map(abs).reduce(0, +))
    }

    @Test(arguments: SchedulerKind.allCases, [0, 0.2, 0.5, 0.99] as [Float])
    func `strength says how much of a picture is made anew`(_ kind: SchedulerKind, _ strength: Float) throws {
        let subject = try Subject("sd15")
        let picture = Subject.formula([4, 8, 8], 120)
        var batch = subject.pipeline.batch("a red cube", seeds: [2]) { ($0.scheduler, $0.steps) = (kind, 10) }
        SourceLatents.begin(&batch, picture: picture, isOpen: nil, strength: strength)
        let found = try subject.codes(batch)[0].latents
        let steps = Int(10 * strength)
        // PNDM evaluates its first step twice
        #expect(subject.pipeline.stepCount == steps + (kind == .pndm && steps > 1 ? 1 : 0))
        if strength == 0 { #expect(found == picture) } else { #expect(found != picture) }
    }

    @Test func `at full strength nothing of the picture is left, and of a part under no mask everything`() throws {
        let subject = try Subject("sd15")
        let (first, second) = (Subject.formula([4, 8, 8], 120), Subject.formula([4, 8, 8], 121))
        func made(_ picture: [Float], isOpen: [Bool]?, strength: Float) throws -> [Float] {
            var batch = subject.pipeline.batch("a red cube", seeds: [2]) { $0.steps = 4 }
            SourceLatents.begin(&batch, picture: picture, isOpen: isOpen, strength: strength)
            return try subject.codes(batch)[0].latents
        }
        #expect(try made(first, isOpen: nil, strength: 1) == made(second, isOpen: nil, strength: 1))
        let isOpen = (0..<64).map { $0 % 8 >= 4 }
        for strength: Float in [0.5, 1] {
            let found = try made(first, isOpen: isOpen, strength: strength)
            for place in 0..<64 {
                let (now, before) = (found[4 * place..<4 * place + 4], first[4 * place..<4 * place + 4])
                #expect((now == before) == !isOpen[place])
            }
        }
    }

    @Test func `what cannot be done is refused`() throws {
        let subject = try Subject("sd15")
        func expectRefusal(_ change: (inout ImageBatch) -> Void) {
            var batch = subject.pipeline.batch("a red cube", seeds: [2])
            change(&batch)
            #expect(throws: SettingsError.self) { try subject.pipeline.check(batch) }
        }
        expectRefusal { $0.settings.gridHeight = 7 }
        expectRefusal { $0.settings.steps = 1001 }
        expectRefusal { $0.items[0].initialLatents = [1, 2, 3] }
        expectRefusal { $0.items[0].initialTokens = [Int32](repeating: 0, count: 64) }
        expectRefusal {
            ($0.items[0].picture, $0.settings.randomNumbers) = ([Float](repeating: 0, count: 256), .torch)
        }
    }

    @Test func `noise has the moments of normal numbers, and every element, step and purpose its own`() {
        let stream = RandomStream(seed: 5)
        let numbers = stream.normals(.latent, position: 0, count: 40_000).map(Double.init)
        let mean = numbers.reduce(0, +) / 40_000
        let variance = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 40_000
        let fourth = numbers.reduce(0) { $0 + $1 * $1 * $1 * $1 } / 40_000
        // five standard errors: 1/√n, √(2/n), √(96/n)
        #expect(abs(mean) < 0.025 && abs(variance - 1) < 0.036 && abs(fourth - 3) < 0.25)
        #expect(stream.normals(.latent, position: 0, count: 7) == numbers.prefix(7).map { Float($0) })
        #expect(stream.normals(.noise, position: 0, count: 8) != stream.normals(.latent, position: 0, count: 8))
        #expect(stream.normals(.noise, position: 0, count: 8) != stream.normals(.noise, position: 1, count: 8))
    }
}
