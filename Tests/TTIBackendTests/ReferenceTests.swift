import TTICore
import TTITestSupport
import Testing

/// The oracle itself, on numbers that can be checked by hand.
struct ReferenceTests {
    let backend = ReferenceBackend()

    private func tensor(_ values: [Float], _ shape: Shape) -> Tensor {
        let tensor = backend.allocate(shape, .float64)
        backend.write(HostTensor(values, shape), to: tensor)
        return tensor
    }

    private func integers(_ values: [Int32], _ shape: Shape) -> Tensor { backend.upload(HostTensor(values, shape)) }

    private func isNear(_ tensor: Tensor, _ expected: [Double]) throws -> Bool {
        let values = try backend.readDoubles(tensor)
        return values.count == expected.count && zip(values, expected).allSatisfy { abs($0 - $1) < 1e-6 }
    }

    @Test func `linear multiplies by the transpose, then bias, activation, residual`() throws {
        let weight = try backend.prepare(matrix: HostTensor([1, 2, 3, -4, 5, 6] as [Float], [3, 2]), for: .sequences)
        let bias = try backend.prepare(constant: HostTensor([0.5, 0, 0] as [Float], [3]))
        let x = tensor([1, 1, 2, -1], [2, 1, 2])
        let y = backend.linear(
            x, weight, bias: bias, activation: .relu, adding: tensor([1, 1, 1, 2, 2, 2], [2, 1, 3]))
        #expect(y.shape == [2, 1, 3])
        #expect(try isNear(y, [4.5, 1, 12, 2.5, 12, 6]))
    }

    @Test func `weights are rounded to the type they are held in`() throws {
        let rounding = ReferenceBackend(weightType: .bfloat16)
        let weight = try rounding.prepare(matrix: HostTensor([1.003_906_25] as [Float], [1, 1]), for: .sequences)
        let x = rounding.upload(HostTensor([2] as [Float], [1, 1]))
        #expect(try rounding.read(rounding.linear(x, weight)) == [2])
    }

    @Test func `activations have their known values`() throws {
        let x = [-1.0, 0, 0.5, 3]
        let expected: [Activation: [Double]] = [
            .identity: [-1, 0, 0.5, 3], .relu: [0, 0, 0.5, 3],
            .gelu: [-0.158655254, 0, 0.345731231, 2.995950306],
            .geluTanh: [-0.158808009, 0, 0.345714010, 2.996362607],
            .quickGelu: [-0.154204234, 0, 0.350388437, 2.981928690],
            .silu: [-0.268941421, 0, 0.311229666, 2.857722381],
        ]
        for activation in Activation.allCases {
            let y = backend.activate(tensor(x.map { Float($0) }, [4]), activation)
            #expect(try isNear(y, try #require(expected[activation])), "\(activation)")
        }
    }

    @Test func `a convolution sees zeros around the image`() throws {
        let kernel = try backend.prepare(
            convolution: HostTensor([1, 2, 3, 4, 5, 6, 7, 8, 9] as [Float], [1, 1, 3, 3]))
        let x = tensor([1, 0, 0, 0, 0, 0, 0, 0, 2], [1, 3, 3, 1])
        func convolve(_ geometry: ConvolutionGeometry) -> Tensor {
            backend.convolve(x, kernel, bias: nil, geometry, activation: .identity, adding: nil)
        }
        #expect(try isNear(convolve(ConvolutionGeometry(padding: 1)), [5, 4, 0, 2, 1 + 18, 16, 0, 12, 10]))
        // With one zero row below a window fits at 0, with two also at 2.
        let halving = ConvolutionGeometry(stride: 2, top: 0, left: 0, bottom: 1, right: 1)
        #expect(try isNear(convolve(halving), [1 + 18]))
        let wide = ConvolutionGeometry(stride: 2, top: 0, left: 0, bottom: 2, right: 2)
        #expect(try isNear(convolve(wide), [1 + 18, 14, 6, 2]))
    }

    @Test func `upsampling doubles every pixel before the kernel`() throws {
        let kernel = try backend.prepare(convolution: HostTensor([1, 10, 100, 1000] as [Float], [1, 1, 2, 2]))
        let x = tensor([1, 2], [1, 1, 2, 1])
        let y = backend.convolve(
            x, kernel, bias: nil, ConvolutionGeometry(upsampling: 2), activation: .identity, adding: nil)
        // The doubled image is 1 1 2 2 twice.
        #expect(y.shape == [1, 1, 3, 1])
        #expect(try isNear(y, [1111, 1 + 20 + 100 + 2000, 2222]))
    }

