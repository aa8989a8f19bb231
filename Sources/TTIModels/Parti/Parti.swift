package import TTICore
package import TTIFormats

/// Parti: an encoder reads the prompt, a decoder writes image tokens in raster order (Yu et al. 2022). Pre-norm blocks, a
/// two-matrix MLP, learnt positions, a final norm on both sides. The layout of its files is this project's own, as nobody
/// has published one: names are those of mBART in transformers.
package struct Parti {
    package let configuration: PartiConfiguration
    let encoder: PartiEncoder
    /// `[codes + 1, width]`
    let tokenTable: Tensor
    /// `[image length, width]`
    let positions: Tensor
    let layers: [PartiDecoderLayer]
    let finalNorm: NormParameters
    let head: Linear

    /// What the encoder makes of some prompts.
    package struct Text {
        /// `[batch, text tokens, width]`
        package let states: Tensor
        /// `[batch, text tokens]` float32, as `AttentionMask.keyBias` has it; nil when nothing is masked.
        package let keyBias: Tensor?

        package init(states: Tensor, keyBias: Tensor?) {
            self.states = states
            self.keyBias = keyBias
        }
    }

    /// What the decoder needs of some prompts, the same for every token: keys and values of every cross-attention.
    package struct PreparedPrompt {
        /// How many prompts there are; divides the rows of tokens that they are used with.
        package let batch: Int
        /// `[batch, text tokens, 2 · width]` a layer: keys, then values.
        let keysValues: [Tensor]
        let mask: AttentionMask
    }

    package init(_ weights: Weights, _ c: PartiConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        encoder = try PartiEncoder(weights["encoder"], c, on: b)
        let decoder = weights["decoder"]
        tokenTable = try decoder.table("embed_tokens", rows: c.codebookSize + 1, width: c.width, on: b)
        positions = try decoder.constant("embed_positions.weight", [c.imageLength, c.width], on: b)
        layers = try (0..<c.decoderLayerCount).map { index throws(ModelError) in
            try PartiDecoderLayer(decoder["layers"][index], c, on: b)
        }
        finalNorm = try decoder.norm(
            "layer_norm", .layer, width: c.width, epsilon: c.normEpsilon, bias: .zeroIfAbsent, on: b)
        head = try weights.linear("lm_head", from: c.width, to: c.codebookSize, bias: false, for: .tokens, on: b)
    }

    /// Tensors that a checkpoint may hold and that nothing needs: none.
    package static func ignores(_ name: String) -> Bool { false }

    // MARK: Once per prompt

    /// The encoder. Padding is masked where `tokens` says so: `tokens.masking(configuration.padToken)`.
    package func encode(_ tokens: TokenRows, on b: any Backend) -> Text {
        let keyBias = tokens.hostKeyBias.map { b.upload($0) }
        return Text(states: encoder(tokens, keyBias, configuration, on: b), keyBias: keyBias)
    }

    /// Keys and values of the prompts for every layer of the decoder; they lie in the arena.
    package func prepare(_ text: Text, on b: any Backend) -> PreparedPrompt {
        PreparedPrompt(
            batch: text.states.shape[0],
            keysValues: layers.map { layer in  // [batch, text tokens, 2 * width]
                b.scoped { b.castToCache(b.linear(text.states, layer.textKeysValues)) }
            },
            mask: AttentionMask(keyBias: text.keyBias))
    }

    /// Empty caches of every layer for an image of each row; they lie in the arena.
    /// - Parameter capacity: tokens; the whole image unless it says otherwise.
    package func makeCaches(rows: Int, capacity: Int? = nil, on b: any Backend) -> [KeyValueCache] {
        let c = configuration
        let shape: Shape = [rows, c.headCount, capacity ?? c.imageLength, c.width / c.headCount]
        return layers.map { _ in
            KeyValueCache(keys: b.allocate(shape, b.cacheType), values: b.allocate(shape, b.cacheType))
        }
    }

    // MARK: Tokens

    /// One token further: appends to the caches and predicts what comes next. Reads no host value, so it can be recorded.
    /// - Parameters:
    ///   - tokens: `[images]` int32, the tokens at `position`: the start token at position 0. When there are fewer than
    ///     the caches have rows (guidance), they are repeated: rows are [unconditional…, conditional…].
    ///   - position: `[1]` int32
    ///   - prompt: of a batch that divides the rows: row r is computed with prompt r · batch / rows.
    /// - Returns: `[rows, codes]`
    package func step(
        _ tokens: Tensor, at position: Tensor, _ caches: [KeyValueCache], _ prompt: PreparedPrompt, on b: any Backend
    ) -> Tensor {
        let c = configuration
        let rows = caches[0].keys.shape[0]
        let embedded = b.embed(b.repeated(tokens, rows: rows), tokenTable)  // [rows, width]
        let placed = b.add(embedded, b.embed(position, positions))
        var x = placed.reshaped(Shape(rows, 1, c.width))  // [rows, 1, width]
        for (index, layer) in layers.enumerated() {
            x = layer.step(x, at: position, caches[index], prompt.keysValues[index], prompt.mask, c, on: b)
        }
        return b.normLinear(x, finalNorm, head).reshaped(Shape(rows, c.codebookSize))
    }

    /// Many tokens at once, each predicting its successor (teacher forcing).
    /// - Parameters:
    ///   - tokens: `[rows, count]` int32, the start token first.
    ///   - prompt: of a batch that divides the rows.
    /// - Returns: `[rows, count, codes]`
    package func callAsFunction(_ tokens: Tensor, _ prompt: PreparedPrompt, on b: any Backend) -> Tensor {
        let c = configuration
        return b.scoped {
            var x = b.scoped {
                b.add(b.embed(tokens, tokenTable), positions.prefixRows(0..<tokens.shape[1]))  // [rows, count, width]
            }
            for (index, layer) in layers.enumerated() {
                x = b.replacing(x) { layer($0, prompt.keysValues[index], prompt.mask, c, on: b) }
            }
            return b.normLinear(x, finalNorm, head)  // [rows, count, codes]
        }
    }
}

