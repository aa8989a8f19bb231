extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .text(ByteString(value)) }
    package init(integerLiteral value: Int) { self = .numeral(String(value)) }
    package init(floatLiteral value: Double) { self.init(value) }
    package init(booleanLiteral value: Bool) { self = .boolean(value) }
    package init(arrayLiteral elements: JSON...) { self = .list(elements) }
    package init(nilLiteral: ()) { self = .null }

    /// Members in the order written; a later value replaces an earlier one of the same key.
    package init(dictionaryLiteral elements: (String, JSON)...) {
        var object = JSONObject()
        for (key, value) in elements { object.set(ByteString(key), value) }
        self = .members(object)
    }

    package init(_ value: String) { self = .text(ByteString(value)) }
    package init(_ value: Int) { self = .numeral(String(value)) }
    package init(_ value: UInt64) { self = .numeral(String(value)) }
    package init(_ value: Bool) { self = .boolean(value) }

    /// The shortest text that reads back as the same number; null when it is infinite or not a number.
    package init(_ value: Double) {
        guard value.isFinite else {
            self = .null
            return
        }
        // "1.0" and "1e+20" are JSON as they stand; a whole number reads better without its ".0".
        let text = value.description
        self = .numeral(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
    }

    /// The document as text.
    ///
    /// - Parameters:
    ///   - isPretty: two spaces a level and a line a value, instead of one line.
    ///   - isASCII: everything beyond ASCII as escapes.
    package func text(isPretty: Bool = false, isASCII: Bool = false) -> String {
        String(decoding: bytes(isPretty: isPretty, isASCII: isASCII), as: UTF8.self)
    }

    /// The document as UTF-8.
    package func bytes(isPretty: Bool = false, isASCII: Bool = false) -> [UInt8] {
        var writer = JSONWriter(isPretty: isPretty, isASCII: isASCII)
        writer.write(self)
        return writer.bytes
    }
}

private struct JSONWriter {
    let isPretty: Bool
    let isASCII: Bool
    var bytes: [UInt8] = []
    var depth = 0

    init(isPretty: Bool, isASCII: Bool) {
        self.isPretty = isPretty
        self.isASCII = isASCII
    }

    /// Recursion is as deep as the value, which was either bounded when it was read or made by us.
    mutating func write(_ value: JSON) {
        switch value {
        case .null: add("null")
        case .boolean(let value): add(value ? "true" : "false")
        case .numeral(let text): add(text)
        case .text(let text): write(text)
        case .list(let elements):
            write("[", elements, "]") { (writer, element) in writer.write(element) }
        case .members(let object):
            write("{", object, "}") { (writer, member) in
                writer.write(member.key)
                writer.add(writer.isPretty ? ": " : ":")
                writer.write(member.value)
            }
        }
    }

    mutating func add(_ text: String) { bytes.append(contentsOf: text.utf8) }

    mutating func write<Items: Collection>(
        _ opening: String, _ items: Items, _ closing: String, _ item: (inout JSONWriter, Items.Element) -> Void
    ) {
        add(opening)
        depth += 1
        var isFirst = true
        for element in items {
            if !isFirst { add(",") }
            isFirst = false
            newLine()
            item(&self, element)
        }
        depth -= 1
        if !items.isEmpty { newLine() }
        add(closing)
    }

    mutating func newLine() {
        if isPretty { add("\n" + String(repeating: "  ", count: depth)) }
    }

    mutating func write(_ text: ByteString) {
        add("\"")
        for scalar in text.string.unicodeScalars {
            switch scalar {
            case "\"": add("\\\"")
            case "\\": add("\\\\")
            case "\n": add("\\n")
            case "\r": add("\\r")
            case "\t": add("\\t")
            case _ where scalar.value < 0x20 || scalar.value == 0x7f || (isASCII && scalar.value > 0x7f):
                for unit in Character(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    add("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
                }
            default: bytes.append(contentsOf: Character(scalar).utf8)
            }
        }
        add("\"")
    }
}
