/// The properties of code points that token ids depend on, as the reference library sees them.
///
/// The tables are text (the other files of this extension) and are read when first needed; text that is ASCII needs
/// none of them. Swift's own `Unicode.Scalar.Properties` are not used: their version of Unicode changes with the
/// toolchain, and a token id must not.
enum UnicodeTables {
    static let letterSet = ScalarSet(ranges: letters)
    static let numberSet = ScalarSet(ranges: numbers)
    static let markSet = ScalarSet(ranges: marks)
    static let punctuationSet = ScalarSet(ranges: punctuation)
    static let wordExceptionSet = ScalarSet(ranges: wordExceptions)
    static let numericExceptionSet = ScalarSet(ranges: numericExceptions)
    static let lowercaseRuns = ScalarRuns(lowercase)
    static let compatibilityRuns = ScalarRuns(compatibilitySingles)
    static let compatibilityMap = scalarSequences(compatibilitySequences)
    static let combiningClassRuns = combiningClassTable(combiningClasses)

    /// `\s`, which is also Rust's `char::is_whitespace`: few enough to be written down.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0d, 0x20: true
        case 0..<0x80: false
        case 0x85, 0xa0, 0x1680, 0x2000...0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000: true
        default: false
        }
    }

    static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
        let value = scalar.value
        if value < 0x80 { return (value | 0x20) >= 0x61 && (value | 0x20) <= 0x7a }
        return letterSet.contains(value)
    }

    static func isNumber(_ scalar: Unicode.Scalar) -> Bool {
        let value = scalar.value
        if value < 0x80 { return value >= 0x30 && value <= 0x39 }
        return numberSet.contains(value)
    }

    static func isMark(_ scalar: Unicode.Scalar) -> Bool { scalar.value >= 0x300 && markSet.contains(scalar.value) }

    /// `\w`.
    static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        (isLetter(scalar) || isNumber(scalar) || isMark(scalar)) != wordExceptionSet.contains(scalar.value)
    }

    /// Rust's `char::is_numeric`, which is a younger `\p{N}`.
    static func isNumeric(_ scalar: Unicode.Scalar) -> Bool {
        isNumber(scalar) != (scalar.value >= 0x80 && numericExceptionSet.contains(scalar.value))
    }

    static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool { punctuationSet.contains(scalar.value) }
}

/// A set of code points, as ranges in order.
struct ScalarSet: Sendable {
    private var firsts: [UInt32] = []
    private var lasts: [UInt32] = []

    /// - Parameter ranges: `41-5A 61-7A AA`, ascending.
    init(ranges: String) {
        for word in ranges.utf8.split(separator: UInt8(ascii: " ")) {
            let ends = word.split(separator: UInt8(ascii: "-"))
            firsts.append(hexadecimal(ends[0]))
            lasts.append(hexadecimal(ends[ends.count - 1]))
        }
    }

    func contains(_ value: UInt32) -> Bool {
        let index = lastIndex(in: firsts, notAbove: value)
        return index >= 0 && value <= lasts[index]
    }
}

/// A map from code points to code points, as runs in order.
struct ScalarRuns: Sendable {
    private struct Run {
        var last: UInt32
        var step: UInt32
        var target: UInt32
    }
    private var firsts: [UInt32] = []
    private var runs: [Run] = []

    /// - Parameter words: `from>to`, `first-last>to`, `first-last/2>to`, ascending.
    init(_ words: String) {
        for word in words.utf8.split(separator: UInt8(ascii: " ")) {
            let sides = word.split(separator: UInt8(ascii: ">"))
            let halves = sides[0].split(separator: UInt8(ascii: "/"))
            let ends = halves[0].split(separator: UInt8(ascii: "-"))
            firsts.append(hexadecimal(ends[0]))
            runs.append(
                Run(
                    last: hexadecimal(ends[ends.count - 1]), step: halves.count > 1 ? 2 : 1,
                    target: hexadecimal(sides[1])))
        }
    }

    subscript(_ value: UInt32) -> UInt32? {
        let index = lastIndex(in: firsts, notAbove: value)
        guard index >= 0 else { return nil }
        let run = runs[index]
        let distance = value - firsts[index]
        guard value <= run.last, distance % run.step == 0 else { return nil }
        return run.target + distance
    }
}

/// `first-last:class` words as a map; ranges in which every code point has the same class.
private func combiningClassTable(_ words: String) -> [UInt32: UInt8] {
    var table: [UInt32: UInt8] = [:]
    for word in words.utf8.split(separator: UInt8(ascii: " ")) {
        let sides = word.split(separator: UInt8(ascii: ":"))
        let ends = sides[0].split(separator: UInt8(ascii: "-"))
        let value = sides[1].reduce(0 as UInt8) { $0 * 10 + ($1 - UInt8(ascii: "0")) }
        for scalar in hexadecimal(ends[0])...hexadecimal(ends[ends.count - 1]) { table[scalar] = value }
    }
    return table
}

/// `from>a,b,c` words as a map.
private func scalarSequences(_ words: String) -> [UInt32: [UInt32]] {
    var map: [UInt32: [UInt32]] = [:]
    for word in words.utf8.split(separator: UInt8(ascii: " ")) {
        let sides = word.split(separator: UInt8(ascii: ">"))
        map[hexadecimal(sides[0])] = sides[1].split(separator: UInt8(ascii: ",")).map(hexadecimal)
    }
    return map
}

/// The index of the last element that is not above `value`; -1 where all are.
private func lastIndex(in ascending: [UInt32], notAbove value: UInt32) -> Int {
    var low = 0
    var high = ascending.count
    while low < high {
        let middle = (low + high) / 2
        if ascending[middle] <= value { low = middle + 1 } else { high = middle }
    }
    return low - 1
}

/// A number in capital hexadecimal digits.
func hexadecimal(_ digits: some Sequence<UInt8>) -> UInt32 {
    digits.reduce(0) { $0 << 4 | UInt32($1 <= 0x39 ? $1 - 0x30 : $1 - 0x37) }
}
