internal import TTICore

extension OpCase {
    /// - Parameters: `[batch, tokens, inputs]` times `[outputs, inputs]`; the matrix lies as its tokens like it, or for `use`.
    @inline(never) private static func linear(
        _ batch: Int, _ tokens: Int, _ inputs: Int, _ outputs: Int, bias: Bool = false,
        _ activation: Activation = .identity, residual: Bool = false, for use: MatrixUse? = nil,
        purpose: Purpose = .check
    ) -> OpCase {
        let end =
            "\(bias ? " bias" : "")\(activation == .identity ? "" : " \(activation)")\(residual ? " residual" : "")"
            + (use.map { ", for \($0)" } ?? "")
        return OpCase("linear", "\(batch)×\(tokens)×\(inputs) → \(outputs)\(end)", purpose: purpose, batch: batch) {
            operands in
            let x = operands.batched([tokens, inputs])
            let weight = try operands.matrix(outputs, inputs, for: use ?? (tokens == 1 ? .tokens : .sequences))
            let bias = bias ? try operands.constant([outputs]) : nil
            let residual = residual ? operands.batched([tokens, outputs]) : nil
            let backend = operands.backend
            return { [backend.linear(x, weight, bias: bias, activation: activation, adding: residual)] }
        }
    }

    static let linearCases: [OpCase] = [
        // Corners: one element, widths around a vector's, rows around the change of path.
        linear(1, 1, 1, 1),
        linear(1, 1, 3, 5, bias: true),
        linear(1, 1, 16, 16),
        linear(2, 1, 17, 33, bias: true, .gelu, residual: true),
        linear(3, 1, 64, 64, bias: true, .silu, residual: true),
        linear(1, 2, 15, 1, bias: true),
        linear(3, 2, 31, 47, .relu),
        linear(1, 3, 100, 7, residual: true),
        linear(3, 4, 40, 24, bias: true, .quickGelu),
        linear(1, 5, 72, 130),
        linear(1, 6, 48, 31, .geluTanh),
        linear(1, 7, 31, 47, bias: true),
        linear(3, 8, 32, 48, bias: true, .relu),
        linear(1, 9, 33, 31, .silu, residual: true),
        linear(3, 9, 130, 66, bias: true, .gelu),
        linear(9, 1, 130, 66, bias: true),
        linear(1, 16, 128, 96, bias: true, .geluTanh),
        linear(1, 33, 100, 70, residual: true),
        linear(3, 64, 64, 72, bias: true, .gelu, residual: true),
        linear(1, 257, 48, 130, .quickGelu),
        linear(2, 30, 37, 50, bias: true, .relu, residual: true),
        // What a library can do too: alone, adding, and ended by a kernel of ours.
        linear(3, 40, 64, 72),
        linear(2, 24, 264, 40, residual: true),
        linear(2, 128, 64, 40, bias: true, .silu, residual: true),
        // Tiles filled partly in every direction, more of the depth than a ring of stages holds; then enough of it for parts.
        linear(2, 130, 584, 200, bias: true, .gelu, residual: true),
        linear(2, 70, 1032, 328, residual: true),
        linear(1, 1, 1000, 1),
        linear(1, 1, 4096, 24),
        linear(1, 12, 4096, 24),
        linear(1, 1, 24, 4097),
        // Rows of whole pieces of 256 inputs: more than eight, and more than a thread keeps to itself.
        linear(9, 1, 1024, 40, residual: true),
        linear(3, 1, 4096, 24, bias: true),
        linear(2, 1, 16384, 8),
        // More outputs than two blocks a multiprocessor make at once on a large GPU.
        linear(2, 1, 1024, 12800, residual: true),
        // More than a megabyte of weights, which some processors read in four streams; 35 panels are not a multiple of four.
        linear(1, 1, 513, 1100, bias: true, .gelu, residual: true),
        linear(2, 1, 513, 1100, bias: true, residual: true),
        // Matrices that lie for the other work: one token, some, and as many as a library multiplies.
        linear(2, 1, 513, 1100, bias: true, residual: true, for: .sequences),
        linear(3, 1, 4096, 24, bias: true, for: .sequences),
        linear(1, 5, 72, 130, for: .tokens),
        linear(2, 130, 584, 200, bias: true, .gelu, residual: true, for: .tokens),
        // Depth in parts, of int8 too; a row that only the widest kernels hold.
        linear(2, 66, 2056, 40, bias: true, residual: true),
        linear(1, 65, 8192, 24),
        // The width inside DALL-E mini's gated MLP, which no vector, panel or tile divides: one token, and a prompt.
        linear(2, 1, 1024, 5460),
        linear(2, 1, 2730, 1024, residual: true),
        linear(2, 64, 2730, 256, residual: true),
        // Decoding one token: parti-350m's products with guidance, then alone.
        linear(2, 1, 1024, 3072, purpose: .checkAndMeasure),
        linear(2, 1, 1024, 1024, residual: true, purpose: .checkAndMeasure),
        linear(2, 1, 1024, 4096, .gelu, purpose: .checkAndMeasure),
        linear(2, 1, 4096, 1024, residual: true, purpose: .checkAndMeasure),
        linear(1, 1, 1024, 4096, .gelu, purpose: .checkAndMeasure),
        linear(8, 1, 1024, 4096, .gelu, purpose: .checkAndMeasure),
        linear(2, 1, 1024, 8192, purpose: .measure),
        linear(2, 1, 2048, 2048, residual: true, purpose: .measure),
        linear(2, 1, 2048, 8192, .gelu, purpose: .measure),
        linear(2, 1, 8192, 2048, residual: true, purpose: .measure),
        linear(2, 1, 4096, 4096, residual: true, purpose: .measure),
        linear(2, 1, 16384, 4096, residual: true, purpose: .measure),
        // Masked decoding: amused-256's products, and the text encoder's.
        linear(2, 256, 768, 768, residual: true, purpose: .measure),
        linear(2, 256, 768, 6144, purpose: .measure),
        linear(2, 256, 3072, 768, residual: true, purpose: .measure),
        linear(1, 77, 768, 3072, bias: true, .quickGelu, purpose: .measure),
        linear(2, 256, 768, 768, purpose: .measure),
        linear(2, 256, 768, 3072, .gelu, purpose: .measure),
        linear(2, 256, 1024, 1024, purpose: .measure),
        linear(2, 256, 1024, 1024, residual: true, purpose: .measure),
        linear(2, 256, 1024, 3072, purpose: .measure),
        linear(2, 256, 1024, 4096, bias: true, .gelu, purpose: .measure),
        linear(2, 256, 1024, 5632, purpose: .measure),
        linear(2, 256, 2816, 1024, residual: true, purpose: .measure),
        linear(2, 256, 4096, 1024, bias: true, residual: true, purpose: .measure),
        // Muse-3B's.
        linear(2, 256, 2048, 2048, purpose: .measure),
        linear(2, 256, 2048, 2048, residual: true, purpose: .measure),
        linear(2, 256, 2048, 6144, purpose: .measure),
        linear(2, 256, 2048, 8192, .gelu, purpose: .measure),
        linear(2, 256, 8192, 2048, residual: true, purpose: .measure),
        linear(2, 256, 8192, 2048, bias: true, residual: true, purpose: .measure),
        // Stable Diffusion's at 512².
        linear(2, 4096, 320, 320, bias: true, residual: true, purpose: .measure),
        linear(2, 4096, 320, 960, purpose: .measure),
        linear(2, 1024, 640, 640, bias: true, residual: true, purpose: .measure),
        linear(2, 256, 1280, 1280, bias: true, residual: true, purpose: .measure),
        linear(2, 64, 2560, 1280, bias: true, purpose: .measure),
        linear(2, 256, 1920, 1280, bias: true, purpose: .measure),
        linear(2, 1024, 1920, 640, bias: true, purpose: .measure),
        linear(2, 4096, 960, 320, bias: true, purpose: .measure),
        linear(2, 4096, 640, 320, bias: true, purpose: .measure),
    ]

