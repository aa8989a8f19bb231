/// How normalized text is cut into the pieces that the model sees one by one: the pre-tokenizers of a tokenizer.json that
/// the families here use.
indirect enum PreTokenizer: Sendable {
    /// A space in front where there is none, GPT-2's pattern, then a character for every byte.
    case byteLevel(addsPrefixSpace: Bool, cuts: Bool)
    case split(PieceScanner, SplitBehavior, inverted: Bool)
    /// Spaces become `replacement`, which also goes in front, and every word begins with it.
    case metaspace(replacement: Unicode.Scalar, PrependScheme, splits: Bool)
    case sequence([PreTokenizer])

    /// What becomes of the places where a pattern matches.
    enum SplitBehavior: String, Sendable {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    enum PrependScheme: String, Sendable {
        case always, never, first
    }

    /// A piece of text and where it began in the prompt (0 only for what stands at its very start).
    struct Piece {
        var text: ArraySlice<Unicode.Scalar>
        var offset: Int
    }

    /// How often the text is gone over.
    var stepCount: Int {
        guard case .sequence(let steps) = self else { return 1 }
        return steps.reduce(0) { $0 + $1.stepCount }
    }

    /// How many times more characters a text can have afterwards.
    var growth: Int {
        switch self {
        case .byteLevel: 4
        case .split, .metaspace: 1
        case .sequence(let steps): steps.reduce(1) { min(1 << 30, $0 * min(1 << 30, $1.growth)) }
        }
    }

    func cut(_ piece: Piece) -> [Piece] {
        switch self {
        case .byteLevel(let addsPrefixSpace, let cuts):
            var text = piece.text
            if addsPrefixSpace, text.first != " " { text = [" "] + text }
            let parts = cuts ? TTIText.parts(of: text, by: .gpt2, .isolated, inverted: false) : [text]
            return parts.map { Piece(text: ByteAlphabet.spelled($0)[...], offset: piece.offset + $0.startIndex) }
        case .split(let scanner, let behavior, let inverted):
            return TTIText.parts(of: piece.text, by: scanner, behavior, inverted: inverted).map {
                Piece(text: $0, offset: piece.offset + $0.startIndex - piece.text.startIndex)
            }
        case .metaspace(let replacement, let scheme, let splits):
            var text = piece.text.map { $0 == " " ? replacement : $0 }[...]
            let prepends = scheme == .always || (scheme == .first && piece.offset == 0)
            if prepends, text.first != replacement { text = [replacement] + text }
            let parts =
                splits ? TTIText.parts(of: text, by: .literal([replacement]), .mergedWithNext, inverted: false) : [text]
            return parts.map { Piece(text: $0, offset: piece.offset + $0.startIndex) }
        case .sequence(let steps):
            return steps.reduce([piece]) { pieces, step in pieces.flatMap(step.cut) }
        }
    }
}

/// tokenizer/normalizer.rs, `NormalizedString::split`. Empty parts are left out.
private func parts(
    of text: ArraySlice<Unicode.Scalar>, by scanner: PieceScanner, _ behavior: PreTokenizer.SplitBehavior,
    inverted: Bool
) -> [ArraySlice<Unicode.Scalar>] {
    var parts: [(range: Range<Int>, isMatch: Bool)] = []
    var gapStart = text.startIndex
    var index = text.startIndex
    while index < text.endIndex {
        guard let end = scanner.matchEnd(in: text, at: index), end > index else {
            index += 1
            continue
        }
        if gapStart < index { parts.append((gapStart..<index, inverted)) }
        parts.append((index..<end, !inverted))
        index = end
        gapStart = end
    }
    if gapStart < text.endIndex { parts.append((gapStart..<text.endIndex, inverted)) }

    var ranges: [Range<Int>] = []
    var lastIsMatch = false
    switch behavior {
    case .isolated: ranges = parts.map(\.range)
    case .removed: ranges = parts.filter { !$0.isMatch }.map(\.range)
    case .mergedWithPrevious, .contiguous:
        for part in parts {
            let joins = behavior == .contiguous ? part.isMatch == lastIsMatch : part.isMatch && !lastIsMatch
            if joins, let last = ranges.popLast() {
                ranges.append(last.lowerBound..<part.range.upperBound)
            } else {
                ranges.append(part.range)
            }
            lastIsMatch = part.isMatch
        }
    case .mergedWithNext:
        for part in parts.reversed() {
            if part.isMatch, !lastIsMatch, let last = ranges.popLast() {
                ranges.append(part.range.lowerBound..<last.upperBound)
            } else {
                ranges.append(part.range)
            }
            lastIsMatch = part.isMatch
        }
        ranges.reverse()
    }
    return ranges.map { text[$0] }
}
