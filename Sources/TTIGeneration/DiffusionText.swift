internal import TTICore
package import TTIModels
package import TTIText

/// The text side of latent diffusion: one CLIP encoder whose last states are read (Stable Diffusion 1 and 2), or two whose
/// states before the last layer stand side by side, with the second one's projection (XL).
package struct DiffusionText {
    /// An encoder and its tokenizer.
    package struct Branch {
        let tokenizer: any Tokenizer
        let encoder: CLIPTextModel

        package init(_ tokenizer: any Tokenizer, _ encoder: CLIPTextModel) {
            self.tokenizer = tokenizer
            self.encoder = encoder
        }
    }

    let branches: [Branch]
    /// Whether an empty negative prompt stands for zeros instead of what the encoders make of it.
    let zeroesEmptyNegative: Bool

    package init(_ branches: [Branch], zeroesEmptyNegative: Bool) {
        precondition((1...2).contains(branches.count), "\(branches.count) text encoders")
        self.branches = branches
        self.zeroesEmptyNegative = zeroesEmptyNegative
    }

    func tokenize(_ prompt: String) -> PromptTokens {
        var tokens = branches.map { PromptTokens(prompt, $0.tokenizer, length: $0.encoder.configuration.maximumLength) }
        if tokens.count > 1 { tokens[0].secondIds = tokens[1].ids }
        return tokens[0]
    }

    /// - Returns: `[rows, text tokens, text width]`, and for XL `[rows, pooled width]`.
    func callAsFunction(_ batch: ImageBatch, on b: any Backend) -> (states: Tensor, pooled: Tensor?) {
        let rows = batch.textRows
        let outputs = branches.enumerated().map { index, branch in
            branch.encoder(TokenRows(rows.map { index == 0 ? $0.ids : $0.secondIds }), on: b)
        }
        guard outputs.count == 2, let pooled = outputs[1].projected else { return (outputs[0].lastHidden, nil) }
        let states = b.concatenate(outputs.map(\.penultimate), axis: 2)  // [rows, text tokens, both widths]
        guard zeroesEmptyNegative, batch.settings.isGuided else { return (states, pooled) }
        // the first half of the rows is negative; a row that is not there reads as zeros
        let empty = tokenize("")
        let isZero = rows.indices.map { $0 < rows.count / 2 && rows[$0].ids == empty.ids }
        let length = states.shape[1]
        let places = isZero.flatMap { zero in (0..<length).map { zero ? -1 : Int32($0) } }
        let kept = isZero.map { $0 ? -1 : Int32(0) }
        return (
            b.gather(states, b.upload(HostTensor(places, [rows.count, length]))),
            b.gather(
                pooled.reshaped([rows.count, 1, pooled.shape.last]), b.upload(HostTensor(kept, [rows.count, 1]))
            ).reshaped(pooled.shape)
        )
    }
}
