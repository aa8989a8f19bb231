import TTIAccounting
import TTICore
import TTIFormats
import TTIModels

/// The models of "Generative AI Beyond LLMs" (Golden et al. 2024) as shapes. Sizes that a paper was read to state are
/// marked P with the paper, those that are recalled or deduced R; the article Reproduction repeats these lines.
enum SuiteModels {
    static let sources: [String: String] = [
        "llama2":
            "LLaMA2-7B: 32 layers, width 4096, 32 heads, gated 11008, vocabulary 32000 (R: Touvron et al. 2023; 6,738,415,616 weights, as published); a prompt and as many tokens written, 1024 each (ours)",
        "imagen":
            "T5-XXL and three UNets, 64, 256, 1024 pixels (R: Saharia et al. 2022); base 512·(1, 2, 3, 4), 3 blocks, attention at 32, 16, 8 (R); "
            + "super-resolution 128·(1, 2, 4, 8) with 2, 4, 8, 8 blocks, attention innermost, of the second only to the text (R); 256, 128, 32 steps (R)",
        "stable-diffusion":
            "Stable Diffusion 1.5, the published configuration, run operation by operation; 512 pixels, 50 steps; CLIP-L and the decoder are in it",
        "muse":
            "T5-XXL; base 48 layers, width 2048, MLP 8192, 256 tokens, 24 steps; super-resolution 16 + 32 layers of 1024, 4096 tokens, 8 steps; VQGAN f8 without attention (P: Chang et al. 2023); 16 heads (R)",
        "parti":
            "Parti-20B: 16 + 64 layers, width 4096, 64 heads, 1024 tokens, text 128 (P: Yu et al. 2022, table 1); decoder ViT-VQGAN 32 layers of 1280 (P)",
        "production":
            "not described in the paper; Stable Diffusion XL stands for it, a large latent UNet at 1024 pixels, 50 steps",
        "make-a-video":
            "pseudo-3D UNets: 16 frames of 64 pixels, interpolation to 76, 256, 768 pixels (R: Singer et al. 2022); shapes of DALL-E 2's decoder and upsamplers: "
            + "512·(1, 2, 3, 4), attention at 32, 16, 8; 320·(1, 2, 3, 4) and 192·(1, 1, 2, 2, 4, 4) without attention; 250, 250, 27, 15 steps (R)",
        "phenaki":
            "C-ViViT of 11 frames of 128 pixels: 6·16·16 tokens; 1.8 B parameters (R: Villegas et al. 2022); 24 layers of 2048, MLP 8192, 24 steps, decoder 4 + 4 layers of 512 (R)",
    ]

    private static func model(_ name: String, _ parts: [(name: String, count: Int, shapes: OperatorShapes)])
        -> ModelCost
    {
        ModelCost(
            name: name, source: sources[name] ?? "", parameters: parts.reduce(0) { $0 + $1.shapes.parameters },
            stages: parts.map { part in
                var stage = StageCost(name: part.name, count: part.count)
                stage.add(part.shapes.operations, times: part.count)
                return stage
            })
    }

    private static func shapes(_ sizes: ModelSizes, _ body: (inout OperatorShapes) -> Void) -> OperatorShapes {
        var shapes = OperatorShapes(elementBytes: sizes.elementBytes)
        body(&shapes)
        return shapes
    }

    private static func side(
        _ name: String, _ sizes: ModelSizes, standard: Int, multiple: Int
    ) throws(TTIError) -> Int {
        let side = sizes.side ?? standard
        guard side > 0, side % multiple == 0 else {
            throw TTIError(.usage, "usage.size", "--size \(side) is no multiple of \(multiple), as \(name) needs")
        }
        return side
    }

    // MARK: Models

