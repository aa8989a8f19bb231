package import TTICore
package import TTIFormats

/// DALL-E mini and mega (Dayma et al. 2021, "DalleBart"): an encoder reads the prompt, a decoder writes image tokens in
/// raster order, as Parti's. NormFormer layers (Shleifer et al. 2021): a second norm after each attention and inside the
/// gated MLP; no biases but the norms'. Names are those of min-dalle's encoder.pt and decoder.pt, below `encoder` and
/// `decoder`.
package struct DalleBart {
    package let configuration: DalleBartConfiguration
    let encoder: DalleBartEncoder
    let embedding: DalleBartEmbedding
    let layers: [DalleBartDecoderLayer]
    let finalNorm: NormParameters
    /// `[codes, width]`: rows of ids that are no codes are left out, so that none is ever drawn.
    let head: Linear

    /// What the encoder makes of some prompts.
    package struct Text {
        /// `[batch, text tokens, width]`
        package let states: Tensor
        /// `[batch, text tokens]` float32, as `AttentionMask.keyBias` has it; nil when nothing is masked.
        package let keyBias: Tensor?
    }

    /// What the decoder needs of some prompts, the same for every token: keys and values of every cross-attention.
    package struct PreparedPrompt {
        /// How many prompts there are; divides the rows of tokens that they are used with.
        package let batch: Int
        /// `[batch, text tokens, 2 · width]` a layer: keys, then values.
        let keysValues: [Tensor]
        let mask: AttentionMask
    }

    /// - Throws: `ModelError`: a tensor that is missing or of another shape, no room on the device.
    package init(_ weights: Weights, _ c: DalleBartConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        encoder = try DalleBartEncoder(weights["encoder"], c, on: b)
        let decoder = weights["decoder"]
        embedding = try DalleBartEmbedding(decoder, rows: c.imageVocabularySize + 1, length: c.imageLength, c, on: b)
        layers = try (0..<c.decoderLayerCount).map { index throws(ModelError) in
            try DalleBartDecoderLayer(decoder["layers"][index], c, on: b)
        }
        finalNorm = try decoder.norm(beforeMatrix: "final_ln", width: c.width, c, on: b)
        let head = try decoder.host("lm_head.weight", [c.imageVocabularySize + 1, c.width])
        self.head = Linear(weight: try b.load(matrix: head.prefix(c.codebookSize), for: .tokens), bias: nil)
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
        let shape: Shape = [rows, c.decoderHeadCount, capacity ?? c.imageLength, c.width / c.decoderHeadCount]
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
        let embedded = embedding(b.repeated(tokens, rows: rows), at: position, on: b)  // [rows, width]
        var x = embedded.reshaped(Shape(rows, 1, c.width))  // [rows, 1, width]
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
        b.scoped {
            var x = b.scoped { embedding(tokens, on: b) }  // [rows, count, width]
            for (index, layer) in layers.enumerated() {
                x = b.replacing(x) { layer($0, prompt.keysValues[index], prompt.mask, configuration, on: b) }
            }
            return b.normLinear(x, finalNorm, head)  // [rows, count, codes]
        }
    }
}

/// Tokens and learnt positions, added and normed.
struct DalleBartEmbedding {
    /// `[rows, width]`
    let tokenTable: Tensor
    /// `[length, width]`
    let positions: Tensor
    let norm: NormParameters

    /// - Parameters:
    ///   - rows: ids that there are.
    ///   - length: positions that there are.
    init(
        _ weights: Weights, rows: Int, length: Int, _ c: DalleBartConfiguration, on b: any Backend
    ) throws(ModelError) {
        tokenTable = try weights.table("embed_tokens", rows: rows, width: c.width, on: b)
        positions = try weights.constant("embed_positions.weight", [length, c.width], on: b)
        norm = try weights.norm("layernorm_embedding", c, on: b)
    }

    /// Sequences from their beginning.
    /// - Parameter tokens: `[batch, count]` int32
    /// - Returns: `[batch, count, width]`
    func callAsFunction(_ tokens: Tensor, on b: any Backend) -> Tensor {
        b.norm(b.add(b.embed(tokens, tokenTable), positions.prefixRows(0..<tokens.shape[1])), norm)
    }

    /// One token of each sequence.
    /// - Parameters:
    ///   - tokens: `[rows]` int32
    ///   - position: `[1]` int32
    /// - Returns: `[rows, width]`
    func callAsFunction(_ tokens: Tensor, at position: Tensor, on b: any Backend) -> Tensor {
        b.norm(b.add(b.embed(tokens, tokenTable), b.embed(position, positions)), norm)
    }
}

/// The half that reads the prompt: every token looks at every token that is no padding.
struct DalleBartEncoder {
    let embedding: DalleBartEmbedding
    let layers: [DalleBartEncoderLayer]
    let finalNorm: NormParameters

    init(_ weights: Weights, _ c: DalleBartConfiguration, on b: any Backend) throws(ModelError) {
        embedding = try DalleBartEmbedding(weights, rows: c.vocabularySize, length: c.maximumTextLength, c, on: b)
        layers = try (0..<c.encoderLayerCount).map { index throws(ModelError) in
            try DalleBartEncoderLayer(weights["layers"][index], c, on: b)
        }
        finalNorm = try weights.norm(beforeMatrix: "final_ln", width: c.width, c, on: b)
    }

    /// - Returns: `[batch, text tokens, width]`
    func callAsFunction(
        _ tokens: TokenRows, _ keyBias: Tensor?, _ c: DalleBartConfiguration, on b: any Backend
    ) -> Tensor {
        b.scoped {
            var x = b.scoped { embedding(b.upload(tokens.hostIds), on: b) }  // [batch, text tokens, width]
            for layer in layers { x = b.replacing(x) { layer($0, AttentionMask(keyBias: keyBias), c, on: b) } }
            return b.norm(x, finalNorm)  // [batch, text tokens, width]
        }
    }
}
