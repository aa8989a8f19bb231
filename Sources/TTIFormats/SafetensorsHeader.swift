internal import TTICore

/// One tensor of a safetensors file, as the header describes it; checked against the file.
package struct SafetensorsEntry: Sendable {
    package let name: String
    /// The element type's name in the file, which may be one that we do not know.
    package let dtypeName: String
    package let extents: [Int]
    /// Where its bytes are, counted from the end of the header.
    package let range: Range<Int>
}

/// The header of a safetensors file: names, types, shapes and places of tensors.
///
/// As strict as the format's own description and a little stricter than its reference, which takes duplicate names (last
/// wins), control characters in names and any rank. Everything is checked before anything is used.
struct SafetensorsHeader {
    static let byteLimit = 100_000_000
    static let tensorLimit = 1_000_000
    static let rankLimit = 8
    static let nameLimit = 1024

    private(set) var entries: [SafetensorsEntry] = []
    private(set) var indexFromName: [ByteString: Int] = [:]
    private(set) var metadata: [(key: String, value: String)] = []
    /// Fields of entries that the format does not define; they are read over.
    private(set) var unknownFields: Set<String> = []

    private let file: String

    /// - Parameters:
    ///   - json: the header, without the eight bytes of its length.
    ///   - dataByteCount: how many bytes follow the header.
    ///   - file: what errors call the file.
    init(json: [UInt8], dataByteCount: Int, file: String) throws(FormatError) {
        self.file = file
        // The header needs three levels; what we do not know may have more.
        var scanner = JSONScanner(json, file: "the header of \(file)", maximumDepth: JSON.configurationDepth)
        try scanner.enterObject()
        var isFirst = true
        var hasMetadata = false
        while let key = try scanner.nextKey(isFirst: isFirst) {
            isFirst = false
            if key == "__metadata__" {
                guard !hasMetadata else { throw error("model.header", "there are two '__metadata__'") }
                hasMetadata = true
                try readMetadata(&scanner)
            } else {
                guard indexFromName.updateValue(entries.count, forKey: key) == nil else {
                    throw error("model.header", "the tensor \(quoted(key.string)) is described twice")
                }
                guard entries.count < Self.tensorLimit else {
                    throw error("model.header", "there are more than \(Self.tensorLimit) tensors")
                }
                try checkName(key)
                entries.append(try readEntry(&scanner, key.string))
            }
        }
        try scanner.end()
        try checkPlaces(dataByteCount: dataByteCount)
    }

    private func error(_ code: String, _ what: String, try remedy: String? = nil) -> FormatError {
        FormatError(.invalid, code, what, at: file, try: remedy)
    }

