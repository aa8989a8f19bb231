package import TTIFormats
internal import TTIGeneration
internal import TTIModels
internal import TTIText

/// A checkpoint's tokenizer, cutting as the checkpoint's pipeline cuts.
package struct PromptTokenizer: Sendable {
    private let tokenizer: any Tokenizer
    /// The most ids that the model takes; nil: as many as there are.
    private let maximumLength: Int?

    /// A text as the model is given it, without padding.
    package struct Tokens: Sendable {
        package let ids: [Int]
        package let pieces: [String]
        package let cutCount: Int
        package let cutText: String
    }

    /// - Parameter folder: a pipeline's, or a tokenizer's own.
    /// - Throws: `TTIError`.
    package init(_ folder: CheckpointFolder) throws(TTIError) {
        (tokenizer, maximumLength) = try translatingErrors {
            guard let index = try folder.pipelineIndex() else {
                let tokenizer = try loadTokenizer(folder)
                return (tokenizer, tokenizer.maximumLength)
            }
            guard PipelineCheckpoint.isKnown(index) else {
                // Of a pipeline that we cannot run, the tokenizer may still be asked.
                let tokenizer = try loadTokenizer(folder.folder("tokenizer"))
                return (tokenizer, tokenizer.maximumLength)
            }
            let checkpoint = try PipelineCheckpoint(folder)
            let limit =
                switch checkpoint.networks {
                case .masked(let text, _, _): text.maximumLength
                case .autoregressive(let configuration): configuration.maximumTextLength
                case .diffusion(let diffusion): diffusion.texts[0].maximumLength
                }
            return (checkpoint.tokenizer, min(limit, checkpoint.tokenizer.maximumLength ?? limit))
        }
    }

    package func encode(_ text: String) -> Tokens {
        let tokens = tokenizer.encode(text, maximumLength: maximumLength ?? .max)
        return Tokens(ids: tokens.ids, pieces: tokens.pieces, cutCount: tokens.cutCount, cutText: tokens.cutText)
    }
}
