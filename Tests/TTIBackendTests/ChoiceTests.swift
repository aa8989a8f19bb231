import TTICPU
import TTICore
import TTITestSupport
import Testing

/// Choosing tokens: the same ones as the reference, on every instruction set, at every batch.
@Suite struct ChoiceTests {
    typealias Comparison = BackendComparison

    @Test func `Philox gives the published numbers`() {
        // Random123's kat_vectors for philox4x32 with 10 rounds.
        #expect(
            RandomStream(seed: 0).block(SIMD4(0, 0, 0, 0)) == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
        #expect(
            RandomStream(seed: .max).block(SIMD4(repeating: .max))
                == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
        #expect(
            RandomStream(seed: 0x299f_31d0_a409_3822).block(SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344))
                == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
    }

    static func state(
        _ backend: any Backend, temperature: Float = 1, topK: Int = 0, topP: Float = 1, seeds: [UInt64], position: Int
    ) -> SamplingState {
        SamplingState(
            settings: backend.upload(HostTensor([temperature, Float(topK), topP], [3])),
            keys: backend.upload(
                Comparison.integers(
                    seeds.flatMap { [Int(Int32(truncatingIfNeeded: $0)), Int(Int32(truncatingIfNeeded: $0 >> 32))] },
                    [seeds.count, 2])),
            position: backend.upload(Comparison.integers([position], [1])),
            guidance: backend.upload(HostTensor([2, 5] as [Float], [2])))
    }

    static let seeds: [UInt64] = [1, 0x8000_0000_ffff_ffff, 0x1234_5678_9abc_def0]

    @Test(arguments: Comparison.instructionSets)
    func `sampled tokens are the reference's`(set: CPUBackend.InstructionSet) throws {
        let settings: [(Float, Int, Float)] = [
            (1, 0, 1), (0, 0, 1), (0.7, 5, 1), (1.5, 0, 0.9), (1, 50, 0.5), (1, 1, 1), (1, 0, 0), (0.01, 0, 1),
        ]
        for vocabulary in [1, 3, 64, 1000, 8192] {
            for (temperature, topK, topP) in settings {
                for scale: Float in [1, 12] {
                    for position in [0, 7] {
                        let draw = { (backend: any Backend) in
                            let state = Self.state(
                                backend, temperature: temperature, topK: topK, topP: topP, seeds: Self.seeds,
                                position: position)
                            let codes = backend.upload(Comparison.integers([Int](repeating: -5, count: 24), [3, 8]))
                            let logits = backend.upload(
                                Comparison.noise([6, vocabulary], UInt64(position), scale: scale))
                            _ = backend.guideAndSample(logits, state, into: codes)
                            return codes
                        }
                        try Comparison.expectReference(
                            set, .of("sample"), "\(vocabulary), \(temperature), \(topK), \(topP), \(scale)"
                        ) { draw($0) }
                    }
                }
            }
        }
    }

    @Test(arguments: Comparison.instructionSets)
    func `ties go to the lower id`(set: CPUBackend.InstructionSet) throws {
        for (temperature, topK, topP) in [(Float(0), 0, Float(1)), (1, 3, 1), (1, 0, 0.35), (1, 3, 0.6)] {
            for seed in 0..<40 {
                try Comparison.expectReference(set, .of("sample"), "\(temperature), \(topK), \(topP), \(seed)") {
                    backend in
                    let logits: [Float] = (0..<40).map { [0, 2, 1, 2, -.infinity][$0 % 5] }
                    return backend.sample(
                        backend.upload(HostTensor(logits, [1, 40])),
                        Self.state(
                            backend, temperature: temperature, topK: topK, topP: topP, seeds: [UInt64(seed)],
                            position: 0), into: backend.upload(Comparison.integers([0], [1, 1])))
                }
            }
        }
    }

    @Test(arguments: Comparison.instructionSets)
    func `draws follow the distribution`(set: CPUBackend.InstructionSet) throws {
        let backend = try Comparison.cpu(set)
        let draws = 20000
        let logits: [Float] = [0, 1, 2, -1, 0.5]
        let state = Self.state(
            backend, seeds: (0..<draws).map { UInt64($0) }, position: 0)
        let tokens = try backend.readIntegers(
            backend.sample(
                backend.upload(HostTensor((0..<draws).flatMap { _ in logits }, [draws, 5])), state,
                into: backend.allocate([draws, 1], .int32)))
        let weights: [Double] = [1, 2.718281828, 7.389056099, 0.367879441, 1.648721271]
        let total = weights.reduce(0, +)
        for token in 0..<5 {
            let expected = weights[token] / total * Double(draws)
            let count = Double(tokens.filter { $0 == token }.count)
            #expect(abs(count - expected) < 5 * expected.squareRoot())
        }
    }

    @Test(arguments: Comparison.instructionSets, [Float.nan, .infinity, -.infinity])
    func `a logit that is not finite is reported once`(set: CPUBackend.InstructionSet, value: Float) throws {
        let backend = try Comparison.cpu(set)
        for vocabulary in [3, 100] {
            var logits = [Float](repeating: value == -.infinity ? value : 0, count: vocabulary)
            logits[vocabulary - 1] = value
            let state = Self.state(backend, seeds: [1], position: 0)
            let codes = backend.upload(Comparison.integers([9], [1, 1]))
            let tokens = backend.sample(backend.upload(HostTensor(logits, [1, vocabulary])), state, into: codes)
            #expect(throws: DeviceError.self) { try backend.synchronize() }
            #expect(try backend.readIntegers(tokens) == [0])
        }
    }

    /// All steps of masked decoding from noise logits; tokens of all steps, then the predicted ones.
    static func decode(
        _ backend: any Backend, images: Int, seeds: [UInt64], vocabulary: Int, ordered: Bool, noise: Float,
        shared: Bool, topK: Int = 0
    ) throws -> Tensor {
        let (width, steps) = (29, 5)
        let start = (0..<images * width).map { $0 % width % 7 == 3 ? 1 : vocabulary }
        let tokens = backend.upload(Comparison.integers(start, [images, width]))
        let predicted = backend.upload(Comparison.integers(start.map { $0 % vocabulary }, [images, width]))
        let grid = MaskedGrid(
            tokens: tokens, predicted: predicted, maskToken: vocabulary,
            remaining: backend.upload(Comparison.integers([24, 17, 3, 0, 0], [steps])),
            noise: backend.upload(HostTensor([noise, noise / 2, noise, 0, 0], [steps])),
            order: ordered ? backend.upload(Comparison.integers((0..<width).map { $0 * 11 % width }, [width])) : nil)
        var all: [Tensor] = []
        for step in 0..<steps {
            let places = backend.maskedPlaces(tokens, maskToken: vocabulary, count: 26)
            let rows = shared ? 1 : images
            let one = Comparison.noise([1, 26, vocabulary], UInt64(step), scale: 5).floats()
            let logits = backend.upload(HostTensor((0..<rows).flatMap { _ in one }, [rows, 26, vocabulary]))
            backend.unmask(
                logits, at: places, state(backend, topK: topK, seeds: seeds, position: step), in: grid)
            let copy = backend.allocate(tokens.shape, .int32)
            backend.copy(tokens, to: copy)
            all += [places, copy]
        }
        return backend.concatenate(all + [predicted], axis: 1)
    }

    @Test(arguments: Comparison.instructionSets)
    func `masked decoding is the reference's`(set: CPUBackend.InstructionSet) throws {
        for (vocabulary, ordered, noise, shared, topK) in [
            (50, false, Float(2), false, 0), (1024, false, 2, true, 0), (301, true, 0, false, 0),
            (301, false, 0, false, 7),
        ] {
            try Comparison.expectReference(set, .of("unmask"), "\(vocabulary)") {
                try Self.decode(
                    $0, images: 3, seeds: Self.seeds, vocabulary: vocabulary, ordered: ordered, noise: noise,
                    shared: shared, topK: topK)
            }
        }
        let backend = try Comparison.cpu(set)
        let all = try backend.readIntegers(
            Self.decode(
                backend, images: 3, seeds: Self.seeds, vocabulary: 1024, ordered: false, noise: 2, shared: false))
        for image in 0..<3 {
            let one = try backend.readIntegers(
                Self.decode(
                    backend, images: 1, seeds: [Self.seeds[image]], vocabulary: 1024, ordered: false, noise: 2,
                    shared: true))
            #expect(Array(all[image * one.count..<(image + 1) * one.count]) == one)
        }
    }

    @Test(arguments: Comparison.instructionSets)
    func `the nearest code is the reference's`(set: CPUBackend.InstructionSet) throws {
        for (rows, codes, width) in [(1, 1, 1), (7, 33, 5), (50, 1024, 64), (20, 100, 40)] {
            try Comparison.expectReference(set, .of("nearestCode"), "\(codes)×\(width)") {
                $0.nearestCode(
                    $0.upload(Comparison.noise([rows, width], 1)), $0.upload(Comparison.noise([codes, width], 2)))
            }
        }
        let backend = try Comparison.cpu(set)
        let book = backend.upload(HostTensor([1, 1, 0, 0, 1, 1, 0, 0] as [Float], [4, 2]))
        let x = backend.upload(HostTensor([1, 1, 0, 0, 0.5, 0.5] as [Float], [3, 2]))
        #expect(try backend.readIntegers(backend.nearestCode(x, book)) == [0, 1, 0])
    }
}
