internal import TTICore

extension OpCase {
    @inline(never) private static func normLinear(
        _ kind: NormParameters.Kind, _ batch: Int, _ tokens: Int, _ inputs: Int, _ outputs: Int, bias: Bool = false,
        _ activation: Activation = .identity, hasWeight: Bool = true, for use: MatrixUse? = nil,
        purpose: Purpose = .check
    ) -> OpCase {
        let end =
            "\(bias ? " bias" : "")\(activation == .identity ? "" : " \(activation)")"
            + (hasWeight ? "" : ", norm without weight") + (use.map { ", for \($0)" } ?? "")
        return OpCase(
            "normLinear", "\(kind) \(batch)×\(tokens)×\(inputs) → \(outputs)\(end)", purpose: purpose, batch: batch
        ) { operands in
            let x = operands.batched([tokens, inputs])
            let norm = try operands.norm(kind, inputs, hasWeight: hasWeight)
            let weight = try operands.matrix(outputs, inputs, for: use ?? (tokens == 1 ? .tokens : .sequences))
            let bias = bias ? try operands.constant([outputs]) : nil
            return { [operands.backend.normLinear(x, norm, weight, bias: bias, activation: activation)] }
        }
    }

    @inline(never) private static func joinedLinear(
        _ batch: Int, _ rows: Shape, _ widths: (Int, Int), _ outputs: Int, bias: Bool = true, purpose: Purpose = .check
    ) -> OpCase {
        let inputs = widths.0 + widths.1
        return OpCase(
            "joinedLinear", "\(batch)×\(rows)×(\(widths.0) + \(widths.1)) → \(outputs)\(bias ? " bias" : "")",
            purpose: purpose, batch: batch
        ) { operands in
            let x = operands.batched(rows.appending(widths.0)), other = operands.batched(rows.appending(widths.1))
            let weight = try operands.matrix(outputs, inputs)
            let bias = bias ? try operands.constant([outputs]) : nil
            return { [operands.backend.joinedLinear(x, other, weight, bias: bias)] }
        }
    }

    @inline(never) private static func normModulate(
        _ kind: NormParameters.Kind, _ batch: Int, by modulationBatch: Int? = nil, _ tokens: Int, _ width: Int,
        hasBias: Bool = true, purpose: Purpose = .check
    ) -> OpCase {
        let shared = modulationBatch.map { " by \($0)" } ?? ""
        return OpCase(
            "normModulate", "\(kind) \(batch)×\(tokens)×\(width)\(shared)", purpose: purpose, batch: batch,
            isBatchable: modulationBatch == nil || modulationBatch == 1
        ) { inputs in
            let x = inputs.batched([tokens, width])
            let norm = try inputs.norm(kind, width, hasBias: hasBias)
            let modulation = modulationBatch.map { inputs.shared([$0, 2 * width]) } ?? inputs.batched([2 * width])
            return { [inputs.backend.normModulate(x, norm, modulation)] }
        }
    }

    @inline(never) private static func feedForward(
        _ batch: Int, _ tokens: Int, _ width: Int, inner: Int, _ activation: Activation, _ order: GateOrder,
        bias: Bool = false, residual: Bool = true, norm kind: NormParameters.Kind? = nil, purpose: Purpose = .check
    ) -> OpCase {
        let ends = (bias ? " bias" : "") + (residual ? " residual" : "") + (kind.map { " norm \($0)" } ?? "")
        return OpCase(
            "gatedFeedForward", "\(batch)×\(tokens)×\(width) through \(inner) \(activation) \(order)\(ends)",
            purpose: purpose,
            batch: batch
        ) { inputs in
            let x = inputs.batched([tokens, width])
            let (first, second) = (try inputs.matrix(2 * inner, width), try inputs.matrix(width, inner))
            let inputBias = bias ? try inputs.constant([2 * inner]) : nil
            let outputBias = bias ? try inputs.constant([width]) : nil
            let residual = residual ? inputs.batched([tokens, width]) : nil
            let norm = try kind.map { try inputs.norm($0, width, hasBias: true) }
            return {
                [
                    inputs.backend.gatedFeedForward(
                        x, norm, input: first, inputBias: inputBias, output: second, outputBias: outputBias,
                        activation: activation, order: order, adding: residual)
                ]
            }
        }
    }

