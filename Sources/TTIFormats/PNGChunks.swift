/// One chunk of a PNG file.
struct PNGChunk {
    /// Four letters.
    let type: String
    /// Its bytes in the file, without length, type and checksum.
    let range: Range<Int>
}

/// The chunks of a PNG file from IHDR to IEND, with lengths, order and checksums checked.
struct PNGChunks {
    static let signature: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
    /// How many chunks a file may have; a large picture has some tens of thousands.
    static let countLimit = 100_000
    /// How large a chunk other than IDAT may be.
    static let byteLimit = 16 << 20

    let chunks: [PNGChunk]
    let header: PNGHeader

    /// - Parameter name: what errors call the file.
    init(_ file: [UInt8], name: String) throws(FormatError) {
        func error(_ what: String) -> FormatError { FormatError(.badInput, "png.damaged", what, at: name) }
        guard file.starts(with: Self.signature) else {
            throw FormatError(
                .badInput, "png.format", file.isEmpty ? "the file is empty" : "this is not a PNG file", at: name)
        }
        var chunks: [PNGChunk] = []
        var position = 8
        while true {
            guard file.count - position >= 12 else { throw error("the PNG ends before its IEND chunk") }
            let length = Int(bigEndian32(file, position))
            let type = String(decoding: file[position + 4..<position + 8], as: UTF8.self)
            guard file[position + 4..<position + 8].allSatisfy({ (0x41...0x5a).contains($0 & 0xdf) }) else {
                throw error("the PNG has no chunk at byte \(position), where one should begin")
            }
            guard length <= file.count - position - 12 else {
                throw error("the PNG ends in its chunk \(type) at byte \(position)")
            }
            guard type == "IDAT" || length <= Self.byteLimit else {
                throw error(
                    "the PNG's chunk \(type) at byte \(position) has \(byteText(length)), more than \(byteText(Self.byteLimit))"
                )
            }
            let range = position + 8..<position + 8 + length
            guard crc32(file[position + 4..<range.upperBound]) == bigEndian32(file, range.upperBound) else {
                throw error("the PNG's chunk \(type) at byte \(position) is damaged: its checksum is wrong")
            }
            guard chunks.isEmpty == (type == "IHDR") else { throw error("the PNG does not begin with one IHDR chunk") }
            guard chunks.count < Self.countLimit else { throw error("the PNG has more than \(Self.countLimit) chunks") }
            chunks.append(PNGChunk(type: type, range: range))
            position = range.upperBound + 4
            // What follows IEND belongs to nobody; readers leave it alone.
            if type == "IEND" { break }
        }
        self.chunks = chunks
        header = try PNGHeader(file[chunks[0].range], name: name)
    }

    /// The bytes of a chunk with length, type and checksum.
    static func chunk(_ type: String, _ contents: [UInt8]) -> [UInt8] {
        let body = Array(type.utf8) + contents
        return bigEndian(UInt32(contents.count)) + body + bigEndian(crc32(body[...]))
    }
}

/// What IHDR says, within our limits.
struct PNGHeader {
    static let sideLimit = 16_384
    static let pixelLimit = 1 << 26

    let width: Int
    let height: Int
    /// Bits of one pixel in the file.
    let bitsPerPixel: Int

    init(_ bytes: ArraySlice<UInt8>, name: String) throws(FormatError) {
        func error(_ what: String) -> FormatError { FormatError(.badInput, "png.damaged", what, at: name) }
        let bytes = Array(bytes)
        guard bytes.count == 13 else { throw error("the PNG's IHDR chunk has \(bytes.count) bytes instead of 13") }
        width = Int(bigEndian32(bytes, 0))
        height = Int(bigEndian32(bytes, 4))
        guard width > 0, height > 0 else { throw error("the picture has no pixels: \(width) × \(height)") }
        guard width <= Self.sideLimit, height <= Self.sideLimit, width * height <= Self.pixelLimit else {
            throw FormatError(
                .badInput, "png.size",
                "the picture is too large: \(width) × \(height), of at most \(Self.sideLimit) a side and"
                    + " \(Self.pixelLimit) pixels", at: name)
        }
        let depth = Int(bytes[8])
        let channels: Int
        let depths: [Int]
        switch bytes[9] {
        case 0: (channels, depths) = (1, [1, 2, 4, 8, 16])
        case 2: (channels, depths) = (3, [8, 16])
        case 3: (channels, depths) = (1, [1, 2, 4, 8])
        case 4: (channels, depths) = (2, [8, 16])
        case 6: (channels, depths) = (4, [8, 16])
        default: throw error("the PNG has the unknown colour type \(bytes[9])")
        }
        guard depths.contains(depth) else {
            throw error("the PNG has \(depth) bits a channel in colour type \(bytes[9])")
        }
        guard bytes[10] == 0, bytes[11] == 0, bytes[12] <= 1 else {
            throw error("the PNG is compressed, filtered or interlaced in an unknown way")
        }
        bitsPerPixel = depth * channels
    }
}

func bigEndian32(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
    UInt32(bytes[offset]) << 24 | UInt32(bytes[offset + 1]) << 16 | UInt32(bytes[offset + 2]) << 8
        | UInt32(bytes[offset + 3])
}

func bigEndian(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

private let crcTable: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? 0xedb8_8320 ^ (value >> 1) : value >> 1 }
}

/// The checksum of PNG and zip: reflected polynomial 0x04c11db7.
func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    let table = crcTable
    var crc: UInt32 = 0xffff_ffff
    for byte in bytes { crc = table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ (crc >> 8) }
    return ~crc
}
