import TTIAccounting
import TTICPU
import TTICore
import TTITestSupport
import Testing

/// A result that takes the place of what was added to it, as the layers of a chain do: the bits are the same, and nothing is made
/// elsewhere first where that can be avoided.
@Suite struct MovingTests {
    static let sets = BackendComparison.instructionSets

    /// Work on `h`, to which `x` is added.
    private typealias Work = @Sendable (_ backend: any Backend, _ h: Tensor, _ x: Tensor) throws -> Tensor

    private static func matrix(_ backend: any Backend, _ outputs: Int, _ inputs: Int) throws -> PreparedMatrix {
        try backend.prepare(matrix: BackendComparison.noise([outputs, inputs], 3, scale: 0.2), for: .sequences)
    }

    private static func convolution(
        _ backend: any Backend, _ channels: Int, _ size: Int
    ) throws -> PreparedConvolution {
        try backend.prepare(
            convolution: BackendComparison.noise([channels, channels, size, size], 3, scale: 0.1))
    }

    private static func linear(_ activation: Activation) -> Work {
        { b, h, x in
            b.linear(
                h, try matrix(b, x.shape.last, h.shape.last), bias: nil, activation: activation, adding: x)
        }
    }

    private static func convolve(_ size: Int, upsampling: Int = 1) -> Work {
        { b, h, x in
            b.convolve(
                h, try convolution(b, x.shape.last, size), bias: nil,
                ConvolutionGeometry(padding: size / 2, upsampling: upsampling), activation: .identity, adding: x)
        }
    }

    private static func groupNormConvolve(_ b: any Backend, _ h: Tensor, _ x: Tensor) throws -> Tensor {
        let channels = h.shape.last
        let norm = GroupNormParameters(
            groups: 4, weight: try b.prepare(constant: BackendComparison.noise([channels], 4)),
            bias: try b.prepare(constant: BackendComparison.noise([channels], 5)), epsilon: 1e-5)
        return b.groupNormConvolve(
            h, norm, activation: .silu, try convolution(b, channels, 3), bias: nil, ConvolutionGeometry(padding: 1),
            adding: x)
    }

    private static func feedForward(_ inner: Int) -> Work {
        { b, h, x in
            b.gatedFeedForward(
                h, nil, input: try matrix(b, 2 * inner, h.shape.last), inputBias: nil,
                output: try matrix(b, x.shape.last, inner), outputBias: nil, activation: .gelu, order: .gateFirst,
                adding: x)
        }
    }

    /// - Parameter isMade: whether the result is made in its last place at once.
    private static let cases: [(name: String, h: Shape, x: Shape, isMade: Bool, work: Work)] = [
        ("a token", [2, 1, 96], [2, 1, 70], true, linear(.identity)),
        ("20 tokens", [2, 20, 96], [2, 20, 70], true, linear(.identity)),
        ("130 tokens, rows of 2 KiB", [2, 130, 512], [2, 130, 64], true, linear(.identity)),
        ("an activation comes before the sum", [2, 20, 96], [2, 20, 70], false, linear(.gelu)),
        ("3×3 pixels, direct", [2, 9, 11, 24], [2, 9, 11, 24], true, convolve(3)),
        ("3×3 pixels, F(2×2)", [1, 16, 18, 64], [1, 16, 18, 64], true, convolve(3)),
        ("3×3 pixels, F(4×4)", [1, 33, 34, 64], [1, 33, 34, 64], true, convolve(3)),
        ("doubled pixels", [1, 9, 10, 32], [1, 18, 20, 32], true, convolve(3, upsampling: 2)),
        ("3×3 pixels of a norm", [2, 33, 34, 32], [2, 33, 34, 32], true, groupNormConvolve),
        ("1×1 pixel", [2, 9, 11, 40], [2, 9, 11, 40], true, convolve(1)),
        ("a gated feed-forward", [2, 24, 64], [2, 24, 48], true, feedForward(96)),
    ]