    static func llama2(_ sizes: ModelSizes) -> ModelCost {
        let (rows, tokens) = (sizes.images, sizes.tokens ?? 1024)
        let layer = OperatorShapes.Layer(width: 4096, heads: 32, mlpWidth: 11008, isGated: true, isRMS: true)
        func pass(_ count: Int, cached: Int?) -> OperatorShapes {
            shapes(sizes) { s in
                s.move(rows * count * layer.width)
                for _ in 0..<32 {
                    s.selfAttention(rows, count, layer, isCausal: true, cached: cached)
                    s.feedForward(rows * count, layer)
                }
                s.norm(rows, layer.width, isRMS: true)
                s.linear(rows, layer.width, 32000)
            }
        }
        var prefill = StageCost(name: "prefill", count: 1)
        let first = pass(tokens, cached: nil)
        prefill.add(first.operations, times: 1)
        var decode = StageCost(name: "token", count: tokens)
        // As much at the first place as at the last.
        decode.add(pass(1, cached: tokens + 1).operations, times: tokens / 2)
        decode.add(pass(1, cached: 2 * tokens).operations, times: tokens - tokens / 2)
        decode.setGrowingLength(from: tokens + 1)
        return ModelCost(
            name: "llama2", source: sources["llama2"] ?? "", parameters: first.parameters + 32000 * layer.width,
            stages: [prefill, decode])
    }

    private static func textStage(_ sizes: ModelSizes, tokens: Int = 128) -> (String, Int, OperatorShapes) {
        ("text", 1, shapes(sizes) { $0.t5XXL(2 * sizes.images, tokens: tokens) })
    }

    static func imagen(_ sizes: ModelSizes) throws(TTIError) -> ModelCost {
        typealias Level = OperatorShapes.UNetShape.Level
        let side = try side("imagen", sizes, standard: 1024, multiple: 256)
        let base = OperatorShapes.UNetShape(
            levels: [Level(channels: 512, blocks: 3)]
                + (2...4).map { Level(channels: 512 * $0, blocks: 3, selfLayers: 1, crossLayers: 1) },
            side: side / 16)
        func upsampler(_ side: Int, selfLayers: Int) -> OperatorShapes.UNetShape {
            OperatorShapes.UNetShape(
                levels: [
                    Level(channels: 128, blocks: 2), Level(channels: 256, blocks: 4), Level(channels: 512, blocks: 8),
                    Level(channels: 1024, blocks: 8, selfLayers: selfLayers, crossLayers: 1),
                ], inputChannels: 6, side: side, firstStride: 2, middleLayers: selfLayers, heads: 8)
        }
        let rows = 2 * sizes.images
        return model(
            "imagen",
            [
                textStage(sizes),
                ("step 1", sizes.steps ?? 256, shapes(sizes) { $0.unet(base, rows: rows) }),
                ("step 2", 128, shapes(sizes) { $0.unet(upsampler(side / 4, selfLayers: 1), rows: rows) }),
                ("step 3", 32, shapes(sizes) { $0.unet(upsampler(side, selfLayers: 0), rows: rows) }),
            ])
    }

    static func muse(_ sizes: ModelSizes) throws -> ModelCost {
        let side = try side("muse", sizes, standard: 512, multiple: 32)
        var baseSizes = sizes
        baseSizes.side = side / 2
        let base = try ModelCost("muse", "", preset: "muse-3b", baseSizes)
        let rows = 2 * sizes.images
        let (low, high) = (side / 32 * side / 32, side / 8 * side / 8)
        let layer = OperatorShapes.Layer(width: 1024, heads: 16, mlpWidth: 4096)
        let superResolution = shapes(sizes) { s in
            // The low-resolution tokens' encoder, once; its share of a pass is small, and it is counted with every pass.
            for _ in 0..<16 {
                s.selfAttention(rows, low, layer)
                s.feedForward(rows * low, layer)
            }
            for _ in 0..<32 {
                s.selfAttention(rows, high, layer)
                s.crossAttention(rows, high, layer, context: 128 + low)
                s.feedForward(rows * high, layer)
            }
            s.norm(rows * high, 1024)
            s.linear(rows * high, 1024, 8192)
        }
        var configuration = VQGANConfiguration.f16
        configuration.channels = [128, 128, 256, 512]
        let none = [Bool](repeating: false, count: 4)
        (configuration.encoderAttends, configuration.decoderAttends, configuration.middleAttends) = (none, none, false)
        let detokenizer = PresetStage(
            name: "pixels", count: 1, what: .detokenize,
            subject: BenchmarkSubject(name: "vqgan-f8", .vqgan(configuration)),
            sizes: BenchmarkSizes(rows: sizes.images, side: side))
        let counter = sizes.counter
        let pixels = try detokenizer.cost(on: counter).cost
        let rest = model("muse", [textStage(sizes), ("step 2", 8, superResolution)])
        let baseCounter = sizes.counter
        _ = try MuseBase(.shapesOnly(dtype: .float32), .muse3B, on: baseCounter)
        return ModelCost(
            name: "muse", source: sources["muse"] ?? "",
            parameters: baseCounter.preparedParameterCount + rest.parameters + counter.preparedParameterCount,
            stages: [rest.stages[0], base.stages[1].named("step 1"), rest.stages[1], pixels])
    }

