/// The regular expressions that tokenizers cut text with, written by hand.
///
/// A pattern from a file is never compiled: the known ones are recognised by their text, any other is an error. Each
/// scanner is linear in the text, which a backtracking engine does not promise.
enum PieceScanner: Sendable {
    /// CLIP: contractions, runs of letters, single numbers, runs of the rest.
    case clip(keepsMarkers: Bool)
    /// GPT-2, BART, RoBERTa: the same with an optional space in front, and runs of numbers.
    case gpt2
    /// GPT-4, Llama 3 (numbers by up to three digits) and Qwen 2 (by one).
    case gpt4(digits: Int)
    /// A run of characters of one kind, or a single one.
    case run(CharacterKind, atMost: Int)
    /// One text, literally.
    case literal([Unicode.Scalar])

    enum CharacterKind: Sendable {
        case space, notSpace, number, numeric, letter, punctuation, blank

        func contains(_ scalar: Unicode.Scalar) -> Bool {
            switch self {
            case .space: UnicodeTables.isSpace(scalar)
            case .notSpace: !UnicodeTables.isSpace(scalar)
            case .number: UnicodeTables.isNumber(scalar)
            case .numeric: UnicodeTables.isNumeric(scalar)
            case .letter: UnicodeTables.isLetter(scalar)
            case .punctuation: UnicodeTables.isPunctuation(scalar)
            case .blank: scalar == " "
            }
        }
    }

    private static let contractions = "'s|'t|'re|'ve|'m|'ll|'d"

    /// The scanner of a pattern; nil when the pattern is not a known one.
    init?(pattern: String) {
        switch pattern {
        case "<\\|startoftext\\|>|<\\|endoftext\\|>|\(Self.contractions)|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+":
            self = .clip(keepsMarkers: true)
        case "\(Self.contractions)|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+": self = .clip(keepsMarkers: false)
        case "\(Self.contractions)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+": self = .gpt2
        case Self.gpt4Pattern(digits: "\\p{N}{1,3}"): self = .gpt4(digits: 3)
        case Self.gpt4Pattern(digits: "\\p{N}"): self = .gpt4(digits: 1)
        case "\\s+": self = .run(.space, atMost: .max)
        case "\\s": self = .run(.space, atMost: 1)
        case "\\S+": self = .run(.notSpace, atMost: .max)
        case "\\p{N}": self = .run(.number, atMost: 1)
        case "\\p{N}+": self = .run(.number, atMost: .max)
        case "\\p{L}+": self = .run(.letter, atMost: .max)
        case " +": self = .run(.blank, atMost: .max)
        default: return nil
        }
    }