    static let embedCases: [OpCase] = [
        OpCase("embed", "2×5 of 11×7, a table", batch: 2) { inputs in
            let ids = inputs.batchedIntegers([5]) { entry, place in (3 * place + entry) % 11 }
            let table = try inputs.table(11, 7)
            let backend = inputs.backend
            return { [backend.embed(ids, table)] }
        },
        OpCase("embed", "1 of 3×33, a constant", isBatchable: false) { inputs in
            let ids = inputs.integers([2], [1])
            let table = try inputs.constant([3, 33])
            let backend = inputs.backend
            return { [backend.embed(ids, table)] }
        },
        OpCase("embed", "2×256 of 8193×768", purpose: .measure, batch: 2) { inputs in
            let ids = inputs.batchedIntegers([256]) { entry, place in (7919 * place + entry) % 8193 }
            let table = try inputs.table(8193, 768)
            let backend = inputs.backend
            return { [backend.embed(ids, table)] }
        },
    ]
}

// MARK: Convolutions

extension OpCase {
    /// - Parameters: `[batch, height, width, inputs]` with a square kernel.
    @inline(never) private static func convolve(
        _ batch: Int, _ height: Int, _ width: Int, _ inputs: Int, _ outputs: Int, kernel: Int,
        _ geometry: ConvolutionGeometry, bias: Bool = true, _ activation: Activation = .identity,
        residual: Bool = false,
        purpose: Purpose = .check
    ) -> OpCase {
        var detail = "\(batch)×\(height)×\(width)×\(inputs) → \(outputs), kernel \(kernel)"
        if geometry.stride > 1 { detail += " stride \(geometry.stride)" }
        if geometry.upsampling > 1 { detail += " upsampled" }
        if geometry.top != geometry.bottom { detail += " asymmetric" }
        if activation != .identity { detail += " \(activation)" }
        if residual { detail += " residual" }
        let size = geometry.outputSize(height: height, width: width, kernelHeight: kernel, kernelWidth: kernel)
        return OpCase("convolve", detail, purpose: purpose, batch: batch) { operands in
            let x = operands.batched([height, width, inputs])
            let weight = try operands.kernel(outputs, inputs, kernel, kernel)
            let bias = bias ? try operands.constant([outputs]) : nil
            let residual = residual ? operands.batched([size.height, size.width, outputs]) : nil
            let backend = operands.backend
            return { [backend.convolve(x, weight, bias: bias, geometry, activation: activation, adding: residual)] }
        }
    }

