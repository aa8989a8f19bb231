internal import TTIFormats

/// The tokenizer of a checkpoint that has nothing but a SentencePiece model: what `SentencePieceProcessor.encode` gives,
/// with the end-of-text token behind it.
///
/// Control pieces such as `</s>` are never found in a text, as there; a prompt cannot end itself.
struct SentencePieceTokenizer: Tokenizer {
    let specialIds: (before: [Int], after: [Int])
    let paddingId: Int
    let endOfTextId: Int?
    let maximumLength: Int?
    private let pieces: PieceTable
    private let types: [SentencePieceFile.PieceType]
    private let normalization: SentencePieceFile.Normalization
    /// Pieces that no normalization touches.
    private let userDefined: ByteTrie
    private let unknownId: Int
    private let fallsBackToBytes: Bool
    private let model: Segmentation

    private enum Segmentation: Sendable {
        case unigram(UnigramModel)
        case bytePair(SentencePieceMerges)
    }

    var vocabularySize: Int { pieces.count }

    init(_ file: SentencePieceFile, _ configuration: TokenizerConfiguration) throws(FormatError) {
        var table = PieceTable(expectedCount: file.pieces.count)
        var userDefined = ByteTrie()
        for (id, piece) in file.pieces.enumerated() {
            _ = table.append(Array(piece.text))
            if piece.type == .userDefined { userDefined.insert(piece.text, value: id) }
        }
        pieces = table
        types = file.pieces.map(\.type)
        self.userDefined = userDefined
        normalization = file.normalization
        unknownId = file.unknownId
        fallsBackToBytes = file.fallsBackToBytes
        let kinds = file.pieces.map { piece -> UnigramModel.PieceKind in
            switch piece.type {
            case .normal: .normal
            case .userDefined: .userDefined
            case .unused: .unused
            case .unknown, .control, .byte: .hidden
            }
        }
        switch file.modelType {
        case .bytePair:
            model = .bytePair(
                SentencePieceMerges(
                    pieces: table, scores: file.pieces.map(\.score), kinds: kinds, userDefined: userDefined,
                    unknownId: file.unknownId))
        default:
            model = .unigram(
                UnigramModel(
                    pieces: table, scores: file.pieces.map { Double($0.score) }, kinds: kinds,
                    unknownId: file.unknownId, arithmetic: .float, fallsBackToBytes: file.fallsBackToBytes))
        }
        func id(_ token: AddedTokens.Token?, _ name: String) throws(FormatError) -> Int? {
            guard let token = token?.content else { return nil }
            guard let id = table.id(of: Array(token.utf8)) else {
                throw FormatError(
                    .invalid, "tokenizer.special", "the \(name) \(quoted(token)) is not in the vocabulary",
                    at: file.file)
            }
            return id
        }
        let end = try id(configuration.endToken, "eos_token") ?? file.endId ?? table.id(of: Array("</s>".utf8))
        endOfTextId = end
        specialIds = ([], end.map { [$0] } ?? [])
        paddingId =
            try id(configuration.paddingToken, "pad_token") ?? file.paddingId ?? table.id(of: Array("<pad>".utf8))
            ?? end ?? 0
        maximumLength = configuration.maximumLength
    }

    func idsWithoutSpecials(of text: String) -> [Int] {
        let normalized = normalization.normalize(Array(text.utf8), keeping: userDefined)
        let segments =
            switch model {
            case .unigram(let model): model.segments(of: normalized)
            case .bytePair(let merges): merges.segments(of: normalized)
            }
        var ids: [Int] = []
        var lastIsUnknown = false
        for segment in segments {
            let isUnknown = segment.id == unknownId
            if isUnknown, fallsBackToBytes {
                ids.append(
                    contentsOf: ByteFallback.ids(of: normalized[segment.start..<segment.end], in: pieces) ?? [unknownId]
                )
            } else if !(isUnknown && lastIsUnknown) {
                ids.append(segment.id)
            }
            lastIsUnknown = isUnknown
        }
        return ids
    }

    func piece(of id: Int) -> String? {
        guard id >= 0, id < pieces.count else { return nil }
        return String(decoding: pieces.bytes(of: id), as: UTF8.self)
    }

    func decode(_ ids: [Int], keepingSpecialTokens: Bool) -> String {
        var bytes: [UInt8] = []
        for id in ids where id >= 0 && id < pieces.count {
            let piece = pieces.bytes(of: id)
            switch types[id] {
            case .control: if keepingSpecialTokens { bytes.append(contentsOf: piece) }
            case .unknown: bytes.append(contentsOf: " \u{2047} ".utf8)
            case .byte: bytes.append(ByteFallback.byte(piece) ?? UInt8(ascii: "?"))
            default:
                for scalar in String(decoding: piece, as: UTF8.self).unicodeScalars {
                    bytes.append(contentsOf: utf8Bytes(CollectionOfOne(scalar == "▁" ? " " : scalar)))
                }
            }
        }
        let text = String(decoding: bytes, as: UTF8.self)
        guard normalization.addsDummyPrefix else { return text }
        if normalization.putsWhitespaceBehind { return text.last == " " ? String(text.dropLast()) : text }
        return text.first == " " ? String(text.dropFirst()) : text
    }
}
