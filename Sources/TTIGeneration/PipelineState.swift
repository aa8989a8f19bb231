internal import TTICore
internal import TTIText

extension PromptTokens {
    /// A prompt cut and padded to `length` ids.
    init(_ prompt: String, _ tokenizer: any Tokenizer, length: Int) {
        let text = tokenizer.encode(prompt, maximumLength: min(length, tokenizer.maximumLength ?? length))
        self.init(
            ids: tokenizer.padded(text.ids, to: length).map { Int32(truncatingIfNeeded: $0) }, length: text.ids.count,
            truncatedCount: text.cutCount, truncatedText: text.cutText)
    }
}

extension Backend {
    /// What tokens are drawn with, on the device.
    /// - Parameters:
    ///   - temperature: what logits are divided by.
    ///   - position: nil: one of its own, which begins at 0.
    func samplingState(
        _ batch: ImageBatch, temperature: Float, firstStep: Int, position: Tensor? = nil
    ) -> SamplingState {
        let settings = batch.settings
        let guidance = settings.guidanceByStep
        return SamplingState(
            settings: upload(HostTensor([temperature, Float(settings.topK), settings.topP], [3])),
            keys: upload(
                HostTensor(
                    batch.items.flatMap {
                        [Int32(truncatingIfNeeded: $0.seed), Int32(truncatingIfNeeded: $0.seed >> 32)]
                    }, [batch.items.count, 2])),
            position: position ?? upload(HostTensor([Int32(0)], [1])),
            guidance: guidance.count == 1 ? upload(HostTensor(guidance, [1])) : upload(guidance, from: firstStep))
    }

    /// The entries of a table by step that are still to come.
    func upload(_ table: [Float], from first: Int) -> Tensor {
        upload(HostTensor(Array(table[first...]), [table.count - first]))
    }
}

extension ImageBatch {
    /// Throws when there are latents to begin with, which a model of tokens has no use for.
    func checkHasNoLatents() throws(SettingsError) {
        guard items.allSatisfy({ $0.initialLatents == nil }) else {
            throw SettingsError(
                "usage.source", "latents to begin with need latent diffusion; this checkpoint makes image tokens")
        }
    }

    /// Throws unless the tokens to begin with fill the grid with codes that there are, and leave something to do.
    func checkInitialTokens(codes: Int) throws(SettingsError) {
        for item in items {
            guard let tokens = item.initialTokens else { continue }
            guard tokens.count == settings.tokenCount else {
                throw SettingsError(
                    "usage.tokens",
                    "\(tokens.count) tokens to begin with, but the image has \(settings.gridHeight)x\(settings.gridWidth)"
                )
            }
            guard tokens.count(where: { $0 < 0 }) == maskedCount else {
                throw SettingsError(
                    "usage.tokens", "images that are made together need equally many tokens to be made; make them apart"
                )
            }
            guard tokens.allSatisfy({ $0 >= -1 && $0 < Int32(codes) }) else {
                throw SettingsError(
                    "input.tokens", "a token to begin with is outside 0...\(codes - 1), this checkpoint's codes",
                    isBadInput: true)
            }
        }
    }
}

extension Array {
    /// Consecutive parts of equal length.
    func chunks(of length: Int) -> [[Element]] {
        stride(from: 0, to: count, by: Swift.max(length, 1)).map { Array(self[$0..<Swift.min($0 + length, count)]) }
    }
}