    @inline(never) private static func depthwise(
        _ batch: Int, _ height: Int, _ width: Int, _ channels: Int, kernel: Int, purpose: Purpose = .check
    ) -> OpCase {
        OpCase(
            "depthwiseConvolve", "\(batch)×\(height)×\(width)×\(channels), kernel \(kernel)", purpose: purpose,
            batch: batch
        ) { inputs in
            let x = inputs.batched([height, width, channels])
            let weight = try inputs.depthwise(channels, kernel, kernel)
            let backend = inputs.backend
            return { [backend.depthwiseConvolve(x, weight)] }
        }
    }

    private static let same = ConvolutionGeometry(padding: 1)
    private static let flat = ConvolutionGeometry()
    /// Encoders halve an image with zeros below and to the right only.
    private static let halving = ConvolutionGeometry(stride: 2, top: 0, left: 0, bottom: 1, right: 1)
    private static let doubling = ConvolutionGeometry(padding: 1, upsampling: 2)

    static let convolutionCases: [OpCase] = [
        convolve(1, 1, 1, 1, 1, kernel: 1, flat, bias: false),
        convolve(1, 1, 1, 3, 5, kernel: 3, same),
        convolve(1, 2, 2, 4, 4, kernel: 3, same),
        convolve(2, 5, 7, 3, 8, kernel: 3, same),
        convolve(1, 5, 7, 16, 16, kernel: 1, flat, residual: true),
        convolve(3, 4, 5, 33, 18, kernel: 1, flat, .silu),
        convolve(3, 7, 5, 17, 19, kernel: 3, same, .silu, residual: true),
        convolve(1, 9, 6, 24, 3, kernel: 3, same),
        convolve(2, 16, 16, 32, 32, kernel: 3, same, bias: false),
        convolve(1, 33, 18, 8, 20, kernel: 3, same),
        convolve(3, 8, 6, 16, 16, kernel: 3, halving),
        convolve(1, 9, 9, 5, 6, kernel: 3, ConvolutionGeometry(stride: 2, padding: 1)),
        convolve(1, 6, 8, 6, 16, kernel: 4, ConvolutionGeometry(stride: 2, padding: 1)),
        convolve(2, 8, 4, 12, 20, kernel: 2, ConvolutionGeometry(stride: 2)),
        convolve(1, 6, 5, 4, 7, kernel: 5, ConvolutionGeometry(padding: 2)),
        convolve(3, 4, 3, 16, 16, kernel: 3, doubling),
        convolve(1, 1, 1, 5, 9, kernel: 3, doubling),
        convolve(1, 3, 2, 8, 4, kernel: 1, ConvolutionGeometry(upsampling: 2)),
        // small images with kernels that no second-level cache holds
        convolve(2, 5, 7, 288, 210, kernel: 3, same, .silu, residual: true),
        convolve(1, 8, 6, 288, 210, kernel: 3, halving),
        convolve(4, 8, 8, 288, 210, kernel: 3, same),
        // channels in whole vectors, which some devices do by Winograd: odd sides, half a panel, more than one chunk
        convolve(2, 18, 17, 80, 80, kernel: 3, same, .silu, residual: true),
        convolve(2, 16, 16, 160, 64, kernel: 3, same),
        convolve(1, 33, 34, 144, 80, kernel: 3, same, residual: true),
        convolve(2, 31, 37, 64, 112, kernel: 3, same, bias: false, .gelu),
        convolve(2, 17, 16, 64, 80, kernel: 3, doubling, .silu, residual: true),
        convolve(2, 9, 10, 128, 72, kernel: 3, doubling, .silu),
        // channels in blocks of 64, which the copy engine of some GPUs gathers: boxes that are filled partly, boxes of
        // several images, steps of two, more of the depth than a ring of stages holds, and enough of it for parts
        convolve(2, 12, 10, 128, 72, kernel: 3, same, .silu, residual: true),
        convolve(3, 8, 8, 64, 40, kernel: 3, same, residual: true),
        convolve(1, 18, 16, 128, 40, kernel: 3, halving),
        convolve(2, 16, 15, 64, 24, kernel: 3, ConvolutionGeometry(stride: 2, padding: 1), .gelu),
        convolve(2, 9, 9, 192, 328, kernel: 1, flat, residual: true),
        convolve(1, 8, 9, 640, 80, kernel: 3, same, bias: false, residual: true),
        convolve(2, 4, 4, 1280, 1280, kernel: 3, same, purpose: .measure),
        convolve(2, 8, 8, 1280, 1280, kernel: 3, same, purpose: .measure),
        convolve(2, 16, 16, 640, 640, kernel: 3, same, purpose: .measure),
        convolve(1, 16, 16, 64, 64, kernel: 3, same, residual: true, purpose: .checkAndMeasure),
        // Stable Diffusion's UNet at 512².
        convolve(2, 64, 64, 320, 320, kernel: 3, same, residual: true, purpose: .measure),
        convolve(2, 64, 64, 640, 320, kernel: 3, same, purpose: .measure),
        convolve(2, 32, 32, 640, 640, kernel: 3, same, residual: true, purpose: .measure),
        convolve(2, 32, 32, 1280, 640, kernel: 3, same, purpose: .measure),
        convolve(2, 16, 16, 1280, 1280, kernel: 3, same, residual: true, purpose: .measure),
        convolve(2, 32, 32, 640, 640, kernel: 3, doubling, purpose: .measure),
        // A VQGAN's decoder from 16×16 codes to 256×256 pixels.
        convolve(1, 16, 16, 512, 512, kernel: 3, same, residual: true, purpose: .measure),
        convolve(1, 32, 32, 512, 512, kernel: 3, same, residual: true, purpose: .measure),
        convolve(1, 64, 64, 256, 256, kernel: 3, same, residual: true, purpose: .measure),
        convolve(1, 64, 64, 256, 256, kernel: 3, doubling, purpose: .measure),
        convolve(1, 128, 128, 256, 128, kernel: 1, flat, purpose: .measure),
        convolve(1, 256, 256, 128, 128, kernel: 3, same, residual: true, purpose: .measure),
        convolve(1, 256, 256, 128, 3, kernel: 3, same, purpose: .measure),
        // Its encoder.
        convolve(1, 256, 256, 3, 128, kernel: 3, same, purpose: .measure),
        convolve(1, 256, 256, 128, 128, kernel: 3, halving, purpose: .measure),
        depthwise(1, 1, 1, 1, kernel: 1),
        depthwise(1, 1, 1, 5, kernel: 3),
        depthwise(2, 2, 3, 16, kernel: 3),
        depthwise(3, 7, 5, 33, kernel: 3),
        depthwise(1, 6, 9, 20, kernel: 5),
        depthwise(1, 9, 4, 8, kernel: 7),
        depthwise(2, 16, 16, 768, kernel: 3, purpose: .checkAndMeasure),
    ]
}
