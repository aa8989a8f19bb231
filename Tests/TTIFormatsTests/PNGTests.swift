import TTIFormats
import Testing

@Suite struct PNGTests {
    private func pixels(_ width: Int, _ height: Int) -> RGBPixels {
        RGBPixels(
            width: width, height: height,
            bytes: (0..<width * height * 3).map { UInt8(truncatingIfNeeded: $0 &* 37 ^ $0 >> 3) })
    }

    // MARK: Making files by hand

    private static let signature: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

    private func bigEndian(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }

    private func checksum(_ bytes: [UInt8]) -> Int {
        var crc: UInt32 = ~0
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? 0xedb8_8320 ^ crc >> 1 : crc >> 1 }
        }
        return Int(~crc)
    }

    private func chunk(_ type: String, _ contents: [UInt8]) -> [UInt8] {
        let body = Array(type.utf8) + contents
        return bigEndian(contents.count) + body + bigEndian(checksum(body))
    }

    private func header(_ width: Int, _ height: Int, depth: UInt8 = 8, color: UInt8 = 2, interlace: UInt8 = 0)
        -> [UInt8]
    {
        chunk("IHDR", bigEndian(width) + bigEndian(height) + [depth, color, 0, 0, interlace])
    }

    /// Deflate with stored blocks, which anybody can write.
    private func stored(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = [0x78, 0x01]
        var a = 1
        var b = 0
        for byte in bytes {
            a = (a + Int(byte)) % 65521
            b = (b + a) % 65521
        }
        var rest = bytes[...]
        repeat {
            let part = rest.prefix(65535)
            rest = rest.dropFirst(part.count)
            let count = part.count
            result += [
                rest.isEmpty ? 1 : 0, UInt8(count & 255), UInt8(count >> 8), UInt8(~count & 255),
                UInt8(~count >> 8 & 255),
            ]
            result += part
        } while !rest.isEmpty
        return result + bigEndian(b << 16 | a)
    }

    private func file(_ chunks: [UInt8]...) -> [UInt8] { Self.signature + chunks.flatMap { $0 } }
    private var end: [UInt8] { chunk("IEND", []) }

    private func decode(_ bytes: [UInt8]) throws -> RGBPixels { try PNG.decode(bytes, name: "test.png") }

    // MARK: Round trips

    @Test(arguments: [(1, 1), (3, 2), (256, 256), (1, 300), (500, 1)])
    func `pixels come back as they were`(width: Int, height: Int) throws {
        let picture = pixels(width, height)
        let bytes = try PNG.encode(picture)
        #expect(try decode(bytes) == picture)
        #expect(try PNG.encode(picture) == bytes)
    }

    @Test func `texts come back as they were and pixels do not change`() throws {
        let picture = pixels(8, 8)
        let texts = [
            (keyword: "parameters", text: "a cat\nSteps: 12"),
            (keyword: "tti-ar", text: #"{"prompt":"Ein Mädchen 😀"}"#),
            (keyword: "empty", text: ""),
        ]
        let bytes = try PNG.encode(picture, texts: texts)
        let read = try PNG.texts(bytes, name: "x")
        #expect(read.map(\.keyword) == texts.map(\.keyword))
        #expect(read.map(\.text) == texts.map(\.text))
        #expect(try decode(bytes) == picture)
        let asText = String(decoding: bytes, as: UTF8.self)
        #expect(asText.contains("tEXtparameters\0a cat"))
        #expect(asText.contains("iTXttti-ar\0\0\0\0\0{"))
        #expect(try PNG.texts(PNG.encode(picture), name: "x").isEmpty)
    }

    @Test func `a NUL in a text does not end it`() throws {
        let bytes = try PNG.encode(pixels(1, 1), texts: [("k", "a\0b")])
        #expect(try PNG.texts(bytes, name: "x").first?.text == "a\u{fffd}b")
    }

    @Test func `Latin-1 and UTF-8 are both understood in tEXt`() throws {
        let bytes = file(
            header(1, 1), chunk("tEXt", Array("a\0".utf8) + [0xe9]), chunk("tEXt", Array("b\0é".utf8)),
            chunk("zTXt", Array("c\0\0x".utf8)), chunk("iTXt", Array("d\0".utf8) + [1, 0, 0, 0, 1, 2]), end)
        let texts = try PNG.texts(bytes, name: "x")
        #expect(texts.map(\.keyword) == ["a", "b"])
        #expect(texts.map(\.text) == ["é", "é"])
    }

    // MARK: Every kind of picture

    @Test func `grey, palettes, alpha and sixteen bits become RGB`() throws {
        let grey = file(header(2, 1, color: 0), chunk("IDAT", stored([0, 10, 200])), end)
        #expect(try decode(grey).bytes == [10, 10, 10, 200, 200, 200])
        let bits = file(header(3, 1, depth: 1, color: 0), chunk("IDAT", stored([0, 0b1010_0000])), end)
        #expect(try decode(bits).bytes == [255, 255, 255, 0, 0, 0, 255, 255, 255])
        let palette = file(
            header(2, 1, color: 3), chunk("PLTE", [1, 2, 3, 4, 5, 6]), chunk("tRNS", [0, 255]),
            chunk("IDAT", stored([0, 1, 0])), end)
        #expect(try decode(palette).bytes == [4, 5, 6, 1, 2, 3])
        let alpha = file(header(2, 1, color: 6), chunk("IDAT", stored([0, 1, 2, 3, 0, 4, 5, 6, 128])), end)
        #expect(try decode(alpha).bytes == [1, 2, 3, 4, 5, 6])
        let greyAlpha = file(header(1, 1, color: 4), chunk("IDAT", stored([0, 77, 0])), end)
        #expect(try decode(greyAlpha).bytes == [77, 77, 77])
        let wide = file(
            header(1, 1, depth: 16, color: 2), chunk("IDAT", stored([0, 0x80, 0x80, 0x40, 0x40, 0xff, 0xff])), end)
        #expect(try decode(wide).bytes == [0x80, 0x40, 0xff])
        let interlaced = file(header(1, 1, color: 2, interlace: 1), chunk("IDAT", stored([0, 9, 8, 7])), end)
        #expect(try decode(interlaced).bytes == [9, 8, 7])
    }

    @Test func `gamma and profiles do not change the numbers`() throws {
        let bytes = file(
            header(1, 1), chunk("gAMA", bigEndian(100_000)), chunk("iCCP", Array("x\0\0garbage".utf8)),
            chunk("IDAT", stored([0, 50, 100, 150])), end)
        #expect(try decode(bytes).bytes == [50, 100, 150])
    }

    @Test func `pixels split over many chunks and bytes after the end are fine`() throws {
        let compressed = stored([0, 1, 2, 3, 4, 5, 6])
        let bytes = file(header(2, 1), compressed.map { chunk("IDAT", [$0]) }.flatMap { $0 }, end, [1, 2, 3])
        #expect(try decode(bytes).bytes == [1, 2, 3, 4, 5, 6])
    }

    // MARK: Damage

    private func damaged() -> [(String, [UInt8])] {
        let row = stored([0, 1, 2, 3])
        var wrongChecksum = file(header(1, 1), chunk("tEXt", Array("a\0b".utf8)), chunk("IDAT", row), end)
        wrongChecksum[50] ^= 1
        return [
            ("empty", []), ("text", Array("hello, world".utf8)), ("signature alone", Self.signature),
            ("JPEG", [0xff, 0xd8, 0xff, 0xe0]), ("no IEND", file(header(1, 1), chunk("IDAT", row))),
            ("no IHDR", file(chunk("IDAT", row), end)), ("IEND alone", file(end)),
            ("two IHDR", file(header(1, 1), header(1, 1), chunk("IDAT", row), end)), ("wrong checksum", wrongChecksum),
            ("length 2^31", file(header(1, 1), [0x80, 0, 0, 0], Array("IDAT".utf8), [0, 0, 0, 0])),
            ("length 2^32-1", file(header(1, 1), [255, 255, 255, 255], Array("IDAT".utf8), [0, 0, 0, 0])),
            ("type is no letters", file(header(1, 1), chunk("ID T", row), end)),
            ("zero width", file(header(0, 1), chunk("IDAT", row), end)),
            ("zero height", file(header(1, 0), chunk("IDAT", row), end)),
            ("side over the limit", file(header(16_385, 1), chunk("IDAT", row), end)),
            ("pixels over the limit", file(header(16_384, 4_097), chunk("IDAT", row), end)),
            ("width 2^32-1", file(header(0xffff_ffff, 1), chunk("IDAT", row), end)),
            ("more pixels than the bytes can be", file(header(8_000, 8_000), chunk("IDAT", row), end)),
            ("colour type 1", file(header(1, 1, color: 1), chunk("IDAT", row), end)),
            ("depth 3", file(header(1, 1, depth: 3), chunk("IDAT", row), end)),
            ("depth 4 in colour", file(header(1, 1, depth: 4), chunk("IDAT", row), end)),
            ("interlace 2", file(header(1, 1, interlace: 2), chunk("IDAT", row), end)),
            ("short IHDR", file(chunk("IHDR", [1, 2, 3]), chunk("IDAT", row), end)),
            ("no IDAT", file(header(1, 1), end)), ("empty IDAT", file(header(1, 1), chunk("IDAT", []), end)),
            ("rubbish IDAT", file(header(1, 1), chunk("IDAT", [1, 2, 3, 4, 5, 6]), end)),
            ("half the pixels", file(header(1, 2), chunk("IDAT", stored([0, 1, 2, 3])), end)),
            ("unknown filter", file(header(1, 1), chunk("IDAT", stored([9, 1, 2, 3])), end)),
            ("no palette", file(header(1, 1, color: 3), chunk("IDAT", stored([0, 0])), end)),
            (
                "palette of two bytes",
                file(header(1, 1, color: 3), chunk("PLTE", [1, 2]), chunk("IDAT", stored([0, 0])), end)
            ),
        ]
    }

    @Test func `damaged pictures are an error of their own`() {
        for (name, bytes) in damaged() {
            let error = failure { _ = try decode(bytes) }
            #expect(error?.kind == .badInput, "\(name): \(error?.description ?? "no error")")
            #expect(error?.place == "test.png", "\(name)")
        }
    }

    @Test func `damaged texts are an error`() {
        for (name, contents) in [
            ("no NUL", Array("abc".utf8)), ("no keyword", Array("\0abc".utf8)),
            ("long keyword", [UInt8](repeating: 0x61, count: 80) + [0, 0x62]), ("nothing", []),
        ] {
            let bytes = file(header(1, 1), chunk("tEXt", contents), end)
            #expect(failure { _ = try PNG.texts(bytes, name: "x") }?.kind == .badInput, "\(name)")
        }
        for (name, contents) in [
            ("no flags", Array("k\0".utf8)), ("no language", Array("k\0\0\0abc".utf8)),
            ("no translation", Array("k\0\0\0a\0bc".utf8)),
            ("not UTF-8", Array("k\0\0\0a\0b\0".utf8) + [0xff]),
        ] {
            let bytes = file(header(1, 1), chunk("iTXt", contents), end)
            #expect(failure { _ = try PNG.texts(bytes, name: "x") }?.kind == .badInput, "\(name)")
        }
    }

    @Test func `a file cut anywhere is an error`() throws {
        let bytes = try PNG.encode(pixels(4, 4), texts: [("k", "v")])
        for count in 0..<bytes.count {
            #expect(failure { _ = try decode(Array(bytes[..<count])) }?.kind == .badInput)
            #expect(failure { _ = try PNG.texts(Array(bytes[..<count]), name: "x") }?.kind == .badInput)
        }
    }

    @Test func `too many chunks and too large ones are refused`() {
        let many = file(
            header(1, 1), [[UInt8]](repeating: chunk("tEXt", Array("a\0b".utf8)), count: 100_001).flatMap { $0 }, end)
        #expect(failure { _ = try PNG.texts(many, name: "x") }?.kind == .badInput)
        let large = file(header(1, 1), chunk("tEXt", [UInt8](repeating: 0x61, count: (16 << 20) + 1)), end)
        #expect(failure { _ = try PNG.texts(large, name: "x") }?.kind == .badInput)
    }

    @Test func `files are read from disk with the errors of input files`() throws {
        let folder = TemporaryFolder()
        let bytes = try PNG.encode(pixels(2, 2), texts: [("k", "v")])
        folder.write("x.png", bytes)
        #expect(try PNG.decode(path: folder["x.png"]) == pixels(2, 2))
        #expect(try PNG.texts(path: folder["x.png"]).first?.text == "v")
        #expect(failure { _ = try PNG.texts(path: folder["y.png"]) }?.kind == .missingPath)
        #expect(failure { _ = try PNG.texts(path: folder.path) }?.kind == .notRegularFile)
    }
}
