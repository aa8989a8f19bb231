package import TTICore
package import TTIFormats

/// LlamaGen: one transformer reads a caption's features and goes on with image tokens in raster order (Sun et al. 2024).
/// RMS norms, rotary places in two dimensions, gated feed-forward, no biases. Names are those of its own checkpoints.
package struct LlamaGen {
    package let configuration: LlamaGenConfiguration
    /// What stands for a caption's features where there is none: `[text length, text width]`.
    package let unconditional: HostTensor
    let captionIn: Linear, captionOut: Linear
    /// `[codes, width]`
    let tokenTable: Tensor
    /// `[sequence length, head width]`
    let angles: Tensor
    let layers: [LlamaGenLayer]
    let finalNorm: NormParameters
    let head: Linear

    package init(_ weights: Weights, _ c: LlamaGenConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        let caption = weights["cls_embedding"]
        unconditional = try caption.host("uncond_embedding", [c.textLength, c.textWidth])
        captionIn = try caption.linear("cap_proj.fc1", from: c.textWidth, to: c.width, bias: false, on: b)
        captionOut = try caption.linear("cap_proj.fc2", from: c.width, to: c.width, bias: false, on: b)
        tokenTable = try weights.table("tok_embeddings", rows: c.codebookSize, width: c.width, on: b)
        angles = try b.load(constant: RotaryGrid.angles(c))
        layers = try (0..<c.layerCount).map { index throws(ModelError) in
            try LlamaGenLayer(weights["layers"][index], c, on: b)
        }
        finalNorm = try weights.norm("norm", .rms, width: c.width, epsilon: c.normEpsilon, bias: .none, on: b)
        head = try weights.linear("output", from: c.width, to: c.codebookSize, bias: false, for: .tokens, on: b)
    }

    /// Tensors that a checkpoint may hold and that nothing needs: a table of angles.
    package static func ignores(_ name: String) -> Bool { name == "freqs_cis" }

    /// What stands in the sequence for captions.
    /// - Parameter features: `[rows, text length, text width]` activations.
    /// - Returns: `[rows, text length, width]`
    package func prefix(_ features: Tensor, on b: any Backend) -> Tensor {
        b.linear(b.linear(features, captionIn, .geluTanh), captionOut)
    }

    /// Empty caches of every layer, for a caption and an image of each row; they lie in the arena.
    /// - Parameter capacity: tokens; the whole sequence unless it says otherwise.
    package func makeCaches(rows: Int, capacity: Int? = nil, on b: any Backend) -> [KeyValueCache] {
        let c = configuration
        let shape: Shape = [rows, c.headCount, capacity ?? c.sequenceLength, c.headWidth]
        return layers.map { _ in
            KeyValueCache(keys: b.allocate(shape, b.cacheType), values: b.allocate(shape, b.cacheType))
        }
    }

    /// One image token further: appends to the caches and predicts what comes next. Reads no host value, so it can be
    /// recorded.
    /// - Parameters:
    ///   - tokens: `[images]` int32, the tokens at `position`. When there are fewer than the caches have rows (guidance),
    ///     they are repeated.
    ///   - position: `[1]` int32, in the sequence: the first image token's is the text length.
    /// - Returns: `[rows, codes]`
    package func step(
        _ tokens: Tensor, at position: Tensor, _ caches: [KeyValueCache], on b: any Backend
    ) -> Tensor {
        let rows = caches[0].keys.shape[0]
        let embedded = b.embed(b.repeated(tokens, rows: rows), tokenTable)  // [rows, width]
        return step(embedded: embedded, at: position, caches, on: b)
    }

    /// The same for what already lies in the sequence's width: places of a caption.
    /// - Parameter embedded: `[rows, width]`
    package func step(
        embedded: Tensor, at position: Tensor, _ caches: [KeyValueCache], on b: any Backend
    ) -> Tensor {
        let c = configuration
        let rows = caches[0].keys.shape[0]
        var x = embedded.reshaped(Shape(rows, 1, c.width))  // [rows, 1, width]
        for (index, layer) in layers.enumerated() {
            x = layer.step(x, at: position, caches[index], angles, c, on: b)
        }
        return b.normLinear(x, finalNorm, head).reshaped(Shape(rows, c.codebookSize))
    }

    /// A whole sequence at once (teacher forcing).
    /// - Parameters:
    ///   - prefix: `[rows, text length, width]`
    ///   - tokens: `[rows, count]` int32, image tokens.
    ///   - keyBias: `[rows, text length + count]` float32, as `AttentionMask.keyBias` has it: where captions are padding.
    /// - Returns: `[rows, text length + count, codes]`; the caption's last place predicts the first image token.
    package func callAsFunction(
        prefix: Tensor, _ tokens: Tensor, keyBias: Tensor? = nil, on b: any Backend
    ) -> Tensor {
        b.scoped { b.normLinear(states(prefix: prefix, tokens, keyBias: keyBias, on: b), finalNorm, head) }
    }

    /// The same before the last norm: `[rows, text length + count, width]`; without tokens, of the caption alone.
    package func states(prefix: Tensor, _ tokens: Tensor?, keyBias: Tensor? = nil, on b: any Backend) -> Tensor {
        b.scoped {
            let start = b.upload(HostTensor([Int32(0)], [1]))
            let mask = AttentionMask(causal: true, keyBias: keyBias)
            var x = b.scoped {
                b.concatenate([prefix] + (tokens.map { [b.embed($0, tokenTable)] } ?? []), axis: 1)
            }
            for layer in layers {
                x = b.replacing(x) { layer($0, at: start, mask, angles, configuration, on: b) }
            }
            return x
        }
    }
}
