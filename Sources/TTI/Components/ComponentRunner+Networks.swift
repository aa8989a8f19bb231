internal import TTICore
internal import TTIFormats
internal import TTIModels

// Each function reads and checks the inputs first, and gives what makes the network and its pass.
extension ComponentRunner {
    /// CLIP's text encoder.
    /// - Parameter className: what the pipeline says it is; nil: what its own file says.
    static func textEncoder(
        _ configuration: Configuration, className: String?, _ input: String
    ) throws -> Preparation {
        try check(
            configuration, is: "text encoder", ["clip_text_model", "CLIPTextModel", "CLIPTextModelWithProjection"])
        let c = try CLIPTextConfiguration(configuration, className: className)
        let inputs = try ComponentInputs(
            input, component: "text_encoder", required: ["input_ids": "[B, T]"], optional: ["attention_mask": "[B, T]"])
        let tokens = try inputs.tokens(vocabularySize: c.vocabularySize, maximumLength: c.maximumLength)
        return { weights, b in
            let network = try CLIPTextModel(weights, c, on: b)
            return { b in
                let output = network(tokens, on: b)
                var tensors = [
                    ("last_hidden_state", output.lastHidden), ("penultimate_hidden_state", output.penultimate),
                ]
                if let projected = output.projected {
                    tensors.append(("text_embeds", projected))
                } else {
                    tensors.append(("pooler_output", output.pooled))
                }
                return try outputs(b, tensors)
            }
        }
    }

    /// aMUSEd's transformer.
    static func maskedTransformer(_ configuration: Configuration, _ input: String) throws -> Preparation {
        try check(configuration, is: "masked transformer", ["UVit2DModel"])
        let c = try UVit2DConfiguration(configuration)
        let inputs = try ComponentInputs(
            input, component: "transformer",
            required: [
                "input_ids": "[B, h, w]", "encoder_hidden_states": "[B, T, \(c.textWidth)]",
                "pooled_text_emb": "[B, \(c.pooledTextWidth)]", "micro_conds": "[B, \(c.microConditionCount)]",
            ])
        let (ids, shape) = try inputs.integers("input_ids", [nil, nil, nil], "[B, h, w]", in: 0..<c.vocabularySize)
        let batch = shape[0]
        let text = try inputs.floats(
            "encoder_hidden_states", [batch, nil, c.textWidth], "[\(batch), T, \(c.textWidth)]")
        let pooled = try inputs.floats(
            "pooled_text_emb", [batch, c.pooledTextWidth], "[\(batch), \(c.pooledTextWidth)]")
        let micro = try inputs.floats(
            "micro_conds", [batch, c.microConditionCount], "[\(batch), \(c.microConditionCount)]")
        let conditions = stride(from: 0, to: micro.values.count, by: c.microConditionCount).map {
            Array(micro.values[$0..<$0 + c.microConditionCount])
        }
        return { weights, b in
            let network = try UVit2D(weights, c, on: b)
            return { b in
                let prompt = network.prepare(
                    text: b.upload(HostTensor(text.values, Shape(text.shape))),
                    pooled: b.upload(HostTensor(pooled.values, Shape(pooled.shape))), microConditions: conditions, on: b
                )
                let logits = network(b.upload(HostTensor(ids, Shape(shape))), prompt, on: b)
                let grid = c.outputGrid(height: shape[1], width: shape[2])
                let values = try b.read(logits).channelsFirst(
                    batch: batch, pixels: grid.height * grid.width, channels: c.codebookSize)
                return [("logits", HostTensor(values, [batch, c.codebookSize, grid.height, grid.width]))]
            }
        }
    }

