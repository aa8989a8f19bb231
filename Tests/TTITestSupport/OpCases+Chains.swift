internal import TTICore

// Operations of which a backend may do a part of the second while it does the first.
extension OpCase {
    /// A group norm of what a convolution with a square kernel makes; both results are read.
    /// - Parameter isMoved: the convolution's result goes to another place before.
    @inline(never) private static func convolveGroupNorm(
        _ batch: Int, _ height: Int, _ width: Int, _ inputs: Int, _ outputs: Int, groups: Int, kernel: Int,
        upsampling: Int = 1, _ activation: Activation = .silu, residual: Bool = false, isMoved: Bool = false,
        purpose: Purpose = .check
    ) -> OpCase {
        let ends = (upsampling == 2 ? " upsampled" : "") + (residual ? " residual" : "") + (isMoved ? " moved" : "")
        let geometry = ConvolutionGeometry(padding: kernel / 2, upsampling: upsampling)
        return OpCase(
            "convolveGroupNorm",
            "\(batch)×\(height)×\(width)×\(inputs) → \(outputs) in \(groups) \(activation), kernel \(kernel)\(ends)",
            purpose: purpose, batch: batch
        ) { operands in
            let x = operands.batched([height, width, inputs])
            let weight = try operands.kernel(outputs, inputs, kernel, kernel)
            // Means that are not zero.
            let bias = try operands.constant([outputs], around: 2)
            let residual = residual ? operands.batched([height, width, outputs]) : nil
            let norm = try operands.groupNorm(groups, outputs)
            let backend = operands.backend
            func convolved() -> Tensor {
                backend.convolve(x, weight, bias: bias, geometry, activation: .identity, adding: residual)
            }
            return {
                let y =
                    isMoved
                    ? backend.scoped {
                        _ = backend.allocate([1000], .float32)
                        return convolved()
                    } : convolved()
                return [y, backend.groupNorm(y, norm, activation: activation)]
            }
        }
    }

    /// Groups that lie in two boxes of 32 results, boxes of pixels over both edges of the image.
    package static let chainWithStatistics = convolveGroupNorm(2, 31, 47, 64, 320, groups: 32, kernel: 1)
    /// A size that boxes do not suit.
    package static let chainWithoutStatistics = convolveGroupNorm(1, 24, 24, 64, 136, groups: 2, kernel: 1)

    /// The largest come last.
    package static let chains: [OpCase] = [
        chainWithoutStatistics,
        // Channels that are no blocks of 64.
        convolveGroupNorm(1, 24, 24, 24, 136, groups: 2, kernel: 1),
        convolveGroupNorm(2, 16, 32, 64, 160, groups: 8, kernel: 3, .identity, residual: true),
        // Enough of the depth for parts.
        convolveGroupNorm(1, 16, 16, 256, 72, groups: 2, kernel: 3, residual: true),
        convolveGroupNorm(2, 16, 16, 64, 40, groups: 4, kernel: 3, upsampling: 2),
        // Groups of more than two boxes of results.
        convolveGroupNorm(1, 16, 16, 64, 136, groups: 2, kernel: 1, .gelu, isMoved: true),
        chainWithStatistics,
        // More boxes than each block of a kernel would read what is left of.
        convolveGroupNorm(1, 104, 128, 64, 40, groups: 40, kernel: 1),
    ]

    package static let measuredChains: [OpCase] = [
        // Stable Diffusion's UNet at 512², and its decoder.
        convolveGroupNorm(2, 64, 64, 320, 320, groups: 32, kernel: 3, residual: true, purpose: .measure),
        convolveGroupNorm(2, 32, 32, 640, 640, groups: 32, kernel: 3, residual: true, purpose: .measure),
        convolveGroupNorm(1, 256, 256, 256, 256, groups: 32, kernel: 3, purpose: .measure),
    ]
}
