internal import TTIFormats

/// A `tokenizer.json`: the five steps of the `tokenizers` library with their settings.
///
/// Steps and settings that are not known here are errors, never skipped: a tokenizer that is nearly right gives wrong
/// pictures without a word.
struct TokenizerDocument {
    let json: JSON
    let file: String

    init(_ bytes: [UInt8], file: String) throws(FormatError) {
        self.file = file
        json = try JSON(bytes, file: file)
        guard json.object != nil else {
            throw FormatError(
                .invalid, "tokenizer.json", "the tokenizer is \(json.kindName), where an object is needed", at: file)
        }
    }

    func invalid(_ step: String, _ what: String) -> FormatError {
        FormatError(.invalid, "tokenizer.\(step)", "the tokenizer's \(step) \(what)", at: file)
    }

    func tokenizer(_ configuration: TokenizerConfiguration) throws(FormatError) -> PipelineTokenizer {
        let added = try addedTokens()
        guard let modelJSON = json["model"], modelJSON.object != nil else { throw invalid("model", "is missing") }
        let kind = try modelKind(modelJSON)
        let normalizer = try normalizer(json["normalizer"] ?? .null)
        let preTokenizer = try preTokenizer(json["pre_tokenizer"] ?? .null)
        try checkCost("normalizer", steps: normalizer?.stepCount ?? 0, growth: normalizer?.growth ?? 1)
        try checkCost("pre_tokenizer", steps: preTokenizer?.stepCount ?? 0, growth: preTokenizer?.growth ?? 1)
        let model: any SubwordModel =
            kind == "BPE"
            ? try bytePairModel(modelJSON, added + configuration.addedTokens) : try unigramModel(modelJSON, added)
        let special = SpecialTokens(configuration, pieces: model.pieces, added: added, file: file)
        let tokens = try special.tokens()
        let count = tokens.reduce(model.pieces.count) { max($0, $1.id + 1) }
        let around = try specialIds(json["post_processor"] ?? .null, count: count)
        let end = try configuration.endToken.map { token throws(FormatError) in try special.id(of: token, "eos_token") }
        var padding = json["padding"]?["pad_id"]?.integer
        if let id = padding, id < 0 || id >= count {
            throw invalid("padding", "has the pad_id \(id), of \(count) there are")
        }
        if configuration.paddingToken != nil || padding == nil {
            let pad = tokens.first { $0.content == "<pad>" }?.id
            padding = try special.paddingId(otherwise: pad ?? end ?? around.after.last)
        }
        return PipelineTokenizer(
            normalizer: normalizer, preTokenizer: preTokenizer, model: model, addedTokens: tokens,
            spelling: try spelling(model: modelJSON), specialIds: around, paddingId: padding ?? 0,
            endOfTextId: end ?? around.after.last,
            maximumLength: configuration.maximumLength
                ?? json["truncation"]?["max_length"]?.integer.flatMap { $0 > 0 ? $0 : nil })
    }

    /// A prompt is bounded, and so has to be what a file makes of it.
    private func checkCost(_ step: String, steps: Int, growth: Int) throws(FormatError) {
        guard steps <= TokenizerLimits.stepCount else {
            throw invalid(step, "has \(steps) steps; \(TokenizerLimits.stepCount) are allowed")
        }
        guard growth <= TokenizerLimits.growth else {
            throw invalid(step, "could make a text more than \(TokenizerLimits.growth) times longer")
        }
    }

    private func addedTokens() throws(FormatError) -> [AddedTokens.Token] {
        guard let value = json["added_tokens"], !value.isNull else { return [] }
        guard let list = value.array else {
            throw invalid("added", "tokens are \(value.kindName), where a list is needed")
        }
        var tokens: [AddedTokens.Token] = []
        for entry in list {
            guard let id = entry["id"]?.integer, id >= 0, id < TokenizerLimits.vocabularySize else {
                throw invalid("added", "token has no id below \(TokenizerLimits.vocabularySize)")
            }
            tokens.append(try AddedTokens.Token(entry, id: id, file: file))
        }
        return tokens
    }

    /// Older files leave the type out.
    private func modelKind(_ model: JSON) throws(FormatError) -> String {
        let kind = model["type"]?.string ?? (model["merges"] != nil ? "BPE" : model["unk_id"] != nil ? "Unigram" : "")
        guard kind == "BPE" || kind == "Unigram" else {
            throw FormatError(
                .invalid, "tokenizer.model", "the tokenizer's model has the type \(quoted(kind))", at: file,
                try: "BPE and Unigram are known")
        }
        return kind
    }

