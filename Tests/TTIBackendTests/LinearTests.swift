import TTICPU
import TTICore
import TTITestSupport
import Testing

/// What the op cases do not ask: the same bits whatever the batch, the number of threads and the neighbours.
@Suite struct LinearTests {
    static let instructionSets = CPUBackend.InstructionSet.allCases.filter(\.isAvailable)

    static func backend(
        _ weightType: DType, threads: Int = 2, _ set: CPUBackend.InstructionSet = .best
    ) throws -> CPUBackend {
        let backend = CPUBackend(weightType: weightType, threads: threads, instructionSet: set)
        try backend.reserve(arenaBytes: 64 << 20)
        return backend
    }

    /// Numbers in -1..<1 that differ from seed to seed.
    static func noise(_ shape: Shape, _ seed: UInt64) -> HostTensor {
        var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
        let values = (0..<shape.elementCount).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(Int32(truncatingIfNeeded: state >> 33)) * 0x1p-30 - 1
        }
        return HostTensor(values, shape)
    }

    static func difference(_ result: [Float], _ reference: [Float]) -> Difference {
        Difference(result.map { Double($0) }, from: reference.map { Double($0) })
    }

    static func product(
        _ backend: any Backend, _ x: HostTensor, _ weight: HostTensor, _ bias: HostTensor?, _ activation: Activation,
        _ residual: HostTensor?
    ) throws -> [Float] {
        let y = try backend.linear(
            backend.upload(x), backend.prepare(matrix: weight, for: .sequences),
            bias: bias.map { try backend.prepare(constant: $0) },
            activation: activation, adding: residual.map { backend.upload($0) })
        return try backend.read(y)
    }

    @Test(arguments: instructionSets, [DType.float32, .bfloat16, .int8])
    func `products equal the reference's`(set: CPUBackend.InstructionSet, weightType: DType) throws {
        let shapes = [
            (1, 1, 1), (1, 7, 5), (2, 33, 17), (3, 64, 40), (5, 100, 31), (8, 48, 16), (9, 129, 70), (70, 96, 301),
        ]
        for (index, (tokens, inputs, outputs)) in shapes.enumerated() {
            for activation in Activation.allCases {
                let x = Self.noise([2, tokens, inputs], 1)
                let weight = Self.noise([outputs, inputs], 2)
                let bias = index % 2 == 0 ? Self.noise([outputs], 3) : nil
                let residual = index % 3 != 0 ? Self.noise([2, tokens, outputs], 4) : nil
                let got = try Self.product(Self.backend(weightType, set), x, weight, bias, activation, residual)
                let want = try Self.product(
                    set.reference(weightType), x, weight, bias, activation, residual)
                let difference = Self.difference(got, want)
                #expect(
                    difference.isWithin(.of("linear")), "\(tokens)×\(inputs)×\(outputs) \(activation): \(difference)")
            }
        }
    }

    @Test(arguments: instructionSets, [DType.float32, .bfloat16, .int8])
    func `a batch equals its entries`(set: CPUBackend.InstructionSet, weightType: DType) throws {
        for (tokens, inputs, outputs) in [
            (1, 200, 90), (1, 1024, 256), (3, 130, 50), (7, 64, 33), (8, 96, 64), (40, 70, 530),
        ] {
            let weight = Self.noise([outputs, inputs], 5)
            let x = Self.noise([19, tokens, inputs], 6)
            let values = x.floats()
            var expected: [Float]?
            for threads in [1, 2, 3] {
                let backend = try Self.backend(weightType, threads: threads, set)
                let whole = try Self.product(backend, x, weight, nil, .gelu, nil)
                #expect(whole == expected ?? whole, "\(threads) threads")
                expected = whole
                for entry in [0, 7, 18] {
                    let size = tokens * inputs
                    let single = HostTensor(Array(values[entry * size..<(entry + 1) * size]), [1, tokens, inputs])
                    let alone = try Self.product(backend, single, weight, nil, .gelu, nil)
                    let part = Array(whole[entry * tokens * outputs..<(entry + 1) * tokens * outputs])
                    #expect(alone == part, "\(tokens)×\(inputs)×\(outputs), entry \(entry)")
                }
            }
        }
    }

    @Test(arguments: instructionSets, [DType.float32, .bfloat16, .int8])
    func `a row alone equals itself among many`(set: CPUBackend.InstructionSet, weightType: DType) throws {
        for (inputs, outputs) in [(100, 33), (1024, 160), (513, 1100)] {
            let weight = Self.noise([outputs, inputs], 15)
            let x = Self.noise([150, inputs], 16)
            let values = x.floats()
            let backend = try Self.backend(weightType, set)
            let many = try Self.product(backend, x, weight, nil, .identity, nil)
            for count in [1, 2, 3, 5, 8, 11, 14, 20] {
                let few = HostTensor(Array(values[0..<count * inputs]), [count, inputs])
                let alone = try Self.product(backend, few, weight, nil, .identity, nil)
                #expect(alone == Array(many[0..<count * outputs]), "\(count) rows of \(inputs) to \(outputs)")
            }
        }
    }

    @Test(arguments: [DType.float8e4m3, .float8e5m2], [DType.float32, .bfloat16])
    func `every number of eight bits is prepared as what it is`(from: DType, weightType: DType) throws {
        let allocation = HostAllocation(byteCount: 256)
        for byte in 0..<256 { unsafe allocation.bytes[byte] = UInt8(byte) }
        let source = unsafe HostTensor(
            shape: [16, 16], dtype: from, bytes: UnsafeRawBufferPointer(allocation.bytes), storage: allocation)
        let backend = try Self.backend(weightType, .best)
        let numbers = try backend.read(backend.prepare(table: source))
        for (number, expected) in zip(numbers, source.floats()) {
            #expect(expected.isNaN ? number.isNaN : number.bitPattern == expected.bitPattern)
        }
    }

    @Test func `products of int8 are the same bits on every instruction set`() throws {
        for (rows, inputs, outputs) in [(1, 64, 32), (2, 1000, 47), (13, 70, 96), (37, 257, 33), (70, 1024, 130)] {
            let weight = Self.noise([outputs, inputs], 21)
            let x = Self.noise([rows, inputs], 22)
            let (bias, residual) = (Self.noise([outputs], 23), Self.noise([rows, outputs], 24))
            let results = try Self.instructionSets.map { set in
                try Self.product(Self.backend(.int8, set), x, weight, bias, .relu, residual)
            }
            #expect(results.allSatisfy { $0 == results[0] }, "\(rows)×\(inputs)×\(outputs)")
        }
    }

    static func integerConvolution(
        _ set: CPUBackend.InstructionSet, _ x: HostTensor, _ kernel: HostTensor, _ geometry: ConvolutionGeometry
    ) throws -> [Float] {
        let backend = CPUBackend(weightType: .int8, threads: 2, instructionSet: set, kernelType: .int8)
        try backend.reserve(arenaBytes: 64 << 20)
        let image = backend.allocate(x.shape, .float32)
        backend.write(x, to: image)
        let weight = try backend.prepare(convolution: kernel)
        return try backend.read(
            backend.convolve(image, weight, bias: nil, geometry, activation: .relu, adding: nil))
    }

    @Test func `convolutions of int8 are the same bits on every instruction set`() throws {
        let kernels = [
            (3, ConvolutionGeometry(padding: 1)), (3, ConvolutionGeometry(stride: 2, padding: 1)),
            (3, ConvolutionGeometry(padding: 1, upsampling: 2)), (1, ConvolutionGeometry()),
        ]
        for (side, geometry) in kernels {
            for (inputs, outputs) in [(32, 32), (72, 130), (160, 48)] {
                let x = Self.noise([2, 9, 21, inputs], 31)
                let kernel = Self.noise([outputs, inputs, side, side], 32)
                let results = try Self.instructionSets.map { try Self.integerConvolution($0, x, kernel, geometry) }
                #expect(results.allSatisfy { $0 == results[0] }, "\(inputs) → \(outputs), \(side), \(geometry)")
            }
        }
    }

    /// A norm, then a convolution in int8: in one operation, and in two. Of more than 1024 pixels, so that one is one.
    static func normedConvolutions(
        _ set: CPUBackend.InstructionSet, _ x: HostTensor, weights: HostTensor, _ activation: Activation
    ) throws -> (one: [Float], two: [Float]) {
        let backend = CPUBackend(weightType: .int8, threads: 2, instructionSet: set, kernelType: .int8)
        try backend.reserve(arenaBytes: 64 << 20)
        let image = backend.upload(x)
        let channels = x.shape[3]
        let norm = GroupNormParameters(
            groups: channels / 4, weight: backend.upload(weights), bias: backend.upload(Self.noise([channels], 35)),
            epsilon: 1e-6)
        let kernel = try backend.prepare(convolution: Self.noise([40, channels, 3, 3], 36))
        let geometry = ConvolutionGeometry(padding: 1)
        let one = backend.groupNormConvolve(
            image, norm, activation: activation, kernel, bias: nil, geometry, adding: nil)
        let two = backend.convolve(
            backend.groupNorm(image, norm, activation: activation), kernel, bias: nil, geometry,
            activation: .identity, adding: nil)
        return (try backend.read(one), try backend.read(two))
    }

    @Test func `a norm inside a convolution of int8 is the norm before it, bit for bit`() throws {
        let channels = 48
        // Scales of one, negative ones, and such that results are small.
        for scale: Float in [1, -1, 1e-3] {
            let weights = HostTensor(Self.noise([channels], 37).floats().map { $0 * scale }, [channels])
            for set in Self.instructionSets {
                for activation in [Activation.identity, .relu, .silu] {
                    let (one, two) = try Self.normedConvolutions(
                        set, Self.noise([2, 35, 34, channels], 38), weights: weights, activation)
                    let isSame = one == two
                    #expect(isSame, "\(set) \(activation) \(scale)")
                }
            }
        }
    }

    @Test func `an image of int8 whose norm meets an infinity is not a number, and no other is`() throws {
        var values = Self.noise([2, 35, 34, 32], 39).floats()
        values[5] = -.infinity
        for set in Self.instructionSets {
            let (one, _) = try Self.normedConvolutions(
                set, HostTensor(values, [2, 35, 34, 32]), weights: Self.noise([32], 40), .silu)
            let half = one.count / 2
            #expect(one[..<half].allSatisfy { !$0.isFinite } && one[half...].allSatisfy(\.isFinite))
        }
    }

    @Test func `an image of int8 with an infinity is not a number, and no other is`() throws {
        var values = Self.noise([2, 6, 7, 40], 33).floats()
        values[5] = .infinity
        let kernel = Self.noise([33, 40, 3, 3], 34)
        for set in Self.instructionSets {
            let y = try Self.integerConvolution(
                set, HostTensor(values, [2, 6, 7, 40]), kernel, ConvolutionGeometry(padding: 1))
            #expect(y[..<(y.count / 2)].allSatisfy { !$0.isFinite } && y[(y.count / 2)...].allSatisfy(\.isFinite))
        }
    }

    @Test(arguments: instructionSets)
    func `convolutions equal the reference's`(set: CPUBackend.InstructionSet) throws {
        var geometries = [
            (1, 1, ConvolutionGeometry()), (3, 3, ConvolutionGeometry(padding: 1)),
            (3, 3, ConvolutionGeometry(padding: 1, upsampling: 2)),
            (3, 3, ConvolutionGeometry(stride: 2, top: 0, left: 0, bottom: 1, right: 1)),
            (2, 2, ConvolutionGeometry(stride: 2)), (3, 3, ConvolutionGeometry(stride: 2, padding: 1)),
            (1, 1, ConvolutionGeometry(upsampling: 2)), (2, 2, ConvolutionGeometry(padding: 1, upsampling: 2)),
            (5, 3, ConvolutionGeometry(padding: 2, upsampling: 2)), (20, 28, ConvolutionGeometry(upsampling: 2)),
            (3, 3, ConvolutionGeometry(stride: 2, padding: 1, upsampling: 2)),
            (4, 4, ConvolutionGeometry(upsampling: 2)),
            (1, 1, ConvolutionGeometry(stride: 2)), (5, 3, ConvolutionGeometry(padding: 2)),
        ]
        geometries.append((4, 2, ConvolutionGeometry(stride: 1, top: 2, left: 0, bottom: 1, right: 1)))
        for (height, width, geometry) in geometries {
            for (inputs, outputs) in [(1, 1), (3, 3), (8, 3), (16, 16), (3, 40), (37, 64), (64, 33)] {
                for weightType in [DType.float32, .bfloat16] {
                    let x = Self.noise([2, 10, 14, inputs], 7)
                    let weight = Self.noise([outputs, inputs, height, width], 8)
                    let bias = Self.noise([outputs], 9)
                    func convolve(_ backend: any Backend) throws -> [Float] {
                        let image = backend.upload(x)
                        let kernel = try backend.prepare(convolution: weight)
                        let bias = try backend.prepare(constant: bias)
                        let plain = backend.convolve(
                            image, kernel, bias: nil, geometry, activation: .identity, adding: nil)
                        let y = backend.convolve(image, kernel, bias: bias, geometry, activation: .silu, adding: plain)
                        return try backend.read(y)
                    }
                    let got = try convolve(Self.backend(weightType, set))
                    let want = try convolve(set.reference(weightType))
                    let difference = Self.difference(got, want)
                    #expect(
                        difference.isWithin(.of("convolve")),
                        "\(height)×\(width) \(inputs) to \(outputs) \(geometry): \(difference)")
                }
            }
        }
    }

    @Test(arguments: instructionSets)
    func `an image in a batch equals itself alone`(set: CPUBackend.InstructionSet) throws {
        for (channels, outputs) in [(5, 3), (32, 32), (48, 96), (130, 20)] {
            let x = Self.noise([3, 17, 16, channels], 10)
            let values = x.floats()
            let weight = Self.noise([outputs, channels, 3, 3], 11)
            var expected: [Float]?
            for threads in [1, 2, 3] {
                let backend = try Self.backend(.float32, threads: threads, set)
                let kernel = try backend.prepare(convolution: weight)
                func convolve(_ x: HostTensor) throws -> [Float] {
                    try backend.read(
                        backend.convolve(
                            backend.upload(x), kernel, bias: nil, ConvolutionGeometry(padding: 1),
                            activation: .identity,
                            adding: nil))
                }
                let whole = try convolve(x)
                #expect(whole == expected ?? whole)
                expected = whole
                for entry in 0..<3 {
                    let size = values.count / 3
                    let alone = try convolve(
                        HostTensor(Array(values[entry * size..<(entry + 1) * size]), [1, 17, 16, channels]))
                    let length = whole.count / 3
                    #expect(alone == Array(whole[entry * length..<(entry + 1) * length]), "\(channels) to \(outputs)")
                }
            }
        }
    }

    @Test(arguments: instructionSets)
    func `depthwise convolutions and embeddings equal the reference's`(set: CPUBackend.InstructionSet) throws {
        for (channels, size) in [(1, 3), (16, 3), (70, 3), (33, 5)] {
            func run(_ backend: any Backend) throws -> [Float] {
                let weight = try backend.prepare(depthwise: Self.noise([channels, 1, size, size], 12))
                return try backend.read(
                    backend.depthwiseConvolve(backend.upload(Self.noise([2, 9, 7, channels], 13)), weight))
            }
            let difference = try Self.difference(run(Self.backend(.float32, set)), run(ReferenceBackend()))
            #expect(difference.isWithin(.of("depthwiseConvolve")), "\(channels) channels: \(difference)")
        }
        for weightType in [DType.float32, .bfloat16] {
            func run(_ backend: any Backend) throws -> [Float] {
                let table = try backend.prepare(table: Self.noise([11, 37], 14))
                return try backend.read(
                    backend.embed(backend.upload(HostTensor([0, 10, 3, 3] as [Int32], [2, 2])), table))
            }
            #expect(try run(Self.backend(weightType, set)) == run(ReferenceBackend(weightType: weightType)))
        }
    }

    @Test func `every index is done once, nested calls included`() {
        for threads in [1, 2, 5] {
            let pool = ThreadPool(threadCount: threads)
            for round in 0..<2000 {
                let count = round % 67
                nonisolated(unsafe) let counts = UnsafeMutablePointer<Int32>.allocate(capacity: 3 * (count + 1))
                counts.initialize(repeating: 0, count: 3 * (count + 1))
                pool.forEach(count) { index in pool.forEach(3) { counts[index * 3 + $0] += 1 } }
                #expect((0..<3 * count).allSatisfy { counts[$0] == 1 })
                counts.deallocate()
            }
        }
    }
}
