extension PNG {
    /// A chunk for a text: `tEXt` when it is ASCII, else `iTXt`, uncompressed.
    static func textChunk(_ text: Text) -> [UInt8] {
        let keyword = Array(text.keyword.utf8)
        precondition(
            (1...79).contains(keyword.count) && keyword.allSatisfy { (0x20...0x7e).contains($0) },
            "'\(text.keyword)' is no keyword for a PNG")
        // A NUL would end the text for some readers.
        let bytes = Array(text.text.utf8.contains(0) ? Array(text.text.replacingNUL.utf8) : Array(text.text.utf8))
        if bytes.allSatisfy({ $0 < 0x80 }) { return PNGChunks.chunk("tEXt", keyword + [0] + bytes) }
        // Not compressed, no language, no translated keyword.
        return PNGChunks.chunk("iTXt", keyword + [0, 0, 0, 0, 0] + bytes)
    }

    /// The texts of a file in their order, without decoding its pixels. Compressed texts are left out.
    ///
    /// - Parameter name: what errors call the file.
    package static func texts(_ file: [UInt8], name: String) throws(FormatError) -> [Text] {
        let chunks = try PNGChunks(file, name: name)
        var texts: [Text] = []
        for chunk in chunks.chunks where chunk.type == "tEXt" || chunk.type == "iTXt" {
            let bytes = file[chunk.range]
            guard let text = chunk.type == "tEXt" ? latinText(bytes) : internationalText(bytes) else {
                throw FormatError(
                    .badInput, "png.damaged", "the PNG's text chunk at byte \(chunk.range.lowerBound - 8) is damaged",
                    at: name)
            }
            if let text = text.value { texts.append(text) }
        }
        return texts
    }

    /// Reads the texts of the file at a path.
    package static func texts(path: String) throws(FormatError) -> [Text] {
        try texts(try read(path), name: quoted(path))
    }

    /// A chunk that could be parsed; without a value when it is compressed.
    private struct Parsed { let value: Text? }

    private static func keyword(_ bytes: ArraySlice<UInt8>) -> (keyword: String, rest: ArraySlice<UInt8>)? {
        guard let end = bytes.firstIndex(of: 0), (1...79).contains(end - bytes.startIndex) else { return nil }
        return (latin1(bytes[..<end]), bytes[(end + 1)...])
    }

    /// `tEXt`: a keyword, a NUL, a text. Latin-1 by the specification; many tools write UTF-8 all the same, and text that
    /// is valid UTF-8 is hardly ever anything else.
    private static func latinText(_ bytes: ArraySlice<UInt8>) -> Parsed? {
        guard let (keyword, rest) = keyword(bytes) else { return nil }
        return Parsed(value: (keyword, String(validating: rest, as: UTF8.self) ?? latin1(rest)))
    }

    /// `iTXt`: a keyword, a NUL, whether and how it is compressed, language, NUL, translated keyword, NUL, UTF-8.
    private static func internationalText(_ bytes: ArraySlice<UInt8>) -> Parsed? {
        guard let (keyword, rest) = keyword(bytes), rest.count >= 2, let isCompressed = rest.first else { return nil }
        let language = rest.dropFirst(2)
        guard let languageEnd = language.firstIndex(of: 0) else { return nil }
        let translated = language[(languageEnd + 1)...]
        guard let translatedEnd = translated.firstIndex(of: 0) else { return nil }
        if isCompressed != 0 { return Parsed(value: nil) }
        guard let text = String(validating: translated[(translatedEnd + 1)...], as: UTF8.self) else { return nil }
        return Parsed(value: (keyword, text))
    }

    private static func latin1(_ bytes: ArraySlice<UInt8>) -> String {
        var text = String.UnicodeScalarView()
        for byte in bytes { text.append(Unicode.Scalar(byte)) }
        return String(text)
    }
}

extension String {
    fileprivate var replacingNUL: String {
        String(String.UnicodeScalarView(unicodeScalars.map { $0 == "\0" ? "\u{fffd}" : $0 }))
    }
}