    /// Parti's encoder.
    static func partiEncoder(_ configuration: Configuration, _ input: String) throws -> Preparation {
        try check(configuration, is: "autoregressive encoder-decoder", ["parti"])
        let c = try PartiConfiguration(configuration)
        let inputs = try ComponentInputs(
            input, component: "encoder", required: ["input_ids": "[B, T]"], optional: ["attention_mask": "[B, T]"])
        let tokens = try inputs.tokens(vocabularySize: c.vocabularySize, maximumLength: c.maximumTextLength)
        return { weights, b in
            let network = try Parti(weights, c, on: b)
            return { b in try outputs(b, [("last_hidden_state", network.encode(tokens, on: b).states)]) }
        }
    }

    /// What Parti's decoder listens to.
    private enum PartiText {
        case tokens(TokenRows)
        case states([Float], shape: [Int], mask: [[Bool]]?)

        init(_ inputs: ComponentInputs, _ c: PartiConfiguration, batch: Int, isUnconditional: Bool) throws(TTIError) {
            if isUnconditional {
                // The empty prompt, as the pipeline pads it.
                let ids = [Int32(c.endToken)] + [Int32](repeating: Int32(c.padToken), count: c.maximumTextLength - 1)
                self = .tokens(TokenRows(Array(repeating: ids, count: batch)).masking(c.padToken))
                return
            }
            switch (inputs.contains("input_ids"), inputs.contains("encoder_hidden_states")) {
            case (true, false):
                let tokens = try inputs.tokens(vocabularySize: c.vocabularySize, maximumLength: c.maximumTextLength)
                guard tokens.batch == batch else {
                    throw inputs.fault("'input_ids' has \(tokens.batch) rows, 'decoder_input_ids' \(batch)")
                }
                self = .tokens(tokens)
            case (false, true):
                let (values, shape) = try inputs.floats(
                    "encoder_hidden_states", [batch, nil, c.width], "[\(batch), T, \(c.width)]")
                self = .states(values, shape: shape, mask: try inputs.mask(batch: batch, length: shape[1]))
            case (true, true):
                throw inputs.fault("there are both 'input_ids' and 'encoder_hidden_states'; the text is one of them")
            case (false, false):
                throw inputs.fault(
                    "there is no text: neither 'input_ids' [B, T] nor 'encoder_hidden_states' [B, T, \(c.width)]")
            }
        }

        func prepared(_ network: Parti, on b: any Backend) -> Parti.PreparedPrompt {
            switch self {
            case .tokens(let tokens): return network.prepare(network.encode(tokens, on: b), on: b)
            case .states(let values, let shape, let mask):
                let rows = mask.map { TokenRows($0.map { row in row.map { _ in 0 } }, mask: $0) }
                return network.prepare(
                    Parti.Text(
                        states: b.upload(HostTensor(values, Shape(shape))),
                        keyBias: rows?.hostKeyBias.map { b.upload($0) }), on: b)
            }
        }
    }

    /// Parti's decoder, teacher-forced.
    static func partiDecoder(_ configuration: Configuration, _ input: String, _ form: Form) throws -> Preparation {
        try check(configuration, is: "autoregressive encoder-decoder", ["parti"])
        let c = try PartiConfiguration(configuration)
        let inputs = try ComponentInputs(
            input, component: "decoder", required: ["decoder_input_ids": "[B, N]"],
            optional: [
                "input_ids": "[B, T]", "encoder_hidden_states": "[B, T, \(c.width)]", "attention_mask": "[B, T]",
            ])
        let (ids, shape) = try inputs.integers("decoder_input_ids", [nil, nil], "[B, N]", in: 0..<c.codebookSize + 1)
        guard shape[1] <= c.imageLength else {
            throw inputs.fault("'decoder_input_ids' has \(shape[1]) tokens a row, and an image has \(c.imageLength)")
        }
        let text = try PartiText(inputs, c, batch: shape[0], isUnconditional: form.isUnconditional)
        return { weights, b in
            let network = try Parti(weights, c, on: b)
            return { b in
                let prompt = text.prepared(network, on: b)
                guard form.isIncremental else {
                    return try outputs(b, [("logits", network(b.upload(HostTensor(ids, Shape(shape))), prompt, on: b))])
                }
                let values = try incremental(network, ids, shape, prompt, on: b)
                return [("logits", HostTensor(values, [shape[0], shape[1], c.codebookSize]))]
            }
        }
    }

