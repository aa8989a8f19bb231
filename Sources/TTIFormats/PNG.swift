internal import CPNG
internal import TTICore

/// Pixels of a picture: `[height, width, 3]` bytes, red, green, blue, sRGB.
package struct RGBPixels: Sendable, Hashable {
    package let width: Int
    package let height: Int
    package let bytes: [UInt8]

    /// Traps when the count of bytes is not height · width · 3.
    package init(width: Int, height: Int, bytes: [UInt8]) {
        precondition(
            width > 0 && height > 0 && CheckedSize.product([width, height, 3]) == bytes.count,
            "\(bytes.count) bytes for a picture of \(width) × \(height)")
        self.width = width
        self.height = height
        self.bytes = bytes
    }
}

/// PNG files: pixels through libpng, text chunks by ourselves.
///
/// libpng is given the chunks that make the picture and nothing else, so that colour profiles, gamma and compressed texts
/// in a file are neither applied nor parsed: the pixels are what Pillow gives for `convert("RGB")`.
package enum PNG {
    /// How large a file may be.
    package static let byteLimit = 1 << 28

    /// A text chunk: what it is about, and the text.
    package typealias Text = (keyword: String, text: String)

    /// The file. The same pixels and texts give the same bytes with the same libpng.
    ///
    /// Throws `badInput` for a picture beyond the limits. Traps when a keyword is not 1…79 ASCII characters.
    package static func encode(_ pixels: RGBPixels, texts: [Text] = []) throws(FormatError) -> [UInt8] {
        guard pixels.width <= PNGHeader.sideLimit, pixels.height <= PNGHeader.sideLimit,
            pixels.width * pixels.height <= PNGHeader.pixelLimit
        else {
            throw FormatError(
                .badInput, "png.size", "a picture of \(pixels.width) × \(pixels.height) is too large for a PNG")
        }
        var image = unsafe png_image()
        unsafe image.version = png_uint_32(PNG_IMAGE_VERSION)
        unsafe image.width = png_uint_32(pixels.width)
        unsafe image.height = png_uint_32(pixels.height)
        unsafe image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
        defer { unsafe png_image_free(&image) }
        // Deflate adds at most five bytes a block of 16 KiB, a filter one byte a row, and a chunk of 8 KiB twelve.
        let capacity = (pixels.bytes.count + pixels.height) / 1000 * 1004 + 65_536
        var byteCount = capacity
        let picture = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { target, initialized in
            let isWritten = unsafe png_image_write_to_memory(
                &image, target.baseAddress, &byteCount, 0, pixels.bytes, 0, nil)
            initialized = isWritten == 0 ? 0 : min(byteCount, capacity)
        }
        guard picture.count > 33 else {
            let reason = unsafe message(&image)
            throw FormatError(.ioFailed, "png.encode", "libpng could not write the picture: \(reason)")
        }
        // Signature and IHDR take 33 bytes; texts come before the pixels.
        return Array(picture[..<33]) + texts.flatMap(textChunk) + picture[33...]
    }

    /// The pixels of a file; alpha is left out, grey, palettes and 16 bits are converted, and where an animation or
    /// profile is in the file it is not looked at.
    ///
    /// - Parameter name: what errors call the file.
    package static func decode(_ file: [UInt8], name: String) throws(FormatError) -> RGBPixels {
        let chunks = try PNGChunks(file, name: name)
        let header = chunks.header
        func error(_ what: String) -> FormatError { FormatError(.badInput, "png.damaged", what, at: name) }
        // Deflate makes at most 1032 bytes of one, so the memory needed is bounded by the file.
        let compressed = chunks.chunks.reduce(0) { $0 + ($1.type == "IDAT" ? $1.range.count : 0) }
        let raw = (header.width * header.bitsPerPixel + 7) / 8 * header.height
        guard raw / 1032 <= compressed else {
            throw error("the PNG has too few bytes for \(header.width) × \(header.height) pixels")
        }
        var picture = PNGChunks.signature
        picture.reserveCapacity(compressed + 4096)
        for chunk in chunks.chunks where ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"].contains(chunk.type) {
            picture += file[chunk.range.lowerBound - 8..<chunk.range.upperBound + 4]
        }
        var image = unsafe png_image()
        unsafe image.version = png_uint_32(PNG_IMAGE_VERSION)
        defer { unsafe png_image_free(&image) }
        // The library keeps the pointer until it has finished, so everything happens in here.
        let (bytes, channels) = unsafe picture.withUnsafeBytes { picture -> ([UInt8], Int) in
            guard unsafe png_image_begin_read_from_memory(&image, picture.baseAddress, picture.count) != 0,
                unsafe Int(image.width) == header.width, unsafe Int(image.height) == header.height
            else { return ([], 0) }
            // 16-bit files are sRGB too, not linear, which is what libpng would think.
            unsafe image.flags |= png_uint_32(PNG_IMAGE_FLAG_16BIT_sRGB)
            let hasAlpha = unsafe image.format & png_uint_32(PNG_FORMAT_FLAG_ALPHA) != 0
            unsafe image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR | (hasAlpha ? PNG_FORMAT_FLAG_ALPHA : 0))
            let channels = hasAlpha ? 4 : 3
            var bytes = [UInt8](repeating: 0, count: header.width * header.height * channels)
            let isRead = unsafe png_image_finish_read(&image, nil, &bytes, 0, nil)
            return isRead == 0 ? ([], 0) : (bytes, channels)
        }
        guard channels > 0 else {
            let reason = unsafe message(&image)
            throw error("the picture cannot be decoded: \(reason)")
        }
        guard channels == 4 else { return RGBPixels(width: header.width, height: header.height, bytes: bytes) }
        var opaque: [UInt8] = []
        opaque.reserveCapacity(header.width * header.height * 3)
        for pixel in stride(from: 0, to: bytes.count, by: 4) { opaque += bytes[pixel..<pixel + 3] }
        return RGBPixels(width: header.width, height: header.height, bytes: opaque)
    }

    /// Reads the pixels of the file at a path.
    package static func decode(path: String) throws(FormatError) -> RGBPixels {
        try decode(try read(path), name: quoted(path))
    }

    static func read(_ path: String) throws(FormatError) -> [UInt8] {
        do throws(FormatError) { return try readFile(path, limit: byteLimit) } catch { throw error.inInputFile }
    }

    /// libpng's words for what went wrong.
    private static func message(_ image: inout png_image) -> String {
        let text = unsafe withUnsafeBytes(of: &image.message) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return text.isEmpty ? "no reason given" : harmless(text)
    }
}
