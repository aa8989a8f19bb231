/// What happens to text before it is cut: the normalizers of a tokenizer.json that the families here use.
indirect enum Normalizer: Sendable {
    case form(NormalForm)
    case lowercase
    /// Every run of white space becomes this text (`Replace` with `\s+`).
    case collapseSpaces([Unicode.Scalar])
    /// Every run of at least this many spaces (U+0020 only) becomes this text (`Replace` with ` {2,}`).
    case collapseBlanks(minimum: Int, with: [Unicode.Scalar])
    /// Every occurrence of a text becomes another one.
    case replace([Unicode.Scalar], with: [Unicode.Scalar])
    case strip(left: Bool, right: Bool)
    /// In front of text that is not empty.
    case prepend([Unicode.Scalar])
    /// Takes the marks away (`StripAccents`).
    case dropMarks
    /// Control characters away, other separators to spaces: the cleaning of neural machine translation (`Nmt`).
    case translationCleaning
    case charsmap(PrecompiledCharsmap)
    case sequence([Normalizer])

    /// How often the text is gone over.
    var stepCount: Int {
        guard case .sequence(let steps) = self else { return 1 }
        return steps.reduce(0) { $0 + $1.stepCount }
    }

    /// How many times longer a text can become; what `prepend` adds is not counted.
    var growth: Int {
        switch self {
        case .form(.nfkc), .form(.nfkd): 18
        case .form: 4
        case .lowercase: 2
        case .collapseSpaces(let replacement): max(1, replacement.count)
        case .collapseBlanks(let minimum, let replacement): max(1, (replacement.count + minimum - 1) / minimum)
        case .replace(let pattern, let replacement):
            max(1, (replacement.count + pattern.count - 1) / max(1, pattern.count))
        case .strip, .prepend, .dropMarks, .translationCleaning: 1
        case .charsmap(let charsmap): charsmap.growth
        // Saturates, so that no file makes it overflow.
        case .sequence(let steps): steps.reduce(1) { min(1 << 30, $0 * min(1 << 30, $1.growth)) }
        }
    }

    func normalize(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var losesStart = false
        return normalize(text, &losesStart)
    }

    /// - Parameter losesStart: set when the first characters of the text are taken away, which `Metaspace` wants to know.
    func normalize(_ text: [Unicode.Scalar], _ losesStart: inout Bool) -> [Unicode.Scalar] {
        switch self {
        case .form(let form): return form.normalize(text)
        case .lowercase:
            var result: [Unicode.Scalar] = []
            result.reserveCapacity(text.count)
            for scalar in text { scalar.appendLowercase(to: &result) }
            return result
        case .collapseSpaces(let replacement):
            return replaceRuns(of: UnicodeTables.isSpace, minimum: 1, with: replacement, in: text)
        case .collapseBlanks(let minimum, let replacement):
            return replaceRuns(of: { $0 == " " }, minimum: minimum, with: replacement, in: text)
        case .replace(let pattern, let replacement): return replaceAll(pattern, with: replacement, in: text)
        case .strip(let left, let right):
            let start = left ? text.firstIndex { !UnicodeTables.isSpace($0) } ?? text.endIndex : 0
            if start > 0 { losesStart = true }
            let end = right ? (text.lastIndex { !UnicodeTables.isSpace($0) } ?? -1) + 1 : text.count
            return start < end ? Array(text[start..<end]) : []
        case .prepend(let prefix): return text.isEmpty ? text : prefix + text
        case .dropMarks:
            if let first = text.first, UnicodeTables.isMark(first) { losesStart = true }
            return text.filter { !UnicodeTables.isMark($0) }
        case .translationCleaning:
            if let first = text.first, cleaned(first) == nil { losesStart = true }
            return text.compactMap(cleaned)
        case .charsmap(let charsmap): return charsmap.normalize(text)
        case .sequence(let normalizers): return normalizers.reduce(text) { $1.normalize($0, &losesStart) }
        }
    }
}

private func replaceRuns(
    of isMember: (Unicode.Scalar) -> Bool, minimum: Int, with replacement: [Unicode.Scalar], in text: [Unicode.Scalar]
) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    result.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
        var end = index
        while end < text.count, isMember(text[end]) { end += 1 }
        if end - index >= minimum {
            result.append(contentsOf: replacement)
        } else if end > index {
            result.append(contentsOf: text[index..<end])
        } else {
            result.append(text[index])
            end += 1
        }
        index = end
    }
    return result
}

private func replaceAll(
    _ pattern: [Unicode.Scalar], with replacement: [Unicode.Scalar], in text: [Unicode.Scalar]
) -> [Unicode.Scalar] {
    guard let first = pattern.first else { return text }
    var result: [Unicode.Scalar] = []
    result.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
        if text[index] == first, text[index...].starts(with: pattern) {
            result.append(contentsOf: replacement)
            index += pattern.count
        } else {
            result.append(text[index])
            index += 1
        }
    }
    return result
}

/// normalizers/unicode.rs, `do_nmt`.
private func cleaned(_ scalar: Unicode.Scalar) -> Unicode.Scalar? {
    switch scalar.value {
    case 0x01...0x08, 0x0b, 0x0e...0x1f, 0x7f, 0x8f, 0x9f: nil
    case 0x09, 0x0a, 0x0c, 0x0d, 0x1680, 0x200b...0x200f, 0x2028, 0x2029, 0x2581, 0xfeff, 0xfffd: " "
    default: scalar
    }
}
