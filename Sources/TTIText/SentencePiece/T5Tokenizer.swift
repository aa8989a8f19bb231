internal import TTIFormats

extension SentencePieceFile {
    /// What transformers' T5Tokenizer makes of the model: words split at white space, "▁" before each, `<extra_id_n>` behind
    /// the vocabulary in reverse, special tokens found in the text, `</s>` at the end.
    func t5Tokenizer(_ configuration: TokenizerConfiguration) throws(FormatError) -> PipelineTokenizer {
        guard modelType == .unigram else {
            throw FormatError(.invalid, "tokenizer.sentencepiece", "a T5 tokenizer needs a unigram model", at: file)
        }
        var configuration = configuration
        configuration.endToken = configuration.endToken ?? .init(special: "</s>")
        configuration.unknownToken = configuration.unknownToken ?? .init(special: "<unk>")
        configuration.paddingToken = configuration.paddingToken ?? .init(special: "<pad>")
        var table = PieceTable(expectedCount: pieces.count + configuration.extraIdCount)
        var scores: [Double] = []
        var added: [AddedTokens.Token] = []
        for piece in pieces {
            let text = String(decoding: piece.text, as: UTF8.self)
            guard let id = table.append(Array(piece.text)) else { continue }
            scores.append(Double(piece.score))
            if piece.type == .control { added.append(AddedTokens.Token(special: text, id: id)) }
        }
        for number in (0..<configuration.extraIdCount).reversed() {
            let text = "<extra_id_\(number)>"
            guard let id = table.append(Array(text.utf8)) else {
                throw FormatError(.invalid, "tokenizer.sentencepiece", "the model has \(text) already", at: file)
            }
            scores.append(0)
            added.append(AddedTokens.Token(special: text, id: id))
        }
        // The file's own entries for the same tokens win.
        let configured = Set(configuration.addedTokens.map { ByteString($0.content) })
        added.removeAll { configured.contains(ByteString($0.content)) }
        let special = SpecialTokens(configuration, pieces: table, added: added, file: file)
        let end = try special.id(of: configuration.endToken, "eos_token")
        return PipelineTokenizer(
            normalizer: normalization.charsmap.map { .charsmap($0) },
            preTokenizer: .sequence([
                .split(.run(.space, atMost: 1), .removed, inverted: false),
                .metaspace(replacement: "▁", .always, splits: true),
            ]),
            model: UnigramModel(
                pieces: table, scores: scores, kinds: Array(repeating: .normal, count: scores.count),
                unknownId: unknownId,
                arithmetic: .double, fallsBackToBytes: false),
            addedTokens: try special.tokens(), spelling: .metaspace("▁"), specialIds: ([], [end]),
            paddingId: try special.id(of: configuration.paddingToken, "pad_token"), endOfTextId: end,
            maximumLength: configuration.maximumLength)
    }
}
