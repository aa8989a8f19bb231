internal import TTIFormats

/// The tokens with names (`pad_token` …) and the added ones together, as transformers' TokenizersBackend joins them: those
/// of tokenizer.json, then those of tokenizer_config.json, then each named token that is not yet among them.
struct SpecialTokens {
    private let configuration: TokenizerConfiguration
    private let pieces: PieceTable
    private let added: [AddedTokens.Token]
    private let file: String

    /// - Parameters:
    ///   - added: the tokens of tokenizer.json.
    ///   - file: the vocabulary's, for errors.
    init(_ configuration: TokenizerConfiguration, pieces: PieceTable, added: [AddedTokens.Token], file: String) {
        self.configuration = configuration
        self.pieces = pieces
        self.added = added
        self.file = file
    }

    private func find(_ token: String) -> Int? {
        let key = ByteString(token)
        return (added + configuration.addedTokens).first { ByteString($0.content) == key }?.id
            ?? pieces.id(of: Array(token.utf8))
    }

    /// The id of a token; throws `tokenizer.special` when there is no token or no such piece.
    func id(of token: AddedTokens.Token?, _ name: String) throws(FormatError) -> Int {
        guard let token, let id = find(token.content) else {
            throw FormatError(
                .invalid, "tokenizer.special",
                "the \(name) \(token.map { quoted($0.content) } ?? "is missing, which") is not in the vocabulary",
                at: file)
        }
        return id
    }

    /// The padding token's id; without one `otherwise`, or 0.
    func paddingId(otherwise: Int?) throws(FormatError) -> Int {
        guard let token = configuration.paddingToken else { return otherwise ?? 0 }
        return try id(of: token, "pad_token")
    }

    /// All of them, each text once: an entry of tokenizer_config.json replaces one of tokenizer.json, and of two named
    /// tokens with one text the later one counts (in Stable Diffusion 1.5 that is the padding token).
    ///
    /// Throws when two texts have one id, or an id is another piece's.
    func tokens() throws(FormatError) -> [AddedTokens.Token] {
        var tokens: [AddedTokens.Token] = []
        var indexFromContent: [ByteString: Int] = [:]
        func add(_ token: AddedTokens.Token) {
            let content = ByteString(token.content)
            if let index = indexFromContent[content] {
                tokens[index] = token
            } else {
                indexFromContent[content] = tokens.count
                tokens.append(token)
            }
        }
        for token in added { try check(token) }
        for token in configuration.addedTokens { try check(token) }
        for token in added + configuration.addedTokens { add(token) }
        let listed = Set(indexFromContent.keys)
        for var token in configuration.namedTokens where !listed.contains(ByteString(token.content)) {
            guard let id = find(token.content) else { continue }
            token.id = id
            add(token)
        }
        var contentFromId: [Int: String] = [:]
        for token in tokens {
            if let other = contentFromId.updateValue(token.content, forKey: token.id) {
                throw invalid("tokens \(quoted(other)) and \(quoted(token.content)) have one id, \(token.id)")
            }
        }
        try checkDense(tokens)
        return tokens
    }

    private func invalid(_ what: String) -> FormatError {
        FormatError(.invalid, "tokenizer.added", "the added \(what)", at: file)
    }

    /// A token that is a piece has the piece's id, and no other piece's.
    private func check(_ token: AddedTokens.Token) throws(FormatError) {
        let content = Array(token.content.utf8)
        if let id = pieces.id(of: content), id != token.id {
            throw invalid("token \(quoted(token.content)) has the id \(token.id), but in the vocabulary it is \(id)")
        }
        guard token.id < pieces.count else { return }
        let piece = pieces.bytes(of: token.id)
        guard piece.isEmpty || piece.elementsEqual(content) else {
            throw invalid("token \(quoted(token.content)) has the id \(token.id), which is another piece")
        }
    }

    /// Ids beyond the vocabulary have to follow it without a gap.
    private func checkDense(_ tokens: [AddedTokens.Token]) throws(FormatError) {
        var expected = pieces.count
        for id in tokens.map(\.id).sorted() where id >= pieces.count {
            guard id == expected else {
                throw FormatError(
                    .invalid, "tokenizer.added", "an added token has the id \(id), but no token has \(expected)",
                    at: file)
            }
            expected += 1
        }
    }
}