    private static func gpt4Pattern(digits: String) -> String {
        "(?i:\(contractions))|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\(digits)| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
            + "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    }

    /// The end of the match that begins at `start`; nil where none does.
    func matchEnd(in text: ArraySlice<Unicode.Scalar>, at start: Int) -> Int? {
        switch self {
        case .clip(let keepsMarkers):
            if keepsMarkers, let end = markerEnd(in: text, at: start) { return end }
            if let end = contractionEnd(in: text, at: start, ignoringCase: false) { return end }
            if UnicodeTables.isLetter(text[start]) { return runEnd(in: text, at: start, of: UnicodeTables.isLetter) }
            if UnicodeTables.isNumber(text[start]) { return start + 1 }
            return UnicodeTables.isSpace(text[start]) ? nil : runEnd(in: text, at: start, of: isOther)
        case .gpt2: return gpt2End(in: text, at: start)
        case .gpt4(let digits): return gpt4End(in: text, at: start, digits: digits)
        case .run(let kind, let most):
            guard kind.contains(text[start]) else { return nil }
            return most == 1 ? start + 1 : runEnd(in: text, at: start, of: kind.contains)
        case .literal(let literal): return text[start...].starts(with: literal) ? start + literal.count : nil
        }
    }

    private func gpt2End(in text: ArraySlice<Unicode.Scalar>, at start: Int) -> Int {
        if let end = contractionEnd(in: text, at: start, ignoringCase: false) { return end }
        let word = text[start] == " " && start + 1 < text.endIndex ? start + 1 : start
        let first = text[word]
        if UnicodeTables.isLetter(first) { return runEnd(in: text, at: word, of: UnicodeTables.isLetter) }
        if UnicodeTables.isNumber(first) { return runEnd(in: text, at: word, of: UnicodeTables.isNumber) }
        if UnicodeTables.isSpace(first) { return spacesEnd(in: text, at: start) }
        return runEnd(in: text, at: word, of: isOther)
    }

    private func gpt4End(in text: ArraySlice<Unicode.Scalar>, at start: Int, digits: Int) -> Int {
        if let end = contractionEnd(in: text, at: start, ignoringCase: true) { return end }
        let first = text[start]
        let second = start + 1
        if UnicodeTables.isLetter(first) { return runEnd(in: text, at: start, of: UnicodeTables.isLetter) }
        if UnicodeTables.isNumber(first) {
            var end = start
            while end < text.endIndex, end - start < digits, UnicodeTables.isNumber(text[end]) { end += 1 }
            return end
        }
        if !isLineBreak(first), second < text.endIndex, UnicodeTables.isLetter(text[second]) {
            return runEnd(in: text, at: second, of: UnicodeTables.isLetter)
        }
        let word = first == " " && second < text.endIndex ? second : start
        if isOther(text[word]) {
            return runEnd(in: text, at: runEnd(in: text, at: word, of: isOther), of: isLineBreak)
        }
        // White space up to its last line break, if it has one.
        let end = runEnd(in: text, at: start, of: UnicodeTables.isSpace)
        if let lineBreak = text[start..<end].lastIndex(where: isLineBreak) { return lineBreak + 1 }
        return spacesEnd(in: text, at: start)
    }

    /// `\s+(?!\S)|\s+`: a run of white space leaves its last character to what follows, if it has another one.
    private func spacesEnd(in text: ArraySlice<Unicode.Scalar>, at start: Int) -> Int {
        let end = runEnd(in: text, at: start, of: UnicodeTables.isSpace)
        return end < text.endIndex && end - start > 1 ? end - 1 : end
    }

    private func runEnd(
        in text: ArraySlice<Unicode.Scalar>, at start: Int, of isMember: (Unicode.Scalar) -> Bool
    ) -> Int {
        var end = start
        while end < text.endIndex, isMember(text[end]) { end += 1 }
        return end
    }

    private func contractionEnd(
        in text: ArraySlice<Unicode.Scalar>, at start: Int, ignoringCase: Bool
    ) -> Int? {
        guard text[start] == "'" else { return nil }
        func letter(_ index: Int) -> Unicode.Scalar {
            guard index < text.endIndex else { return " " }
            guard ignoringCase else { return text[index] }
            // The long s is an s to a case-insensitive pattern.
            if text[index] == "\u{17f}" { return "s" }
            return text[index].value >= 0x41 && text[index].value <= 0x5a
                ? Unicode.Scalar(UInt8(text[index].value) | 0x20) : text[index]
        }
        return switch (letter(start + 1), letter(start + 2)) {
        case ("s", _), ("t", _), ("m", _), ("d", _): start + 2
        case ("r", "e"), ("v", "e"), ("l", "l"): start + 3
        default: nil
        }
    }

    private func markerEnd(in text: ArraySlice<Unicode.Scalar>, at start: Int) -> Int? {
        guard text[start] == "<" else { return nil }
        for marker in ["<|startoftext|>", "<|endoftext|>"] where text[start...].starts(with: marker.unicodeScalars) {
            return start + marker.unicodeScalars.count
        }
        return nil
    }
}

/// `[^\s\p{L}\p{N}]`.
private func isOther(_ scalar: Unicode.Scalar) -> Bool {
    !UnicodeTables.isSpace(scalar) && !UnicodeTables.isLetter(scalar) && !UnicodeTables.isNumber(scalar)
}

private func isLineBreak(_ scalar: Unicode.Scalar) -> Bool { scalar == "\n" || scalar == "\r" }