    @Test func `channels of a kernel are sums over input channels`() throws {
        let kernel = try backend.prepare(convolution: HostTensor([1, 2, 3, 4] as [Float], [2, 2, 1, 1]))
        let y = backend.convolve(
            tensor([1, 10, 2, 20], [1, 1, 2, 2]), kernel, bias: nil, ConvolutionGeometry(), activation: .identity,
            adding: nil)
        #expect(try isNear(y, [21, 43, 42, 86]))
    }

    @Test func `a depthwise kernel keeps channels apart`() throws {
        let values: [Float] = [0, 0, 0, 0, 1, 2, 0, 0, 0] + [0, 3, 0, 0, 1, 0, 0, 0, 0]
        let kernel = try backend.prepare(depthwise: HostTensor(values, [2, 1, 3, 3]))
        #expect(kernel.shape == [3, 3, 2])
        // Channel 0: a pixel and twice its right neighbour; channel 1: a pixel and three times the one above.
        let y = backend.depthwiseConvolve(tensor([1, 1, 2, 2, 3, 3, 4, 4], [1, 2, 2, 2]), kernel)
        #expect(try isNear(y, [5, 1, 2, 2, 11, 6, 4, 10]))
    }

    @Test func `norms divide by the deviation or the root mean square`() throws {
        let layer = NormParameters(kind: .layer, weight: nil, bias: nil, epsilon: 0)
        #expect(try isNear(backend.norm(tensor([1, 3, -2, 2], [2, 2]), layer), [-1, 1, -1, 1]))
        let weight = tensor([1, 2], [2])
        let rms = NormParameters(kind: .rms, weight: weight, bias: nil, epsilon: 0)
        #expect(try isNear(backend.norm(tensor([1, 7], [1, 2]), rms), [0.2, 2.8]))
        let shifted = NormParameters(kind: .layer, weight: weight, bias: tensor([0, 5], [2]), epsilon: 3)
        #expect(try isNear(backend.norm(tensor([1, 3], [1, 2]), shifted), [-0.5, 6]))
    }

