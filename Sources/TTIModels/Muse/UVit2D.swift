package import TTICore
package import TTIFormats

/// aMUSEd's transformer over a grid of image tokens, some of which are masked: convolutional blocks around a trunk of
/// transformer layers (diffusers' UVit2DModel; Patil et al. 2024).
///
/// Nothing but the tokens changes from step to step, so `prepare` computes once per prompt what depends on text and
/// micro-conditions: keys and values of all cross-attentions and all modulations, a third of the weights.
package struct UVit2D {
    package let configuration: UVit2DConfiguration
    let conditioning: UVit2DConditioning
    /// `[vocabulary, embedding width]`
    let tokenTable: Tensor
    let embeddingNorm: NormParameters
    let embeddingProjection: Linear
    let downsample: UVit2DDownsample?
    let downBlocks: [UVit2DBlock]
    let trunkInNorm: NormParameters
    let trunkIn: Linear
    let layers: [UVit2DLayer]
    let trunkOutNorm: NormParameters
    let trunkOut: Linear
    let upBlocks: [UVit2DBlock]
    let upsample: UVit2DUpsample?
    let headIn: Linear
    let headNorm: NormParameters
    let headOut: Linear

    /// What the network needs of some prompts, the same for every step.
    package struct PreparedPrompt {
        /// How many prompts there are; divides the rows of tokens that they are used with.
        package let batch: Int
        let down: [UVit2DBlock.Prompt]
        let layers: [UVit2DLayer.Prompt]
        let up: [UVit2DBlock.Prompt]
    }

    package init(_ weights: Weights, _ c: UVit2DConfiguration, on b: any Backend) throws(ModelError) {
        configuration = c
        conditioning = try UVit2DConditioning(weights, c, on: b)
        tokenTable = try weights.table("embed.embeddings", rows: c.vocabularySize, width: c.embeddingWidth, on: b)
        embeddingNorm = try weights.rmsNorm("embed.layer_norm", c.embeddingWidth, c, on: b)
        embeddingProjection = try weights.pointwise(
            "embed.conv", from: c.embeddingWidth, to: c.channels, bias: c.usesBias, on: b)
        downsample = c.downsample ? try UVit2DDownsample(weights["down_block.downsample"], c, on: b) : nil
        downBlocks = try (0..<c.blockCount).map { index throws(ModelError) in
            try UVit2DBlock(weights["down_block"], index, c, on: b)
        }
        trunkInNorm = try weights.rmsNorm("project_to_hidden_norm", c.channels, c, on: b)
        trunkIn = try weights.linear("project_to_hidden", from: c.channels, to: c.width, bias: c.usesBias, on: b)
        layers = try (0..<c.layerCount).map { index throws(ModelError) in
            try UVit2DLayer(weights["transformer_layers"][index], c, on: b)
        }
        trunkOutNorm = try weights.rmsNorm("project_from_hidden_norm", c.width, c, on: b)
        trunkOut = try weights.linear("project_from_hidden", from: c.width, to: c.channels, bias: c.usesBias, on: b)
        upBlocks = try (0..<c.blockCount).map { index throws(ModelError) in
            try UVit2DBlock(weights["up_block"], index, c, on: b)
        }
        upsample = c.upsample ? try UVit2DUpsample(weights["up_block.upsample"], c, on: b) : nil
        headIn = try weights.pointwise(
            "mlm_layer.conv1", from: c.channels, to: c.embeddingWidth, bias: c.usesBias, on: b)
        headNorm = try weights.rmsNorm("mlm_layer.layer_norm", c.embeddingWidth, c, on: b)
        headOut = try weights.pointwise(
            "mlm_layer.conv2", from: c.embeddingWidth, to: c.codebookSize, bias: c.usesBias, on: b)
    }

    /// Tensors that a checkpoint may hold and that nothing needs: none.
    package static func ignores(_ name: String) -> Bool { false }

    /// Once per prompt; the result lies in the arena.
    /// - Parameters:
    ///   - text: `[batch, text tokens, text width]`, the text encoder's penultimate states.
    ///   - pooled: `[batch, pooled text width]`, the text encoder's projection.
    ///   - microConditions: image width, image height, crop, crop, aesthetic score; one list for all, or one a prompt.
    package func prepare(
        text: Tensor, pooled: Tensor, microConditions: [[Float]], on b: any Backend
    ) -> PreparedPrompt {
        let (states, condition) = conditioning(text: text, pooled: pooled, microConditions, configuration, on: b)
        let mappedStates = b.activate(states, .silu)  // [batch, text tokens, width]
        return PreparedPrompt(
            batch: text.shape[0],
            down: downBlocks.map { $0.prepare(states, mappedStates, condition, on: b) },
            layers: layers.map { $0.prepare(states, condition, on: b) },
            up: upBlocks.map { $0.prepare(states, mappedStates, condition, on: b) })
    }

    /// Everything but the head.
    /// - Parameters:
    ///   - tokens: `[rows, height, width]` int32.
    ///   - prompt: of a batch that divides the rows: row r is computed with prompt r · batch / rows.
    /// - Returns: `[rows, output height · output width, channels]`; see `UVit2DConfiguration.outputGrid`.
    package func hidden(_ tokens: Tensor, _ prompt: PreparedPrompt, on b: any Backend) -> Tensor {
        let c = configuration
        let rows = tokens.shape[0]
        return b.scoped {
            var x = b.scoped {
                let embedded = b.embed(tokens, tokenTable)  // [rows, height, width, embedding]
                return b.normLinear(embedded, embeddingNorm, embeddingProjection)  // [rows, height, width, channels]
            }
            if let downsample { x = b.replacing(x) { downsample($0, on: b) } }  // [rows, height/2, width/2, channels]
            for (block, prompt) in zip(downBlocks, prompt.down) {
                x = b.replacing(x) { block($0, prompt, c, on: b) }
            }
            let grid = x.shape
            x = b.replacing(x.reshaped(Shape(rows, grid[1] * grid[2], c.channels))) {
                b.normLinear($0, trunkInNorm, trunkIn)  // [rows, places, c.width]
            }
            for (layer, prompt) in zip(layers, prompt.layers) {
                x = b.replacing(x) { layer($0, prompt, c, on: b) }
            }
            x = b.replacing(x) { b.normLinear($0, trunkOutNorm, trunkOut) }  // [rows, places, channels]
            x = x.reshaped(grid)
            for (block, prompt) in zip(upBlocks, prompt.up) {
                x = b.replacing(x) { block($0, prompt, c, on: b) }
            }
            if let upsample { x = b.replacing(x) { upsample($0, on: b) } }  // [rows, height, width, channels]
            return x.reshaped(Shape(rows, x.shape[1] * x.shape[2], c.channels))
        }
    }

    /// The head, at all places or at some: it is pointwise, so what is not asked for is not computed.
    /// - Parameters:
    ///   - hidden: `[rows, places, channels]` from `hidden`.
    ///   - places: `[images, count]` int32, -1 for none (whose logits mean nothing), or nil for all. When there are fewer
    ///     images than rows (guidance), they are repeated: rows are [unconditional…, conditional…]. When there are more
    ///     (the first step, shared by all images), each reads its prompt's row.
    /// - Returns: `[rows or images, count, codes]`
    package func logits(_ hidden: Tensor, at places: Tensor? = nil, on b: any Backend) -> Tensor {
        b.scoped {
            var x = hidden
            if let places {
                let indices = b.repeated(places, rows: max(hidden.shape[0], places.shape[0]))
                x = b.gather(hidden, indices)  // [rows, count, channels]
            }
            let inner = b.linear(x, headIn)  // [rows, count, embedding]
            return b.normLinear(inner, headNorm, headOut)  // [rows, count, codes]
        }
    }

    /// Logits of the whole grid, `[rows, output height · output width, codes]`.
    package func callAsFunction(_ tokens: Tensor, _ prompt: PreparedPrompt, on b: any Backend) -> Tensor {
        b.scoped { logits(hidden(tokens, prompt, on: b), on: b) }
    }
}

extension Weights {
    /// A norm of this network, with a weight if the configuration says so and never a bias.
    fileprivate func rmsNorm(
        _ name: String, _ width: Int, _ c: UVit2DConfiguration, on b: any Backend
    ) throws(ModelError) -> NormParameters {
        try norm(
            name, .rms, width: width, epsilon: c.normEpsilon, bias: .none, hasWeight: c.normsHaveWeights, on: b)
    }
}
