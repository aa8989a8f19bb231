import TTIAccounting
import TTICPU
import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct UNetTests {
    static let names = ["unet", "unet-sd21", "unet-sdxl"]

    /// A fixture's network, and its inputs prepared for chosen rows and all its steps.
    struct Subject {
        let fixture: ModelFixture
        let network: UNet
        let b: any Backend

        /// - Parameter isCalm: whether weights are scaled down, for which the fixture has no outputs.
        init(_ name: String, on b: any Backend, isCalm: Bool = false) throws {
            fixture = try ModelFixture("models/" + name)
            let weights = isCalm ? .values(try fixture.tensors.mapValues(ClosedFormWeights.calm)) : try fixture.weights
            network = try UNet(weights, UNetConfiguration(fixture.configuration), on: b)
            weights.ignore(UNet.ignores)
            #expect(weights.unread.isEmpty)
            self.b = b
        }

        var rowCount: Int { get throws { try fixture.host("sample").shape[0] } }

        private func part(_ host: HostTensor, _ rows: [Int]) -> HostTensor {
            var shape = host.shape
            shape[0] = rows.count
            let values = host.doubles()
            let width = values.count / host.shape[0]
            return HostTensor(rows.flatMap { values[$0 * width..<($0 + 1) * width] }, shape)
        }

        func output(rows: [Int], step: Int) throws -> Tensor {
            b.arena.rewind(to: 0)
            var added: UNetConditioning.Added?
            if network.configuration.added != nil {
                added = UNetConditioning.Added(
                    pooled: b.uploadActivations(part(try fixture.host("text_embeds"), rows)),
                    sizes: try rows.map { row in try fixture.rows("time_ids") { Float($0) }[row] })
            }
            let prepared = network.prepare(
                text: b.uploadActivations(part(try fixture.host("encoder_hidden_states"), rows)), added: added,
                timesteps: try fixture.numbers("timestep").map { Float($0) }, on: b)
            let latents = b.uploadActivations(part(try fixture.channelsLast("sample"), rows))
            return network(latents, at: b.upload(HostTensor([Int32(step)], [1])), prepared, on: b)
        }

        func expected(row: Int) throws -> HostTensor { part(try fixture.channelsLast("output"), [row]) }
    }

    @Test(arguments: names, TestedBackend.allCases)
    func `what comes out is diffusers'`(_ name: String, _ tested: TestedBackend) throws {
        let subject = try Subject(name, on: tested.make())
        for row in 0..<(try subject.rowCount) {
            // every row of the fixture is at a training step of its own
            try expectClose(
                subject.output(rows: [row], step: row), subject.expected(row: row), on: subject.b, tested.tolerance)
        }
    }

    @Test(arguments: names)
    func `weights in bfloat16`(_ name: String) throws {
        let b = CPUBackend(weightType: .bfloat16, threads: 2)
        try b.reserve(arenaBytes: 64 << 20)
        let found = try b.read(Subject(name, on: b, isCalm: true).output(rows: [0], step: 0)).map(Double.init)
        // Where only weights are rounded, or rows as the reference can round them, it has the same weights: what rounding makes
        // of so small a network by itself is up to 3e-2 of the root mean square. Tiles round softmax's weights besides, which
        // the reference does not: there it keeps its weights whole.
        let (reference, tolerance): (ReferenceBackend, Tolerance) =
            switch b.instructionSet {
            case .amx: (ReferenceBackend(), .networkInBFloat16)
            case .avx512bf16:
                (
                    ReferenceBackend(weightType: .bfloat16, cacheType: .bfloat16, roundsProducts: true),
                    .networkInBFloat16
                )
            default: (ReferenceBackend(weightType: .bfloat16, cacheType: .bfloat16), .network)
            }
        let wanted = try reference.numbers(
            Subject(name, on: reference, isCalm: true).output(rows: [0], step: 0))
        expectClose(found, wanted, tolerance)
    }

    @Test(arguments: ["unet-sd21", "unet-sdxl"])
    func `rows of a batch are the rows alone, bit for bit`(_ name: String) throws {
        let subject = try Subject(name, on: TestedBackend.cpu.make())
        let together = try subject.b.read(subject.output(rows: [0, 1], step: 1))
        let alone = try [0, 1].flatMap { try subject.b.read(subject.output(rows: [$0], step: 1)) }
        #expect(together == alone)
    }

    @Test func `golden numbers`() throws {
        let subject = try Subject("unet", on: ReferenceBackend())
        let output = try subject.output(rows: [0], step: 0)
        // The note counts [channels, height, width]; ours are [height, width, channels].
        let numbers = try subject.b.numbers(output)
        expectClose(
            (0..<6).map { numbers[$0 * 4] }, [0.040664, 1.115819, 0.160484, -0.151872, -1.794619, -1.764959], .network)
        expectClose(
            [numbers.reduce(0, +), numbers.reduce(0) { $0 + abs($1) }], [1.082138, 158.338319], .network)
    }

    /// Of a step of Stable Diffusion with two rows; the peak in float32 channels of 64×64 pixels.
    private static func step(readsJoinedInPlace: Bool) throws -> (peak: Double, concatenations: Int) {
        let counter = AccountingBackend(weightType: .float32, cacheType: .float32)
        counter.readsJoinedInPlace = readsJoinedInPlace
        let network = try UNet(.shapesOnly(dtype: .float32), .sd15, on: counter)
        let text = counter.allocate([2, 77, 768], .float32)
        let prepared = network.prepare(text: text, timesteps: [1], on: counter)
        let latents = counter.allocate([2, 64, 64, 4], .float32)
        let mark = counter.arena.mark
        counter.reset()
        _ = network(latents, at: counter.allocate([1], .int32), prepared, on: counter)
        let channelBytes = 2 * 64 * 64 * 4
        let peak = Double(counter.arena.peak - mark) / Double(channelBytes)
        return (peak, counter.totalsByName["concatenate"]?.calls ?? 0)
    }

    @Test func `skips are taken off the arena as they are used, and read where they are`() throws {
        let (peak, concatenations) = try UNetTests.step(readsJoinedInPlace: true)
        // four skips of 320 channels, and the widest block of the way out beside them
        let bound = 4 * 320 + 2 * (640 + 320) + 4 * 320 + 2 * 2560
        #expect(peak < Double(bound))
        #expect(concatenations == 0)
        // Twelve blocks, whose norm and shortcut each have a copy.
        #expect(try UNetTests.step(readsJoinedInPlace: false).concatenations == 24)
    }

    @Test(arguments: [(UNetConfiguration.sd15, 859_520_964), (.sdxl, 2_567_463_684)])
    func `parameters, from the configuration alone`(_ configuration: UNetConfiguration, _ count: Int) throws {
        let counter = AccountingBackend(weightType: .float32, cacheType: .float32)
        _ = try UNet(.shapesOnly(dtype: .float32), configuration, on: counter)
        #expect(counter.preparedByteCount == 4 * count)
    }
}

