internal import CTTIAlternatives
internal import Glibc
internal import TTICPU
internal import TTICore

func exponential(_ x: Double) -> Double { exp(x) }

extension Alternatives {
    /// Pixels and channels of Stable Diffusion's UNet at 512² and of its VAE.
    private static let norms = [(64 * 64, 320), (32 * 32, 640), (512 * 512, 128)]
    /// Tokens and width of what is between the products of its transformer blocks.
    private static let activations = [(4096, 1280), (1024, 2560)]

    var passCases: [(String, () throws -> Comparison)] {
        Self.norms.map { pixels, channels in
            let name = "groupNorm \(pixels)×\(channels), 32 groups, silu"
            return (name, { try groupNorm(name, pixels, channels) })
        }
            + Self.activations.map { rows, width in
                let name = "gelu (tanh) \(rows)×\(width)"
                return (name, { gelu(name, rows, width) })
            }
    }

    /// One pass over `count` numbers, on all threads.
    private func pass(_ pass: ctti_pass, _ a: Tensor, _ b: Tensor? = nil, _ number: Float = 0) -> Tensor {
        let y = backend.allocate(a.shape, .float32)
        inParts(of: a.elementCount / 16, size: 16) { range in
            let first = range.lowerBound * 16
            unsafe ctti_alternative_pass(
                pass, y.elements + first, a.elements + first, b.map { unsafe $0.elements + first }, number,
                range.count * 16)
        }
        return y
    }

    private func gelu(_ name: String, _ rows: Int, _ width: Int) -> Comparison {
        let values = numbers(rows * width, 0).map { $0 * 8 }
        let x = backend.upload(HostTensor(values, [rows, width]))
        let expected = stride(from: 0, to: values.count, by: 997).map { index in
            let v = Double(values[index])
            return (index, 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))))
        }
        let separate = Way(name: "nine operations, 21 passes") {
            let cube = pass(CTTI_PASS_MULTIPLY, pass(CTTI_PASS_MULTIPLY, x, x), x)
            let sum = pass(CTTI_PASS_ADD, x, pass(CTTI_PASS_MULTIPLY_NUMBER, cube, nil, 0.044715))
            let bent = pass(CTTI_PASS_TANH, pass(CTTI_PASS_MULTIPLY_NUMBER, sum, nil, 0.79788456))
            let gate = pass(CTTI_PASS_MULTIPLY_NUMBER, pass(CTTI_PASS_ADD_NUMBER, bent, nil, 1), nil, 0.5)
            return pass(CTTI_PASS_MULTIPLY, gate, x)
        }
        let one = Way(name: "one operation, 2 passes") { backend.activate(x, .geluTanh) }
        return Comparison(name: name, ways: [one, separate], expected: expected)
    }

    private func groupNorm(_ name: String, _ pixels: Int, _ channels: Int) throws -> Comparison {
        let side = Int(Double(pixels).squareRoot())
        let values = numbers(pixels * channels, 0)
        let (scale, shift) = (numbers(channels, 1), numbers(channels, 2))
        let x = backend.upload(HostTensor(values, [1, side, side, channels]))
        let (gamma, beta) = (
            try backend.prepare(constant: HostTensor(scale, [channels])),
            try backend.prepare(constant: HostTensor(shift, [channels]))
        )
        let parameters = GroupNormParameters(groups: 32, weight: gamma, bias: beta, epsilon: 1e-5)
        let one = Way(name: "one operation, 3 passes") { backend.groupNorm(x, parameters, activation: .silu) }
        let separate = Way(name: "eight operations, 15 passes") { separateGroupNorm(x, gamma, beta) }
        return Comparison(
            name: name, ways: [one, separate], expected: expectedGroupNorm(values, pixels, channels, scale, shift))
    }

    /// Means, differences, their squares' sums, times 1/σ, times gamma, plus beta, sigmoid, product.
    private func separateGroupNorm(_ x: Tensor, _ gamma: Tensor, _ beta: Tensor) -> Tensor {
        let (channels, pixels) = (gamma.elementCount, x.elementCount / gamma.elementCount)
        let size = channels / 32
        func rows(_ multiplies: Bool, _ a: Tensor, _ shared: Tensor) -> Tensor {
            let y = backend.allocate(a.shape, .float32)
            inParts(of: pixels, size: channels) { range in
                let first = range.lowerBound * channels
                unsafe ctti_alternative_rows(
                    multiplies, y.elements + first, a.elements + first, shared.elements, range.count, channels)
            }
            return y
        }
        /// The mean over each group of a, or of a², once for each of its channels.
        func means(_ squares: Bool, _ a: Tensor) -> [Float] {
            let parts = backend.pool.threadCount
            let sums = backend.allocate([parts, channels], .float32)
            backend.pool.forEach(parts) { part in
                let own = unsafe sums.elements + part * channels
                unsafe own.update(repeating: 0, count: channels)
                let (first, end) = (pixels * part / parts, pixels * (part + 1) / parts)
                unsafe ctti_alternative_sums(squares, own, a.elements + first * channels, end - first, channels)
            }
            return (0..<channels).map { channel in
                let first = channel / size * size
                var sum = 0.0
                for part in 0..<parts {
                    for other in first..<first + size { sum += Double(unsafe sums.elements[part * channels + other]) }
                }
                return Float(sum / Double(size * pixels))
            }
        }
        func row(_ values: [Float]) -> Tensor { backend.upload(HostTensor(values, [channels])) }
        let centred = rows(false, x, row(means(false, x).map { -$0 }))
        let spread = row(means(true, centred).map { 1 / ($0 + 1e-5).squareRoot() })
        let normal = rows(false, rows(true, rows(true, centred, spread), gamma), beta)
        return pass(CTTI_PASS_MULTIPLY, normal, pass(CTTI_PASS_SIGMOID, normal))
    }

    private func expectedGroupNorm(
        _ values: [Float], _ pixels: Int, _ channels: Int, _ scale: [Float], _ shift: [Float]
    ) -> [(index: Int, value: Double)] {
        let size = channels / 32
        return [0, 17, 31].flatMap { group -> [(index: Int, value: Double)] in
            let own = (0..<pixels).flatMap { pixel in
                (0..<size).map { Double(values[pixel * channels + group * size + $0]) }
            }
            let mean = own.reduce(0, +) / Double(own.count)
            let variance = own.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(own.count)
            return stride(from: 0, to: own.count, by: 101).map { index in
                let channel = group * size + index % size
                let normal =
                    (own[index] - mean) / (variance + 1e-5).squareRoot() * Double(scale[channel])
                    + Double(shift[channel])
                return (index / size * channels + channel, normal / (1 + exp(-normal)))
            }
        }
    }
}
