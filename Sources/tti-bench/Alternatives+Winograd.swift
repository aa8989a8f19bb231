internal import TTICPU
internal import TTICore

extension Alternatives {
    /// Batch, side, inputs and outputs of 3×3 convolutions: Stable Diffusion's UNet at 512² from outside in, its VAE, small ones.
    private static let convolutions = [
        (2, 64, 320, 320), (2, 32, 640, 640), (2, 16, 1280, 1280), (2, 8, 1280, 1280), (2, 32, 1280, 640),
        (1, 64, 512, 512), (1, 128, 512, 512), (1, 256, 256, 256), (1, 512, 128, 128),
        (1, 16, 512, 512), (1, 16, 64, 64), (1, 32, 64, 64), (1, 64, 32, 32), (1, 64, 16, 16), (1, 256, 32, 32),
    ]

    var winogradCases: [(String, () throws -> Comparison)] {
        Self.convolutions.map { batch, side, inputs, outputs in
            let name = "winograd \(batch)×\(side)×\(side)×\(inputs) → \(outputs), kernel 3"
            return (name, { try winograd(name, batch, side, inputs, outputs) })
        }
            + [(2, 16, 1280), (1, 64, 512), (1, 128, 256)].map { batch, side, channels in
                let name = "winograd \(batch)×\(side)×\(side)×\(channels) → \(channels), kernel 3 upsampled"
                return (name, { try winograd(name, batch, side, channels, channels, upsampling: 2) })
            }
    }

    private func winograd(
        _ name: String, _ batch: Int, _ side: Int, _ inputs: Int, _ outputs: Int,
        upsampling: Int = 1
    ) throws -> Comparison {
        let image = numbers(batch * side * side * inputs, 0)
        let kernel = numbers(outputs * inputs * 9, 1).map { $0 / Float(inputs * 9).squareRoot() * 3 }
        let start = numbers(outputs, 2)
        let x = backend.upload(HostTensor(image, [batch, side, side, inputs]))
        let bias = try backend.prepare(constant: HostTensor(start, [outputs]))
        let weight = try backend.prepare(convolution: HostTensor(kernel, [outputs, inputs, 3, 3]))
        func way(_ name: String, _ form: ConvolutionForm) -> Way {
            Way(name: name) {
                backend.convolutionForm = form
                return backend.convolve(
                    x, weight, bias: bias, ConvolutionGeometry(padding: 1, upsampling: upsampling),
                    activation: .identity, adding: nil)
            }
        }
        let ways = [way("direct", .direct), way("F(2×2)", .winograd2), way("F(4×4)", .winograd4)]

        // Some pixels, corners among them, all outputs.
        var expected: [(index: Int, value: Double)] = []
        let size = side * upsampling
        for (row, column) in [(0, 0), (0, size - 1), (size - 1, 1), (size / 2, size / 2 + 1), (3, 6)] {
            for output in 0..<outputs {
                var sum = Double(start[output])
                for dy in 0..<3 where (0..<size).contains(row + dy - 1) {
                    for dx in 0..<3 where (0..<size).contains(column + dx - 1) {
                        let place = ((row + dy - 1) / upsampling * side + (column + dx - 1) / upsampling) * inputs
                        for input in 0..<inputs {
                            sum +=
                                Double(image[place + input])
                                * Double(kernel[(output * inputs + input) * 9 + dy * 3 + dx])
                        }
                    }
                }
                expected.append(((row * size + column) * outputs + output, sum))
            }
        }
        return Comparison(name: name, ways: ways, expected: expected)
    }
}