    /// The same logits through the key-value cache.
    private static func incremental(
        _ network: Parti, _ ids: [Int32], _ shape: [Int], _ prompt: Parti.PreparedPrompt, on b: any Backend
    ) throws -> [Float] {
        let (batch, count, codes) = (shape[0], shape[1], network.configuration.codebookSize)
        let caches = network.makeCaches(rows: batch, capacity: count, on: b)
        let position = b.upload(HostTensor([Int32(0)], [1]))
        var logits = [Float](repeating: 0, count: batch * count * codes)
        for step in 0..<count {
            let mark = b.arena.mark
            defer { b.arena.rewind(to: mark) }
            let tokens = (0..<batch).map { ids[$0 * count + step] }
            let rows = try b.read(
                network.step(b.upload(HostTensor(tokens, [batch])), at: position, caches, prompt, on: b))
            for row in 0..<batch {
                let start = (row * count + step) * codes
                logits.replaceSubrange(start..<start + codes, with: rows[row * codes..<(row + 1) * codes])
            }
            b.increment(in: position)
        }
        return logits
    }

    /// Pixels to latents and codes.
    static func vqganEncoder(_ configuration: Configuration, _ input: String) throws -> Preparation {
        try check(configuration, is: "VQGAN", ["VQModel"])
        let c = try VQGANConfiguration(configuration)
        let inputs = try ComponentInputs(
            input, component: "vqvae.encode", required: ["sample": "[B, \(c.inputChannels), H, W]"])
        let (values, shape) = try inputs.floats(
            "sample", [nil, c.inputChannels, nil, nil], "[B, \(c.inputChannels), H, W]")
        guard shape[2] % c.scale == 0, shape[3] % c.scale == 0 else {
            throw inputs.fault("'sample' is \(shape[3])x\(shape[2]), and both sides must be multiples of \(c.scale)")
        }
        let pixels = values.channelsLast(shape)
        return { weights, b in
            let network = try VQGAN(weights, c, on: b)
            return { b in
                let latents = network.encode(
                    b.upload(HostTensor(pixels, [shape[0], shape[2], shape[3], shape[1]])), on: b)
                let grid = latents.shape
                let codes = try b.readIntegers(network.codes(latents, on: b)).map(Int64.init)
                let values = try b.read(latents).channelsFirst(
                    batch: grid[0], pixels: grid[1] * grid[2], channels: grid[3])
                return [
                    ("codes", HostTensor(codes, [grid[0], grid[1], grid[2]])),
                    ("latents", HostTensor(values, [grid[0], grid[3], grid[1], grid[2]])),
                ]
            }
        }
    }

    /// Codes to pixels.
    static func vqganDecoder(_ configuration: Configuration, _ input: String) throws -> Preparation {
        try check(configuration, is: "VQGAN", ["VQModel"])
        let c = try VQGANConfiguration(configuration)
        let inputs = try ComponentInputs(input, component: "vqvae.decode", required: ["codes": "[B, h, w]"])
        let (codes, shape) = try inputs.integers("codes", [nil, nil, nil], "[B, h, w]", in: 0..<c.codebookSize)
        return { weights, b in
            let network = try VQGAN(weights, c, on: b)
            return { b in
                let sample = network.decode(b.upload(HostTensor(codes, Shape(shape))), on: b)
                let size = sample.shape
                let values = try b.read(sample).channelsFirst(
                    batch: size[0], pixels: size[1] * size[2], channels: size[3])
                return [("sample", HostTensor(values, [size[0], size[3], size[1], size[2]]))]
            }
        }
    }
}
