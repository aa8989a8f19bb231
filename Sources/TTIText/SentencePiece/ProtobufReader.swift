internal import TTIFormats

/// Reads the wire format of protocol buffers, as far as a SentencePiece model needs it, over bytes that nobody vouches for.
///
/// Messages inside messages are slices of the same bytes, so nothing is allocated that the file does not hold.
struct ProtobufReader {
    enum Value {
        case varint(UInt64)
        case fixed32(UInt32)
        case fixed64(UInt64)
        case bytes(ArraySlice<UInt8>)
    }

    private let bytes: ArraySlice<UInt8>
    private var position: Int
    private let file: String

    init(_ bytes: ArraySlice<UInt8>, file: String) {
        self.bytes = bytes
        position = bytes.startIndex
        self.file = file
    }

    private func invalid(_ what: String) -> FormatError {
        FormatError(
            .invalid, "tokenizer.protobuf", "the model is not a protocol buffer: \(what)",
            at: "\(file), byte \(position)")
    }

    /// The next field of the message; nil at its end.
    mutating func next() throws(FormatError) -> (number: Int, value: Value)? {
        guard position < bytes.endIndex else { return nil }
        let tag = try varint()
        let number = tag >> 3
        guard number > 0, number < 1 << 29 else { throw invalid("a field has the number \(number)") }
        switch tag & 7 {
        case 0: return (Int(number), .varint(try varint()))
        case 1: return (Int(number), .fixed64(try fixed(8)))
        case 2:
            let length = try varint()
            guard length <= UInt64(bytes.endIndex - position) else {
                throw invalid("a field says that it has \(length) bytes, \(bytes.endIndex - position) are left")
            }
            let start = position
            position += Int(length)
            return (Int(number), .bytes(bytes[start..<position]))
        case 5: return (Int(number), .fixed32(UInt32(truncatingIfNeeded: try fixed(4))))
        default: throw invalid("a field has the wire type \(tag & 7)")
        }
    }

    private mutating func varint() throws(FormatError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0 as UInt64, through: 63, by: 7) {
            guard position < bytes.endIndex else { throw invalid("it ends within a number") }
            let byte = bytes[position]
            position += 1
            guard shift < 63 || byte <= 1 else { throw invalid("a number has more than 64 bits") }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw invalid("a number has more than 10 bytes")
    }

    private mutating func fixed(_ count: Int) throws(FormatError) -> UInt64 {
        guard bytes.endIndex - position >= count else { throw invalid("it ends within a number") }
        var value: UInt64 = 0
        for offset in 0..<count { value |= UInt64(bytes[position + offset]) << UInt64(8 * offset) }
        position += count
        return value
    }
}