    @Test func `a group is consecutive channels over all pixels`() throws {
        let parameters = GroupNormParameters(
            groups: 2, weight: tensor([1, 1, 1, 2], [4]), bias: tensor([0, 0, 0, 1], [4]), epsilon: 0)
        let x = tensor([1, 3, 5, 5, 3, 1, -5, -5], [1, 1, 2, 4])
        #expect(
            try isNear(backend.groupNorm(x, parameters, activation: .identity), [-1, 1, 1, 3, 1, -1, -1, -1]))
        #expect(try isNear(backend.groupNorm(x, parameters, activation: .relu), [0, 1, 1, 3, 1, 0, 0, 0]))
    }

    @Test func `global response norm weighs channels by their length`() throws {
        // Lengths 5 and 1.
        let mean = 3 + 1e-6
        let x = tensor([3, 1, 4, 0], [1, 1, 2, 2])
        let y = backend.globalResponseNorm(x, gamma: tensor([1, 3], [2]), beta: tensor([0, 10], [2]))
        #expect(try isNear(y, [3 + 15 / mean, 1 + 3 / mean + 10, 4 + 20 / mean, 10]))
    }

    @Test func `attention is a mean weighted by the exponential of the scores`() throws {
        let q = tensor([1, 0], [1, 1, 2]).columns
        let k = tensor([0, 5, Float(0.693_147_18), 7], [1, 2, 2]).columns
        let v = tensor([3, 30, 6, 60], [1, 2, 2]).columns
        let y = backend.attention(q, k, v, heads: 1, scale: 1, mask: .none)
        #expect(try isNear(y, [5, 50]))
        // Two heads of width 1: the second query is 0 and weighs evenly.
        #expect(try isNear(backend.attention(q, k, v, heads: 2, scale: 1, mask: .none), [5, 45]))
        let masked = AttentionMask(keyBias: tensor([0, -.infinity], [1, 2]))
        #expect(try isNear(backend.attention(q, k, v, heads: 1, scale: 1, mask: masked), [3, 30]))
        let nothing = AttentionMask(keyBias: tensor([-.infinity, -.infinity], [1, 2]))
        #expect(try isNear(backend.attention(q, k, v, heads: 1, scale: 1, mask: nothing), [0, 0]))
        let causal = AttentionMask(causal: true)
        #expect(try isNear(backend.attention(q, k, v, heads: 1, scale: 1, mask: causal), [3, 30]))
        let biased = AttentionMask(scoreBias: tensor([Float(0.693_147_18), 0], [1, 1, 2]))
        #expect(try isNear(backend.attention(q, k, v, heads: 1, scale: 1, mask: biased), [4.5, 45]))
    }

    @Test func `decoding with a cache is causal attention row by row`() throws {
        let inputs = OpInputs(backend, name: "cache", entries: [0, 1])
        let (tokens, heads, headWidth) = (20, 2, 4)
        let window = AttentionWindow(columns: 5, size: 3)
        let qkv = inputs.batched([tokens, 3 * heads * headWidth])
        for mask in [AttentionMask(causal: true), AttentionMask(causal: true, window: window)] {
            let whole = try backend.readDoubles(
                backend.attention(
                    qkv.columns(0, of: 3), qkv.columns(1, of: 3), qkv.columns(2, of: 3), heads: heads, scale: 0.5,
                    mask: mask))
            let all = try backend.readDoubles(qkv)
            let shape: Shape = [2, heads, tokens, headWidth]
            let cache = KeyValueCache(
                keys: backend.allocate(shape, .float64), values: backend.allocate(shape, .float64))
            let position = integers([0], [1])
            for token in 0..<tokens {
                let step = backend.allocate([2, 1, 3 * heads * headWidth], .float64)
                backend.write(HostTensor(rows(all, token, tokens), step.shape), to: step)
                let y = backend.qkvDecodeAttention(step, cache, at: position, scale: 0.5, window: mask.window)
                #expect(try isNear(y, rows(whole, token, tokens)), "token \(token)")
                backend.increment(in: position)
            }
        }
    }

    /// Row `token` of both entries of `[2, tokens, width]`.
    private func rows(_ values: [Double], _ token: Int, _ tokens: Int) -> [Double] {
        let width = values.count / (2 * tokens)
        let first = token * width
        let second = (tokens + token) * width
        return Array(values[first..<first + width]) + Array(values[second..<second + width])
    }

    @Test func `layouts are as the protocol says`() throws {
        let gated = tensor([1, 2, -3, 4], [1, 4])
        #expect(try isNear(backend.gate(gated, .relu, .valueFirst), [0, 8]))
        #expect(try isNear(backend.gate(gated, .relu, .gateFirst), [-3, 8]))
        #expect(try isNear(backend.modulate(tensor([1, 2], [1, 1, 2]), tensor([1, 2, 10, 20], [1, 4])), [12, 26]))
        #expect(try isNear(backend.depthToSpace(tensor([1, 2, 3, 4], [1, 1, 1, 4])), [1, 2, 3, 4]))
        #expect(
            try isNear(
                backend.depthToSpace(tensor([1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 2, 4])), [1, 2, 5, 6, 3, 4, 7, 8]))
        let joined = backend.concatenate([tensor([1, 2], [2, 1]), tensor([3, 4, 5, 6], [2, 2])], axis: 1)
        #expect(try isNear(joined, [1, 3, 4, 2, 5, 6]))
        let picked = backend.gather(tensor([1, 2, 3], [1, 3, 1]), integers([2, -1, 0, 0], [2, 2]))
        #expect(try picked.shape == [2, 2, 1] && isNear(picked, [3, 0, 1, 1]))
        #expect(try isNear(backend.add(tensor([1, 2, 3, 4], [2, 2]), tensor([10, 20], [2])), [11, 22, 13, 24]))
        let table = try backend.prepare(table: HostTensor([1, 2, 3, 4] as [Float], [2, 2]))
        #expect(try isNear(backend.embed(integers([1, 0, 1], [3]), table), [3, 4, 1, 2, 3, 4]))
        #expect(try backend.readIntegers(backend.nearestCode(tensor([2.9, 3.9], [1, 2]), table)) == [1])
    }
}