@Suite struct AutoencoderKLTests {
    static func check(_ fixture: ModelFixture, _ weights: Weights, _ tested: TestedBackend) throws {
        let b = try tested.make()
        let model = try AutoencoderKL(weights, AutoencoderKLConfiguration(fixture.configuration), on: b)
        #expect(weights.unread.isEmpty)
        let sample = model.decode(b.uploadActivations(try fixture.channelsLast("latents")), on: b)
        try expectClose(sample, fixture.channelsLast("sample"), on: b, tested.tolerance)
        let mean = model.encode(b.uploadActivations(try fixture.channelsLast("pixels")), on: b)
        try expectClose(mean, fixture.channelsLast("mean"), on: b, tested.tolerance)
    }

    @Test(arguments: ["autoencoderkl", "autoencoderkl-wide"], TestedBackend.allCases)
    func `pictures and latents are those of diffusers`(_ name: String, _ tested: TestedBackend) throws {
        let fixture = try ModelFixture("models/" + name)
        try Self.check(fixture, fixture.weights, tested)
    }

    @Test func `golden numbers`() throws {
        let fixture = try ModelFixture("models/autoencoderkl")
        let b = ReferenceBackend()
        let model = try AutoencoderKL(fixture.weights, AutoencoderKLConfiguration(fixture.configuration), on: b)
        func check(_ tensor: Tensor, _ first: [Double], _ sums: [Double]) throws {
            let numbers = try b.numbers(tensor)
            expectClose((0..<6).map { numbers[$0 * tensor.shape.last] }, first, .network)
            expectClose([numbers.reduce(0, +), numbers.reduce(0) { $0 + abs($1) }], sums, .network)
        }
        try check(
            model.decode(b.uploadActivations(fixture.channelsLast("latents")), on: b),
            [-0.480390, -0.391510, -0.014018, 0.003340, -0.637610, -0.297109], [-2.806920, 521.545984])
        try check(
            model.encode(b.uploadActivations(fixture.channelsLast("pixels")), on: b),
            [-0.795845, -0.367728, -0.069731, 0.333982, 0.760327, -1.195718], [4.934801, 31.396381])
    }

    @Test func `attention under its old names`() throws {
        let fixture = try ModelFixture("models/autoencoderkl")
        let old = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]
        try Self.check(fixture, .values(VQGANTests.renamed(fixture.tensors, old)), .reference)
    }

    @Test func `parameters, from the configuration alone`() throws {
        let counter = AccountingBackend(weightType: .float32, cacheType: .float32)
        _ = try AutoencoderKL(.shapesOnly(dtype: .float32), .stableDiffusion, on: counter)
        // but for the four rows of the spread, which are not kept
        #expect(counter.preparedByteCount == 4 * (83_653_863 - 4 * 9))
    }
}