/// The half that reads the prompt: every token looks at every token that is no padding.
struct PartiEncoder {
    /// `[vocabulary, width]`
    let tokenTable: Tensor
    /// `[maximum text length, width]`
    let positions: Tensor
    let layers: [PartiEncoderLayer]
    let finalNorm: NormParameters

    init(_ weights: Weights, _ c: PartiConfiguration, on b: any Backend) throws(ModelError) {
        tokenTable = try weights.table("embed_tokens", rows: c.vocabularySize, width: c.width, on: b)
        positions = try weights.constant("embed_positions.weight", [c.maximumTextLength, c.width], on: b)
        layers = try (0..<c.encoderLayerCount).map { index throws(ModelError) in
            try PartiEncoderLayer(weights["layers"][index], c, on: b)
        }
        finalNorm = try weights.norm(
            "layer_norm", .layer, width: c.width, epsilon: c.normEpsilon, bias: .zeroIfAbsent, on: b)
    }

    /// - Returns: `[batch, text tokens, width]`
    func callAsFunction(
        _ tokens: TokenRows, _ keyBias: Tensor?, _ c: PartiConfiguration, on b: any Backend
    ) -> Tensor {
        b.scoped {
            var x = b.scoped {
                let embedded = b.embed(b.upload(tokens.hostIds), tokenTable)  // [batch, text tokens, width]
                return b.add(embedded, positions.prefixRows(0..<tokens.length))
            }
            for layer in layers { x = b.replacing(x) { layer($0, AttentionMask(keyBias: keyBias), c, on: b) } }
            return b.norm(x, finalNorm)  // [batch, text tokens, width]
        }
    }
}