    @inline(never) private static func groupNormConvolve(
        _ batch: Int, _ height: Int, _ width: Int, _ inputs: Int, _ outputs: Int, groups: Int,
        _ activation: Activation = .silu, _ geometry: ConvolutionGeometry = ConvolutionGeometry(padding: 1),
        bias: Bool = true, residual: Bool = false, purpose: Purpose = .check
    ) -> OpCase {
        let doubled = geometry.upsampling == 2 ? " upsampled" : geometry.stride == 2 ? " stride 2" : ""
        let size = geometry.outputSize(height: height, width: width, kernelHeight: 3, kernelWidth: 3)
        return OpCase(
            "groupNormConvolve",
            "\(batch)×\(height)×\(width)×\(inputs) in \(groups) \(activation) → \(outputs)\(doubled)\(residual ? " residual" : "")",
            purpose: purpose, batch: batch
        ) { operands in
            let x = operands.batched([height, width, inputs])
            let norm = try operands.groupNorm(groups, inputs)
            let weight = try operands.kernel(outputs, inputs, 3, 3)
            let bias = bias ? try operands.constant([outputs]) : nil
            let residual = residual ? operands.batched([size.height, size.width, outputs]) : nil
            return {
                [
                    operands.backend.groupNormConvolve(
                        x, norm, activation: activation, weight, bias: bias, geometry, adding: residual)
                ]
            }
        }
    }

    @inline(never) private static func joinedGroupNorm(
        _ batch: Int, _ height: Int, _ width: Int, _ widths: (Int, Int), groups: Int, _ activation: Activation = .silu,
        purpose: Purpose = .check
    ) -> OpCase {
        OpCase(
            "joinedGroupNorm",
            "\(batch)×\(height)×\(width)×(\(widths.0) + \(widths.1)) in \(groups) \(activation)", purpose: purpose,
            batch: batch
        ) { operands in
            let x = operands.batched([height, width, widths.0])
            // Of another size, so that the two are not taken for each other.
            let other = operands.batched([height, width, widths.1], scale: 3, offset: 1)
            let norm = try operands.groupNorm(groups, widths.0 + widths.1)
            return { [operands.backend.joinedGroupNorm(x, other, norm, activation: activation)] }
        }
    }

    @inline(never) private static func joinedGroupNormConvolve(
        _ batch: Int, _ height: Int, _ width: Int, _ widths: (Int, Int), _ outputs: Int, groups: Int,
        _ activation: Activation = .silu, _ geometry: ConvolutionGeometry = ConvolutionGeometry(padding: 1),
        purpose: Purpose = .check
    ) -> OpCase {
        let inputs = widths.0 + widths.1
        return OpCase(
            "joinedGroupNormConvolve",
            "\(batch)×\(height)×\(width)×(\(widths.0) + \(widths.1)) in \(groups) \(activation) → \(outputs)",
            purpose: purpose, batch: batch
        ) { operands in
            let x = operands.batched([height, width, widths.0])
            let other = operands.batched([height, width, widths.1], scale: 3, offset: 1)
            let norm = try operands.groupNorm(groups, inputs)
            let (weight, bias) = (try operands.kernel(outputs, inputs, 3, 3), try operands.constant([outputs]))
            return {
                [
                    operands.backend.joinedGroupNormConvolve(
                        x, other, norm, activation: activation, weight, bias: bias, geometry)
                ]
            }
        }
    }

    @inline(never) private static func qkvDecode(
        _ batch: Int, heads: Int, _ headWidth: Int, capacity: Int, at place: Int, window: AttentionWindow? = nil,
        purpose: Purpose = .check
    ) -> OpCase {
        let sparse = window.map { " window \($0.size) of \($0.columns)" } ?? ""
        return OpCase(
            "qkvDecodeAttention", "\(batch)×\(heads)×\(headWidth) at \(place) of \(capacity)\(sparse)",
            purpose: purpose,
            batch: batch, decodePosition: place
        ) { inputs in
            let qkv = inputs.batched([1, 3 * heads * headWidth])
            let cache = cache(inputs, heads: heads, capacity: capacity, headWidth, filled: place)
            let position = inputs.integers([place], [1])
            let scale = 1 / Float(headWidth).squareRoot()
            return { [inputs.backend.qkvDecodeAttention(qkv, cache, at: position, scale: scale, window: window)] }
        }
    }

