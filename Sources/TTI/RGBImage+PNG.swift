internal import TTIFormats

extension RGBImage {
    /// Reads a PNG: grey, palettes and 16 bits become eight-bit RGB, transparency is left out.
    /// - Throws: `TTIError` of code missingInput or invalidInput.
    public init(pngFile path: String) throws {
        let pixels = try translatingErrors { try PNG.decode(path: path) }
        self.init(width: pixels.width, height: pixels.height, pixels: pixels.bytes)
    }

    /// Writes a PNG. A file that is there is replaced in one step, when all of the new one is on the disk.
    /// - Throws: `TTIError` of code cannotCreate or inputOutput.
    public func writePNG(to path: String) throws {
        let bytes = try pngBytes()
        try translatingErrors { _ = try AtomicFile.write(bytes, to: path, ifExists: .overwrite) }
    }

    /// The bytes of a PNG with these text chunks.
    package func pngBytes(texts: [(keyword: String, text: String)] = []) throws(TTIError) -> [UInt8] {
        try translatingErrors { try PNG.encode(RGBPixels(width: width, height: height, bytes: pixels), texts: texts) }
    }
}