    @Test(arguments: sets, [DType.float32, .bfloat16, .int8])
    func `a result takes the place of what is added to it`(
        set: CPUBackend.InstructionSet, weightType: DType
    ) throws {
        let backend = try BackendComparison.cpu(set, weightType: weightType)
        for (name, hShape, xShape, isMade, work) in Self.cases {
            let (h, x) = (BackendComparison.noise(hShape, 1), BackendComparison.noise(xShape, 2))
            backend.arena.rewind(to: 0)
            let direct = try backend.read(work(backend, backend.upload(h), backend.upload(x)))

            backend.arena.rewind(to: 0)
            let operand = backend.upload(h)
            let mark = backend.arena.mark
            // Something that shows when it is overwritten lies above.
            let all = backend.allocate([1 << 20], .float32)
            backend.write(HostTensor([Float](repeating: 77, count: 1 << 20), [1 << 20]), to: all)
            backend.arena.rewind(to: mark)
            let residual = backend.upload(x)
            let result = try work(backend, operand, residual)
            backend.arena.rewind(to: mark)
            let kept = backend.arena.allocate(result.shape, result.dtype)
            backend.move(result, to: kept)
            let moved = try backend.read(kept)
            let isSame = moved == direct
            #expect(isSame, "\(name)")
            let isUntouched = try backend.read(result).allSatisfy { $0 == 77 }
            #expect(isUntouched == isMade, "\(name): made elsewhere and copied")
        }
    }

    @Test func `a result that others read where it goes is copied`() throws {
        let backend = try BackendComparison.cpu(.best)
        let x = BackendComparison.noise([2, 40, 64], 1)
        let matrix = try Self.matrix(backend, 64, 64)
        let direct = try backend.read(backend.linear(backend.upload(x), matrix))
        backend.arena.rewind(to: 0)
        let operand = backend.upload(x)
        let result = backend.linear(operand, matrix)
        backend.move(result, to: operand)
        let isSame = try backend.read(operand) == direct
        #expect(isSame)
    }

    @Test func `a result of joined rows is copied to where either half lies`() throws {
        let backend = try BackendComparison.cpu(.best)
        let halves = [BackendComparison.noise([2, 40, 64], 1), BackendComparison.noise([2, 40, 64], 2)]
        let matrix = try Self.matrix(backend, 64, 128)
        for half in halves.indices {
            backend.arena.rewind(to: 0)
            let operands = halves.map { backend.upload($0) }
            let direct = try backend.read(backend.joinedLinear(operands[0], operands[1], matrix, bias: nil))
            backend.move(backend.joinedLinear(operands[0], operands[1], matrix, bias: nil), to: operands[half])
            let isSame = try backend.read(operands[half]) == direct
            #expect(isSame, "half \(half)")
        }
    }

    @Test func `a stopwatch lets a result be made where it goes, and counts what is copied`() throws {
        let backend = TimingBackend(try BackendComparison.cpu(.best))
        let (h, x) = (BackendComparison.noise([2, 40, 64], 1), BackendComparison.noise([2, 40, 64], 2))
        let matrix = try Self.matrix(backend, 64, 64)
        let (operand, residual) = (backend.upload(h), backend.upload(x))
        func result() -> Tensor {
            backend.linear(operand, matrix, bias: nil, activation: .identity, adding: residual)
        }
        let direct = try backend.read(result())
        backend.reset()
        backend.move(result(), to: residual)
        let isSame = try backend.read(residual) == direct
        #expect(isSame)
        #expect(backend.operations.map(\.name) == ["linear"])
        backend.move(result(), to: operand)
        #expect(Set(backend.operations.map(\.name)) == ["linear", "copy"])
    }

    @Test func `what is left until later is done before its inputs change`() throws {
        let backend = try BackendComparison.cpu(.best)
        let (x, other) = (BackendComparison.noise([2, 40, 64], 1), BackendComparison.noise([2, 40, 64], 2))
        let matrix = try Self.matrix(backend, 64, 64)
        let direct = try backend.read(backend.linear(backend.upload(x), matrix))
        backend.arena.rewind(to: 0)
        let (operand, source) = (backend.upload(x), backend.upload(other))
        let changes: [(String, () -> Void)] = [
            ("write", { backend.write(other, to: operand) }),
            ("copy", { backend.copy(source, to: operand) }),
            ("move", { backend.move(source, to: operand) }),
        ]
        for (name, change) in changes {
            backend.write(x, to: operand)
            let result = backend.linear(operand, matrix)
            change()
            let isSame = try backend.read(result) == direct
            #expect(isSame, "\(name)")
        }
    }
}