    @inline(never) private static func guideAndSample(
        _ images: Int, _ vocabulary: Int, isGuided: Bool, temperature: Float = 1, topK: Int = 0, topP: Float = 1,
        at position: Int, purpose: Purpose = .check
    ) -> OpCase {
        OpCase(
            "guideAndSample",
            "\(images)×\(vocabulary)\(isGuided ? " guided" : "") temperature \(temperature) top-k \(topK) top-p \(topP)",
            purpose: purpose, batch: images
        ) { inputs in
            let logits = inputs.batched([vocabulary], stacks: isGuided ? 2 : 1, .float32) { $0.normal() }
            let state = inputs.sampling(
                temperature: temperature, topK: topK, topP: topP, position: position, guidance: [1, 2, 3])
            let codes = inputs.batchedIntegers([position + 1]) { $0 + $1 }
            return { [inputs.backend.guideAndSample(logits, state, into: codes), codes] }
        }
    }

    static let fusedCases: [OpCase] = [
        normLinear(.layer, 1, 1, 5, 3, bias: true),
        normLinear(.layer, 3, 1, 64, 48, bias: true, .gelu),
        normLinear(.rms, 3, 1, 33, 17),
        normLinear(.rms, 1, 9, 40, 24, .silu),
        normLinear(.layer, 2, 8, 48, 70, bias: true, .geluTanh),
        // Enough tokens for Hopper's units; norms of a warp and of four, which leave integers beside weights of int8.
        normLinear(.rms, 2, 66, 264, 40, bias: true),
        normLinear(.layer, 2, 66, 1032, 40, .gelu),
        // A token over a matrix of many; more inputs than are under way at once, and of the norm's weights, too.
        normLinear(.layer, 3, 1, 136, 42, bias: true, for: .sequences),
        normLinear(.layer, 2, 1, 4104, 8),
        // One row or more of whole pieces of 256 inputs: few, an odd number, as many as there are.
        normLinear(.rms, 3, 1, 256, 40),
        normLinear(.layer, 2, 1, 768, 24, bias: true),
        normLinear(.layer, 9, 1, 512, 17, .gelu),
        normLinear(.layer, 2, 1, 2048, 30, .silu),
        normLinear(.rms, 3, 1, 2048, 8),
        normLinear(.layer, 3, 1, 4096, 16),
        // Rows of one tall operand, and more of them.
        normLinear(.layer, 7, 1, 1024, 24, bias: true),
        normLinear(.rms, 8, 1, 4096, 40),
        normLinear(.layer, 16, 1, 512, 72, .gelu),
        // DALL-E mini's norms have a bias alone.
        normLinear(.layer, 2, 1, 1024, 40, hasWeight: false),
        normLinear(.layer, 3, 1, 33, 17, hasWeight: false),
        normLinear(.layer, 2, 8, 48, 70, hasWeight: false),
        normLinear(.layer, 2, 1, 1024, 3072, purpose: .checkAndMeasure),
        normLinear(.layer, 2, 1, 1024, 4096, .gelu, purpose: .checkAndMeasure),
        normLinear(.layer, 2, 1, 1024, 1024, purpose: .measure),
        normLinear(.layer, 2, 1, 1024, 8192, purpose: .measure),
        normLinear(.layer, 2, 1, 2048, 2048, purpose: .measure),
        normLinear(.layer, 2, 1, 2048, 6144, purpose: .measure),
        normLinear(.layer, 2, 1, 2048, 8192, .gelu, purpose: .measure),
        normLinear(.layer, 2, 1, 4096, 12288, purpose: .measure),
        normLinear(.layer, 2, 1, 4096, 16384, .gelu, purpose: .measure),
        // A norm and a product of many rows are two kernels or more, one after the other.
        normLinear(.layer, 2, 256, 2048, 6144, purpose: .measure),
        normLinear(.layer, 2, 256, 2048, 2048, purpose: .measure),
        normLinear(.rms, 2, 256, 768, 768, purpose: .measure),
        normModulate(.layer, 3, 1, 7),
        normModulate(.rms, 2, 9, 33),
        normModulate(.layer, 4, by: 2, 5, 16, hasBias: false),
        normModulate(.layer, 3, by: 1, 2, 40),
        normModulate(.layer, 4, by: 2, 3, 1032),
        normModulate(.rms, 2, 256, 768, purpose: .checkAndMeasure),
        // aMUSEd's.
        normModulate(.rms, 2, 256, 1024, purpose: .measure),
        normModulate(.layer, 2, 256, 1024, hasBias: false, purpose: .measure),
        feedForward(3, 1, 16, inner: 24, .silu, .valueFirst),
        feedForward(1, 9, 33, inner: 17, .gelu, .valueFirst, residual: false),
        feedForward(2, 7, 20, inner: 31, .geluTanh, .gateFirst),
        // On tiles, where what is between the products is never written as float32: whole units, and one that is not.
        feedForward(3, 16, 64, inner: 96, .gelu, .valueFirst),
        feedForward(1, 45, 100, inner: 64, .silu, .gateFirst, residual: false),
        feedForward(2, 77, 40, inner: 32, .geluTanh, .valueFirst),
        // In one product with the gates on some GPUs: tiles filled partly, more of the depth than a ring of stages holds.
        feedForward(2, 130, 584, inner: 200, .gelu, .valueFirst),
        feedForward(2, 66, 64, inner: 40, .silu, .gateFirst, residual: false),
        feedForward(2, 70, 128, inner: 200, .gelu, .gateFirst, bias: true),
        feedForward(3, 16, 64, inner: 96, .geluTanh, .valueFirst, bias: true),
        feedForward(2, 70, 96, inner: 160, .gelu, .gateFirst, bias: true),
        feedForward(1, 150, 72, inner: 288, .silu, .valueFirst, bias: true, residual: false),
        feedForward(2, 70, 96, inner: 160, .gelu, .valueFirst, bias: true, norm: .layer),
        feedForward(2, 33, 40, inner: 24, .silu, .gateFirst, norm: .layer),
        feedForward(3, 1, 64, inner: 96, .silu, .gateFirst, norm: .rms),
        feedForward(1, 300, 2112, inner: 32, .silu, .valueFirst, residual: false),
        feedForward(2, 1, 512, inner: 1376, .silu, .gateFirst, purpose: .checkAndMeasure),
        feedForward(2, 256, 768, inner: 2816, .silu, .valueFirst, purpose: .measure),
        feedForward(2, 256, 1024, inner: 2816, .gelu, .valueFirst, purpose: .measure),
        feedForward(2, 4096, 320, inner: 1280, .gelu, .valueFirst, purpose: .measure),
        feedForward(2, 1024, 640, inner: 2560, .gelu, .valueFirst, purpose: .measure),
        groupNormConvolve(1, 1, 1, 4, 4, groups: 2),
        groupNormConvolve(3, 5, 4, 16, 19, groups: 4, residual: true),
        groupNormConvolve(2, 4, 3, 32, 16, groups: 32, .identity, bias: false),
        groupNormConvolve(1, 3, 5, 48, 3, groups: 16),
        groupNormConvolve(1, 3, 4, 16, 8, groups: 4, .silu, ConvolutionGeometry(padding: 1, upsampling: 2)),
        groupNormConvolve(2, 33, 35, 64, 48, groups: 8, residual: true),
        groupNormConvolve(1, 34, 37, 40, 32, groups: 4, .relu, bias: false),
        groupNormConvolve(2, 65, 66, 96, 33, groups: 32, .identity, ConvolutionGeometry(stride: 2, padding: 1)),
        groupNormConvolve(1, 36, 30, 48, 64, groups: 16, .gelu),
        groupNormConvolve(1, 64, 64, 256, 256, groups: 32, residual: true, purpose: .measure),
        groupNormConvolve(1, 256, 256, 128, 128, groups: 32, residual: true, purpose: .measure),
        // Groups that have channels of both; whole vectors of each, and not; one block for a group, and several.
        joinedGroupNorm(1, 2, 3, (5, 3), groups: 2, .identity),
        joinedGroupNorm(2, 7, 9, (24, 40), groups: 4),
        joinedGroupNorm(3, 8, 8, (128, 64), groups: 8),
        joinedGroupNorm(1, 40, 41, (17, 31), groups: 3, .gelu),
        joinedGroupNorm(2, 48, 47, (64, 32), groups: 8),
        joinedGroupNorm(1, 33, 32, (320, 640), groups: 32, purpose: .checkAndMeasure),
        joinedGroupNorm(2, 64, 64, (640, 320), groups: 32, purpose: .measure),
        joinedGroupNormConvolve(1, 3, 4, (5, 3), 4, groups: 2),
        joinedGroupNormConvolve(2, 5, 7, (24, 40), 19, groups: 4),
        joinedGroupNormConvolve(3, 9, 8, (128, 64), 64, groups: 32),
        joinedGroupNormConvolve(2, 33, 35, (64, 32), 48, groups: 16),
        joinedGroupNormConvolve(1, 34, 37, (41, 23), 32, groups: 8, .relu),
        joinedGroupNormConvolve(1, 36, 30, (48, 16), 64, groups: 8, .gelu),
        joinedGroupNormConvolve(2, 48, 48, (192, 128), 64, groups: 32, .silu),
        joinedGroupNormConvolve(
            1, 65, 66, (32, 64), 33, groups: 32, .identity, ConvolutionGeometry(stride: 2, padding: 1)),
        joinedGroupNormConvolve(2, 64, 64, (640, 320), 320, groups: 32, purpose: .measure),
        joinedLinear(1, [1], (5, 3), 4),
        joinedLinear(3, [4, 5], (24, 40), 19),
        joinedLinear(2, [9, 8], (128, 64), 70, bias: false),
        joinedLinear(2, [66], (192, 328), 48),
        joinedLinear(1, [12, 12], (640, 384), 64),
        joinedLinear(2, [23], (33, 31), 40),
        // A last block of the depth that is not whole, and a first one, where the tensors would share a block.
        joinedLinear(2, [70], (64, 8), 64),
        joinedLinear(2, [70], (8, 64), 64),
        // Of Stable Diffusion's way out at 512×512.
        joinedLinear(2, [8, 8], (1280, 1280), 1280, purpose: .measure),
        joinedLinear(2, [16, 16], (1280, 640), 1280, purpose: .measure),
        joinedLinear(2, [32, 32], (1280, 640), 640, purpose: .measure),
        joinedLinear(2, [64, 64], (640, 320), 320, purpose: .measure),
        joinedLinear(2, [64, 64], (320, 320), 320, purpose: .measure),
        qkvDecode(1, heads: 1, 1, capacity: 1, at: 0),
        qkvDecode(3, heads: 2, 8, capacity: 5, at: 0),
        qkvDecode(3, heads: 2, 33, capacity: 20, at: 19),
        qkvDecode(2, heads: 4, 16, capacity: 300, at: 280),
        qkvDecode(2, heads: 2, 64, capacity: 256, at: 250),
        qkvDecode(1, heads: 2, 64, capacity: 600, at: 599),
        qkvDecode(2, heads: 2, 16, capacity: 64, at: 45, window: AttentionWindow(columns: 8, size: 5)),
        qkvDecode(2, heads: 16, 64, capacity: 1024, at: 1023, purpose: .checkAndMeasure),
        qkvDecode(2, heads: 16, 64, capacity: 1024, at: 511, purpose: .measure),
        qkvDecode(2, heads: 32, 64, capacity: 1024, at: 511, purpose: .measure),
        qkvDecode(2, heads: 32, 64, capacity: 1024, at: 1023, purpose: .measure),
        qkvDecode(2, heads: 16, 64, capacity: 256, at: 255, purpose: .measure),
        guideAndSample(3, 31, isGuided: true, at: 1),
        guideAndSample(2, 100, isGuided: true, temperature: 0, at: 0),
        guideAndSample(2, 100, isGuided: true, temperature: 0.8, topK: 20, topP: 0.9, at: 5),
        guideAndSample(3, 57, isGuided: false, topP: 0.7, at: 2),
        guideAndSample(1, 8192, isGuided: true, at: 1, purpose: .checkAndMeasure),
    ]
}