    private func checkName(_ name: ByteString) throws(FormatError) {
        guard name.utf8.count <= Self.nameLimit else {
            throw error(
                "model.header", "the name of tensor \(quoted(name.string)) has more than \(Self.nameLimit) bytes")
        }
        for scalar in name.string.unicodeScalars where scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) {
            throw error("model.header", "the name of tensor \(quoted(name.string)) has a control character")
        }
    }

    private mutating func readMetadata(_ scanner: inout JSONScanner) throws(FormatError) {
        // The reference takes null for none.
        if try scanner.kind() == .null { return try scanner.null() }
        try scanner.enterObject()
        var keys: Set<ByteString> = []
        while let key = try scanner.nextKey(isFirst: keys.isEmpty) {
            guard keys.insert(key).inserted else {
                throw error("model.header", "the metadata has the key \(quoted(key.string)) twice")
            }
            guard try scanner.kind() == .string else {
                throw error("model.header", "the metadata \(quoted(key.string)) is no string")
            }
            metadata.append((key.string, try scanner.string().string))
        }
    }

    private mutating func readEntry(_ scanner: inout JSONScanner, _ name: String) throws(FormatError)
        -> SafetensorsEntry
    {
        guard try scanner.kind() == .object else {
            throw error("model.header", "the tensor \(quoted(name)) is not described by an object")
        }
        try scanner.enterObject()
        var dtypeName: String?
        var extents: [Int]?
        var offsets: [Int]?
        var isFirst = true
        while let key = try scanner.nextKey(isFirst: isFirst) {
            isFirst = false
            let isRepeated: Bool
            switch key {
            case "dtype":
                isRepeated = dtypeName != nil
                guard try scanner.kind() == .string else {
                    throw error("model.header", "the dtype of tensor \(quoted(name)) is no string")
                }
                dtypeName = try scanner.string().string
            case "shape":
                isRepeated = extents != nil
                extents = try readSizes(&scanner, "shape", name, limit: Self.rankLimit)
            case "data_offsets":
                isRepeated = offsets != nil
                offsets = try readSizes(&scanner, "data_offsets", name, limit: 2)
            default:
                isRepeated = false
                if unknownFields.count < 16 { unknownFields.insert(key.string) }
                try scanner.skip()
            }
            if isRepeated {
                throw error("model.header", "the tensor \(quoted(name)) has the field \(quoted(key.string)) twice")
            }
        }
        guard let dtypeName, let extents, let offsets else {
            let missing = dtypeName == nil ? "dtype" : extents == nil ? "shape" : "data_offsets"
            throw error("model.header", "the tensor \(quoted(name)) has no \(missing)")
        }
        guard offsets.count == 2, offsets[0] <= offsets[1] else {
            throw error("model.geometry", "the data_offsets of tensor \(quoted(name)) are no range")
        }
        let entry = SafetensorsEntry(
            name: name, dtypeName: dtypeName, extents: extents, range: offsets[0]..<offsets[1])
        try checkByteCount(entry)
        return entry
    }

    /// An array of at most `limit` sizes: digits alone, so no `-0`, `1.0` or `1e0`.
    private func readSizes(
        _ scanner: inout JSONScanner, _ field: String, _ name: String, limit: Int
    ) throws(FormatError) -> [Int] {
        guard try scanner.kind() == .array else {
            throw error("model.header", "the \(field) of tensor \(quoted(name)) is no array")
        }
        try scanner.enterArray()
        var sizes: [Int] = []
        while try scanner.nextElement(isFirst: sizes.isEmpty) {
            guard sizes.count < limit else {
                throw error("model.header", "the \(field) of tensor \(quoted(name)) has more than \(limit) numbers")
            }
            guard try scanner.kind() == .number else {
                throw error("model.header", "the \(field) of tensor \(quoted(name)) has something else than numbers")
            }
            let text = try scanner.number()
            guard !text.hasPrefix("-"), let size = Int(text) else {
                throw error(
                    "model.header",
                    "the \(field) of tensor \(quoted(name)) has \(harmless(text, limit: 40)), which is no size")
            }
            sizes.append(size)
        }
        return sizes
    }

    private func checkByteCount(_ entry: SafetensorsEntry) throws(FormatError) {
        guard let elementCount = CheckedSize.product(entry.extents) else {
            throw error("model.geometry", "the shape of tensor \(quoted(entry.name)) is too large: \(entry.extents)")
        }
        // Without knowing the type, nothing can be said about the bytes.
        guard let bits = bitCount(ofSafetensorsDType: entry.dtypeName) else { return }
        guard let bitCount = CheckedSize.product([elementCount, bits]) else {
            throw error("model.geometry", "the shape of tensor \(quoted(entry.name)) is too large: \(entry.extents)")
        }
        guard bitCount % 8 == 0, bitCount / 8 == entry.range.count else {
            let needed = bitCount / 8 + (bitCount % 8 == 0 ? 0 : 1)
            throw error(
                "model.geometry",
                "the tensor \(quoted(entry.name)) of shape \(entry.extents) and type \(harmless(entry.dtypeName, limit: 20))"
                    + " needs \(needed) bytes, but its data_offsets span \(entry.range.count)")
        }
    }

    /// All data must belong to exactly one tensor: no gaps, no overlap, nothing missing at the end and nothing left over.
    private func checkPlaces(dataByteCount: Int) throws(FormatError) {
        let ordered = entries.indices.sorted {
            let (a, b) = (entries[$0].range, entries[$1].range)
            return (a.lowerBound, a.upperBound) < (b.lowerBound, b.upperBound)
        }
        var end = 0
        for index in ordered {
            let entry = entries[index]
            guard entry.range.lowerBound == end else {
                let trouble = entry.range.lowerBound < end ? "overlaps another one" : "leaves a gap before it"
                throw error(
                    "model.geometry",
                    "the tensor \(quoted(entry.name)) at bytes \(entry.range.lowerBound)..<\(entry.range.upperBound) \(trouble)"
                )
            }
            end = entry.range.upperBound
        }
        if end > dataByteCount {
            throw error(
                "model.truncated", "the file ends early: its tensors have \(end) bytes, and \(dataByteCount) are there",
                try: "download or copy it again")
        }
        if end < dataByteCount {
            let extra = dataByteCount - end
            let words =
                extra == 1 ? "byte follows the last tensor and belongs" : "bytes follow the last tensor and belong"
            throw error(
                "model.geometry", "\(extra) \(words) to none",
                try: "download or copy it again")
        }
    }
}

/// Bits of one element of a safetensors type; nil for a name that the format does not have.
func bitCount(ofSafetensorsDType name: String) -> Int? {
    if let dtype = DType(safetensorsName: name) { return dtype.byteCount * 8 }
    return switch name {
    case "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ": 8
    case "F6_E2M3", "F6_E3M2": 6
    case "F4": 4
    case "C64": 64
    default: nil
    }
}

extension DType {
    /// The type that a safetensors file calls so; nil for those that we cannot compute with.
    package init?(safetensorsName name: String) {
        guard let dtype = DType.allCases.first(where: { $0.safetensorsName == name }) else { return nil }
        self = dtype
    }

    /// What a safetensors file calls this type.
    package var safetensorsName: String {
        switch self {
        case .float64: "F64"
        case .float32: "F32"
        case .float16: "F16"
        case .bfloat16: "BF16"
        case .float8e4m3: "F8_E4M3"
        case .float8e5m2: "F8_E5M2"
        case .int64: "I64"
        case .int32: "I32"
        case .int16: "I16"
        case .int8: "I8"
        case .uint64: "U64"
        case .uint32: "U32"
        case .uint16: "U16"
        case .uint8: "U8"
        case .bool: "BOOL"
        }
    }
}