    private func bytePairModel(_ model: JSON, _ added: [AddedTokens.Token]) throws(FormatError) -> BytePairModel {
        guard let vocabulary = model["vocab"]?.object else { throw invalid("model", "has no vocab that is an object") }
        guard let merges = model["merges"]?.array else { throw invalid("model", "has no merges that are a list") }
        if let dropout = model["dropout"], !dropout.isNull, dropout.number != 0 {
            throw invalid("model", "has dropout, which is for training")
        }
        var builder = VocabularyBuilder(file: file)
        for (piece, value) in vocabulary {
            guard case .numeral(let id) = value else {
                throw invalid("model", "gives the piece \(quoted(piece.string, limit: 40)) \(value.kindName) for an id")
            }
            try builder.add(piece, idText: id)
        }
        let pieces = try builder.table(addedTokens: added)
        var options = BytePairModel.Options()
        options.endOfWordSuffix = try text("end_of_word_suffix", of: model)
        options.continuingPrefix = try text("continuing_subword_prefix", of: model)
        options.fusesUnknown = try flag("fuse_unk", of: model, default: false)
        options.fallsBackToBytes = try flag("byte_fallback", of: model, default: false)
        options.ignoresMerges = try flag("ignore_merges", of: model, default: false)
        if let unknown = model["unk_token"], !unknown.isNull {
            guard let token = unknown.byteString, let id = pieces.id(of: token.bytes) else {
                throw invalid("model", "has the unk_token \(unknown.kindName), which is not in its vocabulary")
            }
            options.unknownId = id
        }
        var mergeBuilder = MergeBuilder(
            pieces: pieces, expectedCount: merges.count, continuingPrefix: options.continuingPrefix.count, file: file)
        for merge in merges {
            // `["a", "b"]`, or "a b" in files written before 2024.
            if let pair = merge.array, pair.count == 2, let left = pair[0].byteString, let right = pair[1].byteString {
                try mergeBuilder.add(left.bytes[...], right.bytes[...])
            } else if let line = merge.byteString?.bytes, let space = line.firstIndex(of: UInt8(ascii: " ")),
                space > 0, space + 1 < line.count, !line[(space + 1)...].contains(UInt8(ascii: " "))
            {
                try mergeBuilder.add(line[..<space], line[(space + 1)...])
            } else {
                throw invalid("model", "has a merge that is not two pieces: \(merge.kindName)")
            }
        }
        return BytePairModel(pieces: pieces, merges: mergeBuilder.merges, options: options)
    }

    private func unigramModel(_ model: JSON, _ added: [AddedTokens.Token]) throws(FormatError) -> UnigramModel {
        guard let vocabulary = model["vocab"]?.array, !vocabulary.isEmpty else {
            throw invalid("model", "has no vocab that is a list of pieces and scores")
        }
        guard vocabulary.count <= TokenizerLimits.vocabularySize else {
            throw invalid("model", "has \(vocabulary.count) pieces; \(TokenizerLimits.vocabularySize) are allowed")
        }
        guard let unknown = model["unk_id"]?.integer, vocabulary.indices.contains(unknown) else {
            throw invalid(
                "model", "has the unk_id \(model["unk_id"]?.kindName ?? "of nothing"), which is not a piece's")
        }
        var pieces = PieceTable(expectedCount: vocabulary.count)
        var scores: [Double] = []
        for (id, entry) in vocabulary.enumerated() {
            guard let pair = entry.array, pair.count == 2, let piece = pair[0].byteString,
                case .numeral(let numeral) = pair[1], let score = approximateDouble(numeral)
            else { throw invalid("model", "has no piece and finite score at \(id)") }
            guard !piece.isEmpty, piece.utf8.count <= TokenizerLimits.pieceLength else {
                throw invalid("model", "has a piece of \(piece.utf8.count) bytes at \(id)")
            }
            guard pieces.append(piece.bytes) != nil else {
                throw invalid("model", "has the piece \(quoted(piece.string, limit: 40)) twice")
            }
            scores.append(score)
        }
        return UnigramModel(
            pieces: pieces, scores: scores, kinds: Array(repeating: .normal, count: scores.count), unknownId: unknown,
            arithmetic: .double, fallsBackToBytes: try flag("byte_fallback", of: model, default: false))
    }

    func flag(_ key: String, of json: JSON, default otherwise: Bool) throws(FormatError) -> Bool {
        guard let value = json[key], !value.isNull else { return otherwise }
        guard let flag = value.bool else {
            throw FormatError(.invalid, "tokenizer.json", "\(key) is \(value.kindName), not true or false", at: file)
        }
        return flag
    }

    private func text(_ key: String, of json: JSON) throws(FormatError) -> [UInt8] {
        guard let value = json[key], !value.isNull else { return [] }
        guard let text = value.byteString, text.utf8.count <= TokenizerLimits.pieceLength else {
            throw FormatError(.invalid, "tokenizer.json", "\(key) is \(value.kindName), not a short text", at: file)
        }
        return text.bytes
    }

    /// The model and the decoder tell how pieces are spelled.
    private func spelling(model: JSON) throws(FormatError) -> PipelineTokenizer.PieceSpelling {
        switch json["decoder"]?["type"]?.string {
        case "ByteLevel":
            return .byteLevel(endOfWord: String(decoding: try text("end_of_word_suffix", of: model), as: UTF8.self))
        case "Metaspace", "Sequence": return .metaspace("▁")
        default: return .plain
        }
    }
}
