/// A JSON value: ordered objects with byte-exact keys, numbers kept as their text until somebody asks.
package enum JSON: Sendable, Hashable {
    case null
    case boolean(Bool)
    /// The number as the document writes it.
    case numeral(String)
    case text(ByteString)
    case list([JSON])
    case members(JSONObject)

    /// How deep a configuration may be nested.
    package static let configurationDepth = 32

    /// Reads one JSON document; throws `json.syntax` with line and column for anything that RFC 8259 does not allow, and
    /// for duplicate keys, which readers disagree about.
    ///
    /// - Parameter file: what errors call the document.
    package init(_ bytes: [UInt8], file: String, maximumDepth: Int = configurationDepth) throws(FormatError) {
        var scanner = JSONScanner(bytes, file: file, maximumDepth: maximumDepth)
        self = try scanner.value()
        try scanner.end()
    }

    /// The member of an object; nil when there is none, or this is no object.
    package subscript(_ key: String) -> JSON? { object?[key] }

    /// The text of a string. Compare it with `==` only to names that are ASCII; else use `byteString`.
    package var string: String? { if case .text(let text) = self { text.string } else { nil } }

    /// The text of a string, equal only to the same bytes.
    package var byteString: ByteString? { if case .text(let text) = self { text } else { nil } }

    /// A number written as an integer that fits: `1`, not `1.0` or `1e0`.
    package var integer: Int? { if case .numeral(let text) = self { Int(text) } else { nil } }

    /// A number; nil when it is too large for a Double.
    package var number: Double? {
        guard case .numeral(let text) = self, let value = Double(text), value.isFinite else { return nil }
        return value
    }

    package var bool: Bool? { if case .boolean(let value) = self { value } else { nil } }
    package var array: [JSON]? { if case .list(let elements) = self { elements } else { nil } }
    package var object: JSONObject? { if case .members(let object) = self { object } else { nil } }
    package var isNull: Bool { self == .null }

    /// What this is, for an error: "a string", "an object" …
    package var kindName: String {
        switch self {
        case .null: "null"
        case .boolean: "true or false"
        case .numeral(let text): "the number \(harmless(text, limit: 30))"
        case .text(let text): "the string \(quoted(text.string, limit: 40))"
        case .list: "an array"
        case .members: "an object"
        }
    }
}

/// The members of a JSON object in the order of the document; no key occurs twice.
package struct JSONObject: Sendable, Hashable, RandomAccessCollection {
    package typealias Element = (key: ByteString, value: JSON)

    private var keys: [ByteString] = []
    private var values: [JSON] = []
    /// Where each key stands; only kept for objects that are too large to be searched.
    private var indexFromKey: [ByteString: Int] = [:]
    private static let searchedCount = 8

    package init() {}

    package var startIndex: Int { 0 }
    package var endIndex: Int { keys.count }
    package subscript(position: Int) -> Element { (keys[position], values[position]) }

    package subscript(_ key: ByteString) -> JSON? { index(of: key).map { values[$0] } }
    package subscript(_ key: String) -> JSON? { self[ByteString(key)] }

    private func index(of key: ByteString) -> Int? {
        if keys.count <= Self.searchedCount { return keys.firstIndex(of: key) }
        return indexFromKey[key]
    }

    /// Adds a member at the end; false, and nothing added, when the key is there already.
    package mutating func append(_ key: ByteString, _ value: JSON) -> Bool {
        if keys.count < Self.searchedCount {
            if keys.contains(key) { return false }
        } else {
            if keys.count == Self.searchedCount {
                for (position, key) in keys.enumerated() { indexFromKey[key] = position }
            }
            // Storing first and looking at what was there hashes the key once.
            if let before = indexFromKey.updateValue(keys.count, forKey: key) {
                indexFromKey[key] = before
                return false
            }
        }
        keys.append(key)
        values.append(value)
        return true
    }

    /// Adds a member, or replaces the value of the one with that key.
    package mutating func set(_ key: ByteString, _ value: JSON) {
        if let position = index(of: key) { values[position] = value } else { _ = append(key, value) }
    }
}

extension JSONScanner {
    /// Reads any value as a tree. Recursion is bounded by the scanner's depth.
    package mutating func value() throws(FormatError) -> JSON {
        switch try kind() {
        case .null:
            try null()
            return .null
        case .bool: return .boolean(try bool())
        case .number: return .numeral(try number())
        case .string: return .text(try string())
        case .array:
            try enterArray()
            var elements: [JSON] = []
            while try nextElement(isFirst: elements.isEmpty) { elements.append(try value()) }
            return .list(elements)
        case .object:
            try enterObject()
            var object = JSONObject()
            while let key = try nextKey(isFirst: object.isEmpty) {
                let offset = position
                guard object.append(key, try value()) else {
                    throw error("the JSON has the key \(quoted(key.string)) twice", at: offset)
                }
            }
            return .members(object)
        }
    }

    /// Reads over any value, with the same checks but no memory, except that duplicate keys inside it are not looked for.
    package mutating func skip() throws(FormatError) {
        switch try kind() {
        case .null: try null()
        case .bool: _ = try bool()
        case .number: _ = try number()
        case .string: _ = try string()
        case .array:
            try enterArray()
            var isFirst = true
            while try nextElement(isFirst: isFirst) {
                isFirst = false
                try skip()
            }
        case .object:
            try enterObject()
            var isFirst = true
            while try nextKey(isFirst: isFirst) != nil {
                isFirst = false
                try skip()
            }
        }
    }
}
