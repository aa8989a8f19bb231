/// Unicode's normal forms (UAX #15) over the frozen tables.
enum NormalForm: Sendable {
    case nfc, nfd, nfkc, nfkd

    private var isCompatibility: Bool { self == .nfkc || self == .nfkd }
    private var isComposed: Bool { self == .nfc || self == .nfkc }

    /// Takes time in proportion to the text, or to n log n for a run of n marks.
    func normalize(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        // Below U+0300 everything is in NFC; below U+00A0 everything is in every form.
        let untouched: UInt32 = self == .nfc ? 0x300 : 0xa0
        if text.allSatisfy({ $0.value < untouched }) { return text }
        var scalars: [UInt32] = []
        scalars.reserveCapacity(text.count + text.count / 4)
        for scalar in text { decompose(scalar.value, into: &scalars) }
        var classes = scalars.map(combiningClass)
        order(&scalars, &classes)
        if isComposed { compose(&scalars, classes) }
        return scalars.map { Unicode.Scalar($0) ?? "\u{fffd}" }
    }

    private func decompose(_ scalar: UInt32, into scalars: inout [UInt32]) {
        if scalar < 0xa0 {
            scalars.append(scalar)
        } else if let syllable = Hangul.decomposed(scalar) {
            scalars.append(contentsOf: syllable)
        } else if isCompatibility, let single = UnicodeTables.compatibilityRuns[scalar] {
            scalars.append(single)
        } else if isCompatibility, let sequence = UnicodeTables.compatibilityMap[scalar] {
            scalars.append(contentsOf: sequence)
        } else if let sequence = CanonicalPairs.shared.decompositions[scalar] {
            scalars.append(contentsOf: sequence)
        } else {
            scalars.append(scalar)
        }
    }

    /// Puts each run of marks into the order of their classes; marks of one class keep theirs.
    private func order(_ scalars: inout [UInt32], _ classes: inout [UInt8]) {
        var start = 0
        while start < scalars.count {
            guard classes[start] != 0 else {
                start += 1
                continue
            }
            var end = start
            var isOrdered = true
            while end < scalars.count, classes[end] != 0 {
                if end > start, classes[end] < classes[end - 1] { isOrdered = false }
                end += 1
            }
            if !isOrdered {
                // The index makes the sort stable whatever the standard library does.
                let run = (start..<end).sorted { (classes[$0], $0) < (classes[$1], $1) }
                let sortedScalars = run.map { scalars[$0] }
                let sortedClasses = run.map { classes[$0] }
                scalars.replaceSubrange(start..<end, with: sortedScalars)
                classes.replaceSubrange(start..<end, with: sortedClasses)
            }
            start = end
        }
    }

    private func compose(_ scalars: inout [UInt32], _ classes: [UInt8]) {
        var output = 0
        var starter = -1
        var lastClass = 0
        for index in scalars.indices {
            let scalar = scalars[index]
            let ownClass = Int(classes[index])
            // Blocked when a mark of the same or a higher class stands between, or a starter that stayed.
            if starter >= 0, starter == output - 1 || (lastClass < ownClass && lastClass != 0),
                let composite = CanonicalPairs.shared.composite(scalars[starter], scalar)
            {
                scalars[starter] = composite
                continue
            }
            if ownClass == 0 { starter = output }
            lastClass = ownClass
            scalars[output] = scalar
            output += 1
        }
        scalars.removeLast(scalars.count - output)
    }
}

private func combiningClass(_ scalar: UInt32) -> UInt8 {
    scalar < 0x300 ? 0 : UnicodeTables.combiningClassRuns[scalar] ?? 0
}

/// Canonical decompositions, carried through to the end, and the pairs that compose.
private struct CanonicalPairs: Sendable {
    static let shared = CanonicalPairs()

    private(set) var decompositions: [UInt32: [UInt32]] = [:]
    private var composites: [UInt64: UInt32] = [:]

    private init() {
        var oneLevel: [UInt32: [UInt32]] = [:]
        for word in UnicodeTables.canonicalDecompositions.utf8.split(separator: UInt8(ascii: " ")) {
            guard let sign = word.firstIndex(where: { $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: ">") })
            else { continue }
            let source = hexadecimal(word[..<sign])
            let parts = word[word.index(after: sign)...].split(separator: UInt8(ascii: ",")).map(hexadecimal)
            oneLevel[source] = parts
            if word[sign] == UInt8(ascii: "=") { composites[Self.key(parts[0], parts[1])] = source }
        }
        func full(_ scalar: UInt32) -> [UInt32] { oneLevel[scalar]?.flatMap(full) ?? [scalar] }
        for source in oneLevel.keys { decompositions[source] = full(source) }
    }

    private static func key(_ first: UInt32, _ second: UInt32) -> UInt64 { UInt64(first) << 32 | UInt64(second) }

    func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        Hangul.composite(first, second) ?? composites[Self.key(first, second)]
    }
}

/// Hangul syllables are computed (The Unicode Standard, section 3.12).
private enum Hangul {
    private static let syllables: UInt32 = 0xac00
    private static let leading: UInt32 = 0x1100
    private static let vowels: UInt32 = 0x1161
    private static let trailing: UInt32 = 0x11a7
    private static let (leadingCount, vowelCount, trailingCount): (UInt32, UInt32, UInt32) = (19, 21, 28)

    static func decomposed(_ scalar: UInt32) -> [UInt32]? {
        guard scalar >= syllables, scalar < syllables + leadingCount * vowelCount * trailingCount else { return nil }
        let index = scalar - syllables
        let head = [
            leading + index / (vowelCount * trailingCount),
            vowels + index % (vowelCount * trailingCount) / trailingCount,
        ]
        return index % trailingCount == 0 ? head : head + [trailing + index % trailingCount]
    }

    static func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if first >= leading, first < leading + leadingCount, second >= vowels, second < vowels + vowelCount {
            return syllables + ((first - leading) * vowelCount + (second - vowels)) * trailingCount
        }
        guard first >= syllables, first < syllables + leadingCount * vowelCount * trailingCount,
            (first - syllables) % trailingCount == 0, second > trailing, second < trailing + trailingCount
        else { return nil }
        return first + (second - trailing)
    }
}
