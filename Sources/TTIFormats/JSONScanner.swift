/// Reads JSON piece by piece, strictly as RFC 8259 has it, over bytes that nobody vouches for.
///
/// UTF-8 only and checked, no byte order mark, no lone surrogates, no NaN, no trailing commas, no comments; nesting is
/// bounded. Memory is never more than what is asked for, so a header of 100 MB costs nothing but time.
package struct JSONScanner {
    private let bytes: [UInt8]
    /// What errors call the document.
    private let file: String
    private let maximumDepth: Int
    private var depth = 0
    /// The next byte to be read.
    package private(set) var position = 0

    package init(_ bytes: [UInt8], file: String, maximumDepth: Int) {
        self.bytes = bytes
        self.file = file
        self.maximumDepth = maximumDepth
    }

    /// What the next value is.
    package enum Kind: Sendable {
        case object, array, string, number, bool, null
    }

    /// An error at a byte, with line and column (in bytes).
    package func error(_ what: String, at offset: Int? = nil) -> FormatError {
        let offset = min(offset ?? position, bytes.count)
        var line = 1
        var lineStart = 0
        for index in 0..<offset where bytes[index] == UInt8(ascii: "\n") {
            line += 1
            lineStart = index + 1
        }
        return FormatError(
            .invalid, "json.syntax", what, at: "\(file), line \(line), column \(offset - lineStart + 1)")
    }

    private mutating func skipWhitespace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0a, 0x0d, 0x09: position += 1
            default: return
            }
        }
    }

    private func unexpected(_ wanted: String) -> FormatError {
        guard position < bytes.count else { return error("the JSON ends where \(wanted) should be") }
        let byte = bytes[position]
        if position == 0, byte == 0xef || byte == 0xfe || byte == 0xff {
            return error("the JSON starts with a byte order mark or is not UTF-8")
        }
        let found =
            byte > 0x20 && byte < 0x7f
            ? "'\(Character(Unicode.Scalar(byte)))'" : "byte 0x\(String(byte, radix: 16))"
        return error("the JSON has \(found) where \(wanted) should be")
    }

    /// Looks at the next value without reading it.
    package mutating func kind() throws(FormatError) -> Kind {
        skipWhitespace()
        guard position < bytes.count else { throw unexpected("a value") }
        switch bytes[position] {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        default: throw unexpected("a value")
        }
    }

    // MARK: Objects and arrays

    /// Reads `{`; the members follow with `nextKey`.
    package mutating func enterObject() throws(FormatError) { try enter(UInt8(ascii: "{"), "an object") }

    /// Reads `[`; the elements follow with `nextElement`.
    package mutating func enterArray() throws(FormatError) { try enter(UInt8(ascii: "["), "an array") }

    private mutating func enter(_ bracket: UInt8, _ wanted: String) throws(FormatError) {
        skipWhitespace()
        guard position < bytes.count, bytes[position] == bracket else { throw unexpected(wanted) }
        guard depth < maximumDepth else { throw error("the JSON is nested deeper than \(maximumDepth) levels") }
        depth += 1
        position += 1
    }

    /// The key of the object's next member, up to and with its colon, or nil after the `}`.
    package mutating func nextKey(isFirst: Bool) throws(FormatError) -> ByteString? {
        guard try next(UInt8(ascii: "}"), isFirst: isFirst) else { return nil }
        skipWhitespace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { throw unexpected("a key") }
        let key = try string()
        skipWhitespace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: ":") else { throw unexpected("':'") }
        position += 1
        return key
    }

    /// Whether another element of the array follows; reads the comma before it, or the `]`.
    package mutating func nextElement(isFirst: Bool) throws(FormatError) -> Bool {
        try next(UInt8(ascii: "]"), isFirst: isFirst)
    }

    private mutating func next(_ end: UInt8, isFirst: Bool) throws(FormatError) -> Bool {
        skipWhitespace()
        guard position < bytes.count else { throw unexpected("'\(Character(Unicode.Scalar(end)))'") }
        if bytes[position] == end {
            position += 1
            depth -= 1
            return false
        }
        if isFirst { return true }
        guard bytes[position] == UInt8(ascii: ",") else {
            throw unexpected("',' or '\(Character(Unicode.Scalar(end)))'")
        }
        position += 1
        return true
    }

    // MARK: Values

    /// Reads `true` or `false`.
    package mutating func bool() throws(FormatError) -> Bool {
        skipWhitespace()
        if word("true") { return true }
        if word("false") { return false }
        throw unexpected("true or false")
    }

    /// Reads `null`.
    package mutating func null() throws(FormatError) {
        skipWhitespace()
        if !word("null") { throw unexpected("null") }
    }

    private mutating func word(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard bytes.count - position >= count else { return false }
        let matches = word.withUTF8Buffer { letters in
            unsafe letters.elementsEqual(bytes[position..<position + count])
        }
        if matches { position += count }
        return matches
    }

    /// Reads a number and gives its text as it stands.
    package mutating func number() throws(FormatError) -> String {
        skipWhitespace()
        let start = position
        if at(UInt8(ascii: "-")) { position += 1 }
        if at(UInt8(ascii: "0")) {
            position += 1
            if position < bytes.count, isDigit(bytes[position]) {
                throw error("a number begins with a zero", at: start)
            }
        } else {
            try digits()
        }
        if at(UInt8(ascii: ".")) {
            position += 1
            try digits()
        }
        if at(UInt8(ascii: "e")) || at(UInt8(ascii: "E")) {
            position += 1
            if at(UInt8(ascii: "+")) || at(UInt8(ascii: "-")) { position += 1 }
            try digits()
        }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private func at(_ byte: UInt8) -> Bool { position < bytes.count && bytes[position] == byte }

    private mutating func digits() throws(FormatError) {
        guard position < bytes.count, isDigit(bytes[position]) else { throw unexpected("a digit") }
        while position < bytes.count, isDigit(bytes[position]) { position += 1 }
    }

    /// Reads a string.
    package mutating func string() throws(FormatError) -> ByteString {
        skipWhitespace()
        guard at(UInt8(ascii: "\"")) else { throw unexpected("a string") }
        position += 1
        let start = position
        while position < bytes.count {
            position = endOfPlainASCII(from: position)
            guard position < bytes.count else { break }
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                return ByteString(decoding: bytes[start..<position - 1])
            }
            if byte == UInt8(ascii: "\\") { return try stringWithEscapes(from: start) }
            try plainCharacter(byte)
        }
        throw unexpected("the end of a string")
    }

    /// The next byte that is a quote, an escape, a control character or not ASCII.
    private func endOfPlainASCII(from start: Int) -> Int {
        var index = start
        while index < bytes.count {
            let byte = bytes[index]
            if byte < 0x20 || byte >= 0x80 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { break }
            index += 1
        }
        return index
    }

    /// Goes over one character of a string that is neither a quote nor an escape, checking that it is UTF-8.
    private mutating func plainCharacter(_ byte: UInt8) throws(FormatError) {
        if byte >= 0x20, byte < 0x80 {
            position += 1
            return
        }
        if byte < 0x20 { throw error("a control character stands unescaped in a string") }
        // Table 3-7 of the Unicode standard: well-formed byte sequences.
        let count: Int
        var second: ClosedRange<UInt8> = 0x80...0xbf
        switch byte {
        case 0xc2...0xdf: count = 2
        case 0xe0: (count, second) = (3, 0xa0...0xbf)
        case 0xed: (count, second) = (3, 0x80...0x9f)
        case 0xe1...0xef: count = 3
        case 0xf0: (count, second) = (4, 0x90...0xbf)
        case 0xf4: (count, second) = (4, 0x80...0x8f)
        case 0xf1...0xf3: count = 4
        default: throw error("a string is not UTF-8")
        }
        guard bytes.count - position >= count, second.contains(bytes[position + 1]) else {
            throw error("a string is not UTF-8")
        }
        for offset in 2..<max(count, 2) where bytes[position + offset] & 0xc0 != 0x80 {
            throw error("a string is not UTF-8")
        }
        position += count
    }

    private mutating func stringWithEscapes(from start: Int) throws(FormatError) -> ByteString {
        var result = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                return ByteString(decoding: result)
            }
            if byte == UInt8(ascii: "\\") {
                result.append(contentsOf: Character(try escape()).utf8)
            } else {
                let from = position
                try plainCharacter(byte)
                result.append(contentsOf: bytes[from..<position])
            }
        }
        throw unexpected("the end of a string")
    }

    private mutating func escape() throws(FormatError) -> Unicode.Scalar {
        let start = position
        position += 1
        guard position < bytes.count else { throw unexpected("the end of an escape") }
        let letter = bytes[position]
        position += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(letter)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): break
        default: throw error("a string has an unknown escape", at: start)
        }
        let first = try fourHexDigits()
        if let scalar = Unicode.Scalar(first) { return scalar }
        // The first half of a surrogate pair must be followed by the second.
        guard first < 0xdc00, at(UInt8(ascii: "\\")), position + 1 < bytes.count,
            bytes[position + 1] == UInt8(ascii: "u")
        else { throw error("a string has half of a surrogate pair", at: start) }
        position += 2
        let second = try fourHexDigits()
        guard (0xdc00...0xdfff).contains(second),
            let scalar = Unicode.Scalar(0x10000 + ((first - 0xd800) << 10 | (second - 0xdc00)))
        else { throw error("a string has half of a surrogate pair", at: start) }
        return scalar
    }

    private mutating func fourHexDigits() throws(FormatError) -> UInt32 {
        guard bytes.count - position >= 4 else { throw error("the JSON ends in an escape", at: bytes.count) }
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = bytes[position]
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw unexpected("a hexadecimal digit")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    /// Nothing but white space may follow.
    package mutating func end() throws(FormatError) {
        skipWhitespace()
        guard position == bytes.count else { throw unexpected("the end of the JSON") }
    }
}

private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
