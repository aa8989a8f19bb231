/// The characters that stand for bytes in byte-level vocabularies (GPT-2's `bytes_to_unicode`): printable Latin-1 stands
/// for itself, the other 68 bytes for U+0100 and up.
enum ByteAlphabet {
    static let scalarFromByte: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0...255).map { (byte: UInt8) in
            switch byte {
            case 0x21...0x7e, 0xa1...0xac, 0xae...0xff: return Unicode.Scalar(byte)
            default:
                defer { next += 1 }
                return Unicode.Scalar(next) ?? "\u{fffd}"
            }
        }
    }()

    /// Indexed by code point; nil where a character stands for no byte.
    private static let byteFromScalar: [UInt8?] = {
        var table = Array(repeating: UInt8?.none, count: 0x144)
        for byte in 0...255 { table[Int(scalarFromByte[byte].value)] = UInt8(byte) }
        return table
    }()

    /// Text with a character for every byte of its UTF-8.
    static func spelled(_ text: ArraySlice<Unicode.Scalar>) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(text.count)
        for scalar in text {
            for byte in UTF8.encode(scalar) ?? .init() { result.append(scalarFromByte[Int(byte)]) }
        }
        return result
    }

    /// The bytes that a piece stands for; a piece with any other character stands for its own UTF-8.
    static func bytes(of piece: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        for scalar in String(decoding: piece, as: UTF8.self).unicodeScalars {
            guard scalar.value < byteFromScalar.count, let byte = byteFromScalar[Int(scalar.value)] else {
                return Array(piece)
            }
            result.append(byte)
        }
        return result
    }
}
