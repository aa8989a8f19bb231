/// A tokenizer in the five steps of the `tokenizers` library: added tokens, normalizer, pre-tokenizer, model, and the
/// special tokens around the result.
struct PipelineTokenizer: Tokenizer {
    /// How pieces become text again.
    enum PieceSpelling: Sendable {
        /// Characters for bytes; a suffix that ends words, or nothing.
        case byteLevel(endOfWord: String)
        /// A character for spaces; the first piece loses it.
        case metaspace(Unicode.Scalar)
        case plain
    }

    let normalizer: Normalizer?
    let preTokenizer: PreTokenizer?
    let model: any SubwordModel
    let addedTokens: AddedTokens
    let spelling: PieceSpelling
    let specialIds: (before: [Int], after: [Int])
    let paddingId: Int
    let endOfTextId: Int?
    let maximumLength: Int?
    let vocabularySize: Int
    private let addedIndexFromId: [Int: Int]

    init(
        normalizer: Normalizer?, preTokenizer: PreTokenizer?, model: any SubwordModel, addedTokens: [AddedTokens.Token],
        spelling: PieceSpelling, specialIds: (before: [Int], after: [Int]), paddingId: Int, endOfTextId: Int?,
        maximumLength: Int?
    ) {
        self.normalizer = normalizer
        self.preTokenizer = preTokenizer
        self.model = model
        self.addedTokens = AddedTokens(addedTokens, normalizer: normalizer)
        self.spelling = spelling
        self.specialIds = specialIds
        self.paddingId = paddingId
        self.endOfTextId = endOfTextId
        self.maximumLength = maximumLength
        vocabularySize = addedTokens.reduce(model.pieces.count) { max($0, $1.id + 1) }
        var addedIndexFromId: [Int: Int] = [:]
        for (index, token) in addedTokens.enumerated() { addedIndexFromId[token.id] = index }
        self.addedIndexFromId = addedIndexFromId
    }

    func idsWithoutSpecials(of text: String) -> [Int] {
        var ids: [Int] = []
        // Words come again and again; what the model made of them is kept for the length of a prompt.
        var known: [[UInt8]: [Int]] = [:]
        var isAtStart = true
        for section in addedTokens.sections(of: Array(text.unicodeScalars), inNormalizedText: false) {
            guard case .text(let raw) = section else {
                if case .token(let id) = section { ids.append(id) }
                isAtStart = false
                continue
            }
            var losesStart = false
            let normalized = normalizer?.normalize(Array(raw), &losesStart) ?? Array(raw)
            if losesStart { isAtStart = false }
            for section in addedTokens.sections(of: normalized, inNormalizedText: true) {
                switch section {
                case .token(let id): ids.append(id)
                case .text(let plain): appendIds(of: plain, isAtStart: isAtStart, to: &ids, &known)
                }
                isAtStart = false
            }
        }
        return ids
    }

    private func appendIds(
        of text: ArraySlice<Unicode.Scalar>, isAtStart: Bool, to ids: inout [Int], _ known: inout [[UInt8]: [Int]]
    ) {
        let whole = PreTokenizer.Piece(text: text, offset: isAtStart ? 0 : 1)
        for piece in preTokenizer?.cut(whole) ?? [whole] {
            let bytes = utf8Bytes(piece.text)
            if let pieceIds = known[bytes] {
                ids.append(contentsOf: pieceIds)
                continue
            }
            let first = ids.count
            model.appendIds(of: bytes, to: &ids)
            if bytes.count < 64 { known[bytes] = Array(ids[first...]) }
        }
    }

    func piece(of id: Int) -> String? {
        if let index = addedIndexFromId[id] { return addedTokens.tokens[index].content }
        guard id >= 0, id < model.pieces.count else { return nil }
        return String(decoding: model.pieces.bytes(of: id), as: UTF8.self)
    }

    func decode(_ ids: [Int], keepingSpecialTokens: Bool) -> String {
        var bytes: [UInt8] = []
        for id in ids {
            if let index = addedIndexFromId[id] {
                let token = addedTokens.tokens[index]
                if keepingSpecialTokens || !token.isSpecial { bytes.append(contentsOf: token.content.utf8) }
            } else if id >= 0, id < model.pieces.count {
                append(model.pieces.bytes(of: id), to: &bytes)
            }
        }
        let text = String(decoding: bytes, as: UTF8.self)
        // The space that begins the first word, or that ends the last one, is the vocabulary's and not the text's.
        switch spelling {
        case .metaspace: return text.first == " " ? String(text.dropFirst()) : text
        case .byteLevel(let endOfWord) where !endOfWord.isEmpty:
            return text.last == " " ? String(text.dropLast()) : text
        default: return text
        }
    }

    private func append(_ piece: ArraySlice<UInt8>, to bytes: inout [UInt8]) {
        switch spelling {
        case .byteLevel(let endOfWord):
            let suffix = Array(endOfWord.utf8)
            let endsWord =
                !suffix.isEmpty && piece.count >= suffix.count && piece.suffix(suffix.count).elementsEqual(suffix)
            bytes.append(contentsOf: ByteAlphabet.bytes(of: endsWord ? piece.dropLast(suffix.count) : piece))
            if endsWord { bytes.append(UInt8(ascii: " ")) }
        case .metaspace(let replacement):
            if let byte = ByteFallback.byte(piece) {
                bytes.append(byte)
                return
            }
            for scalar in String(decoding: piece, as: UTF8.self).unicodeScalars {
                bytes.append(contentsOf: utf8Bytes(CollectionOfOne(scalar == replacement ? " " : scalar)))
            }
        case .plain: bytes.append(contentsOf: piece)
        }
    }
}