    static func parti(_ sizes: ModelSizes) throws -> ModelCost {
        let decoder = try ModelCost("parti", "", preset: "parti-20b", sizes)
        let tokens = decoder.stages[1].count
        let layer = OperatorShapes.Layer(width: 1280, heads: 16, mlpWidth: 5120)
        let pixels = shapes(sizes) { s in
            for _ in 0..<32 {
                s.selfAttention(sizes.images, tokens, layer)
                s.feedForward(sizes.images * tokens, layer)
            }
            s.linear(sizes.images * tokens, 1280, 3 * 8 * 8)
        }
        let rest = model("parti", [("pixels", 1, pixels)])
        return ModelCost(
            name: "parti", source: sources["parti"] ?? "", parameters: decoder.parameters + rest.parameters,
            stages: decoder.stages + rest.stages)
    }

    static func makeAVideo(_ sizes: ModelSizes) throws(TTIError) -> ModelCost {
        typealias Level = OperatorShapes.UNetShape.Level
        let side = try side("make-a-video", sizes, standard: 768, multiple: 192)
        let frames = sizes.frames ?? 16
        // 16 frames become 76: four between each pair, and one more.
        let all = frames * 5 - 4
        func decoder(_ frames: Int) -> OperatorShapes.UNetShape {
            OperatorShapes.UNetShape(
                levels: [Level(channels: 512, blocks: 3)]
                    + (2...4).map { Level(channels: 512 * $0, blocks: 3, selfLayers: 1) },
                side: side / 12, textTokens: 0, frames: frames)
        }
        let middle = OperatorShapes.UNetShape(
            levels: (1...4).map { Level(channels: 320 * $0, blocks: 3) }, inputChannels: 6, side: side / 3,
            frames: all, middleLayers: 0)
        let high = OperatorShapes.UNetShape(
            levels: [1, 1, 2, 2, 4, 4].map { Level(channels: 192 * $0, blocks: 2) }, inputChannels: 6, side: side,
            middleLayers: 0)
        let rows = 2 * sizes.images
        return model(
            "make-a-video",
            [
                ("step 1", sizes.steps ?? 250, shapes(sizes) { $0.unet(decoder(frames), rows: rows) }),
                ("step 2", sizes.steps ?? 250, shapes(sizes) { $0.unet(decoder(all), rows: rows) }),
                ("step 3", 27, shapes(sizes) { $0.unet(middle, rows: sizes.images) }),
                ("step 4", 15, shapes(sizes) { $0.unet(high, rows: sizes.images * all) }),
            ])
    }

    static func phenaki(_ sizes: ModelSizes) throws(TTIError) -> ModelCost {
        let side = try side("phenaki", sizes, standard: 128, multiple: 8)
        let (places, times) = (side / 8 * side / 8, ((sizes.frames ?? 11) - 1) / 2 + 1)
        let tokens = places * times
        let (rows, images) = (2 * sizes.images, sizes.images)
        let layer = OperatorShapes.Layer(width: 2048, heads: 16, mlpWidth: 8192)
        let small = OperatorShapes.Layer(width: 512, heads: 8, mlpWidth: 2048)
        let step = shapes(sizes) { s in
            s.move(rows * tokens * layer.width)
            for _ in 0..<24 {
                s.selfAttention(rows, tokens, layer)
                s.crossAttention(rows, tokens, layer, context: 128)
                s.feedForward(rows * tokens, layer)
            }
            s.norm(rows * tokens, layer.width)
            s.linear(rows * tokens, layer.width, 8192)
        }
        let pixels = shapes(sizes) { s in
            for _ in 0..<4 {
                s.selfAttention(images * places, times, small, kind: .temporalAttention, isCausal: true)
                s.feedForward(images * tokens, small)
            }
            for _ in 0..<4 {
                s.selfAttention(images * times, places, small)
                s.feedForward(images * tokens, small)
            }
            s.linear(images * tokens, 512, 2 * 8 * 8 * 3)
        }
        return model("phenaki", [textStage(sizes), ("step", sizes.steps ?? 24, step), ("pixels", 1, pixels)])
    }
}
