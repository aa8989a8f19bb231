/// Tokens that are found in the text itself, before or after it is normalized: `<|endoftext|>`, `</s>`, `<extra_id_0>`.
///
/// As tokenizer/added_vocabulary.rs: leftmost, then longest; a token may swallow the white space beside it, or ask to be a
/// word of its own.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        var id: Int
        var content: String
        var isSpecial: Bool
        var isSingleWord: Bool
        var stripsLeft: Bool
        var stripsRight: Bool
        /// Sought in normalized text, by its own normalized form.
        var isNormalized: Bool
    }

    /// A stretch of text, or a token that was found.
    enum Section {
        case text(ArraySlice<Unicode.Scalar>)
        case token(Int)
    }

    let tokens: [Token]
    private var literalTrie = ByteTrie()
    private var normalizedTrie = ByteTrie()
    private let hasLiteral: Bool
    private let hasNormalized: Bool
    /// Bytes that begin a token.
    private var beginsToken = Array(repeating: false, count: 256)

    init(_ tokens: [Token], normalizer: Normalizer?) {
        self.tokens = tokens
        hasLiteral = tokens.contains { !$0.isNormalized }
        hasNormalized = tokens.contains(where: \.isNormalized)
        for (index, token) in tokens.enumerated() {
            guard token.isNormalized else {
                literalTrie.insert(token.content.utf8, value: index)
                if let first = token.content.utf8.first { beginsToken[Int(first)] = true }
                continue
            }
            let scalars = Array(token.content.unicodeScalars)
            let utf8 = utf8Bytes(normalizer?.normalize(scalars) ?? scalars)
            if let first = utf8.first {
                normalizedTrie.insert(utf8, value: index)
                beginsToken[Int(first)] = true
            }
        }
    }

    /// Cuts text at the tokens that are sought as written, or (`inNormalizedText`) in normalized text.
    func sections(of text: [Unicode.Scalar], inNormalizedText: Bool) -> [Section] {
        guard inNormalizedText ? hasNormalized : hasLiteral else { return text.isEmpty ? [] : [.text(text[...])] }
        let trie = inNormalizedText ? normalizedTrie : literalTrie
        // The trie works on bytes, the rest on scalars.
        let bytes = utf8Bytes(text)[...]
        var sections: [Section] = []
        var textStart = 0
        var scalarIndex = 0
        var byteIndex = 0
        while scalarIndex < text.count {
            let length = utf8Length(text[scalarIndex])
            guard beginsToken[Int(bytes[byteIndex])], let match = trie.longestMatch(in: bytes, at: byteIndex) else {
                byteIndex += length
                scalarIndex += 1
                continue
            }
            let token = tokens[match.value]
            var start = scalarIndex
            while byteIndex < match.end {
                byteIndex += utf8Length(text[scalarIndex])
                scalarIndex += 1
            }
            var end = scalarIndex
            if token.isSingleWord,
                (start > 0 && UnicodeTables.isWord(text[start - 1]))
                    || (end < text.count && UnicodeTables.isWord(text[end]))
            {
                continue
            }
            if token.stripsLeft {
                while start > textStart, UnicodeTables.isSpace(text[start - 1]) { start -= 1 }
            }
            if token.stripsRight {
                while end < text.count, UnicodeTables.isSpace(text[end]) { end += 1 }
            }
            if textStart < start { sections.append(.text(text[textStart..<start])) }
            sections.append(.token(token.id))
            textStart = end
        }
        if textStart < text.count { sections.append(.text(text[textStart...])) }
        return sections
    }
}

func utf8Length(_ scalar: Unicode.Scalar) -> Int {
    switch scalar.value {
    case ..<0x80: 1
    case ..<0x800: 2
    case ..<0x10000: 3
    default: 4
    }
}

func utf8Bytes(_ scalars: some Sequence<Unicode.Scalar>) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(scalars.underestimatedCount)
    for scalar in scalars {
        if scalar.value < 0x80 {
            bytes.append(UInt8(scalar.value))
        } else {
            bytes.append(contentsOf: UTF8.encode(scalar) ?? .init())
        }
    }
    return bytes
}
