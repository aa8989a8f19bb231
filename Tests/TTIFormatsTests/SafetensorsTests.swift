import Glibc
import TTICore
import TTIFormats
import Testing

/// A safetensors file from the text of its header and a count of data bytes.
private func file(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
    let header = Array(header.utf8)
    let length = length ?? UInt64(header.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + header + [UInt8](repeating: 0, count: data)
}

/// A header with one tensor.
private func one(_ name: String = "a", dtype: String = "\"F32\"", shape: String = "[2]", offsets: String = "[0,8]")
    -> String
{
    "{\"\(name)\":{\"dtype\":\(dtype),\"shape\":\(shape),\"data_offsets\":\(offsets)}}"
}

private func tensor(_ shape: String, _ offsets: String, dtype: String = "F32") -> String {
    "{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
}

/// A damaged file and the code of its error.
struct DamagedFile: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let code: String
    var testDescription: String { name }

    init(_ name: String, _ bytes: [UInt8], _ code: String = "model.header") {
        self.name = name
        self.bytes = bytes
        self.code = code
    }
}

@Suite struct SafetensorsTests {
    private func read(_ bytes: [UInt8]) throws -> SafetensorsFile { try SafetensorsFile(bytes: bytes, name: "'x'") }

    // MARK: Whole files

    @Test func `every type comes back as it was`() throws {
        var tensors: [(name: String, tensor: HostTensor)] = []
        for dtype in DType.allCases {
            let allocation = HostAllocation(byteCount: 6 * dtype.byteCount)
            for index in 0..<6 * dtype.byteCount { allocation.bytes[index] = UInt8(index % 2) }
            tensors.append(
                (
                    dtype.rawValue,
                    HostTensor(
                        shape: [2, 3], dtype: dtype, bytes: UnsafeRawBufferPointer(allocation.bytes),
                        storage: allocation)
                ))
        }
        tensors.append(("scalar", HostTensor([4] as [Float], [])))
        tensors.append(("nothing", HostTensor([] as [Float], [0, 5])))
        let bytes = SafetensorsWriter.bytes(tensors, metadata: [("format", "pt"), ("é", "\"\n")])
        let file = try read(bytes)
        #expect(file.entries.count == tensors.count)
        #expect(file.metadata.map(\.key) == ["format", "é"])
        #expect(file.metadata.map(\.value) == ["pt", "\"\n"])
        for (name, tensor) in tensors {
            let found = try #require(try file.tensor(name))
            #expect(found.shape == tensor.shape)
            #expect(found.dtype == tensor.dtype)
            #expect(Array(found.bytes!) == Array(tensor.bytes!))
            #expect(Int(bitPattern: found.bytes!.baseAddress) % found.dtype.byteCount == 0)
        }
        #expect(try file.tensor("absent") == nil)
        #expect(SafetensorsWriter.bytes(tensors, metadata: [("format", "pt"), ("é", "\"\n")]) == bytes)
    }

    @Test func `a file on disk is mapped and a change to it is noticed`() throws {
        let folder = TemporaryFolder()
        let path = folder.write("x.safetensors", SafetensorsWriter.bytes([("a", HostTensor([1, 2] as [Float], [2]))]))
        let file = try SafetensorsFile(path: path)
        #expect(try file.tensor("a")?.floats() == [1, 2])
        try file.checkUnchanged()
        folder.write("y", SafetensorsWriter.bytes([("a", HostTensor([1, 3] as [Float], [2]))]))
        rename(folder["y"], path)
        #expect(failure { try file.checkUnchanged() }?.kind == .ioFailed)
        #expect(try file.tensor("a")?.floats() == [1, 2])
        #expect(failure { _ = try SafetensorsFile(path: folder["none"]) }?.kind == .missingPath)
        #expect(failure { _ = try SafetensorsFile(path: folder.path) }?.kind == .notRegularFile)
    }

    @Test(arguments: [
        file("{}"), file("  {}  "), file("\n\t{}\r\n "), file("{\"__metadata__\":null}"), file("{\"__metadata__\":{}}"),
        file(one(), data: 8), file(one("é"), data: 8), file(one(""), data: 8),
        file(one(shape: "[]", offsets: "[0,4]"), data: 4),
        file(one(shape: "[0]", offsets: "[0,0]")), file(one(shape: "[1,1,1,1,1,1,1,2]"), data: 8),
        file("{\"a\":\(tensor("[1]", "[4,8]")),\"b\":\(tensor("[1]", "[0,4]"))}", data: 8),
        file("{\"a\":\(tensor("[0]", "[4,4]")),\"b\":\(tensor("[1]", "[0,4]"))}", data: 4),
        file("{\"a\":\(tensor("[3]", "[0,3]", dtype: "U8")),\"b\":\(tensor("[1]", "[3,7]"))}", data: 7),
        file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"extra\":{\"deep\":[1,{}]}}}", data: 1),
        file("{\"__metadata__\":{\"a\":\"b\"},\"a\":\(tensor("[1]", "[0,4]"))}", data: 4),
    ])
    func `what the format allows is read`(bytes: [UInt8]) throws {
        _ = try read(bytes)
    }

    @Test func `misaligned tensors are read`() throws {
        var bytes = file("{\"a\":\(tensor("[3]", "[0,3]", dtype: "U8")),\"b\":\(tensor("[1]", "[3,7]"))}", data: 7)
        bytes.replaceSubrange((bytes.count - 4)..., with: [0, 0, 0x80, 0x3f])
        #expect(try read(bytes).tensor("b")?.floats() == [1])
    }

    @Test func `a header that looks like another format is read`() throws {
        // The length of a header can begin with the bytes of "{\"" or of gzip.
        for length in [0x227b, 0x8b1f] {
            _ = try read(file("{}" + String(repeating: " ", count: length - 2)))
        }
    }

    @Test(arguments: [("F8_E8M0", 2), ("F8_E4M3FNUZ", 2), ("F4", 1), ("C64", 16), ("SOMETHING_NEW", 5)])
    func `types that we cannot compute with are listed and refused when asked for`(dtype: String, count: Int) throws {
        let file = try read(file(one(dtype: "\"\(dtype)\"", offsets: "[0,\(count)]"), data: count))
        #expect(file.entries.first?.dtypeName == dtype)
        let error = failure { _ = try file.tensor("a") }
        #expect(error?.code == "model.dtype")
        #expect(error?.message.contains("'a'") == true)
    }

    @Test func `numbers of eight bits are read`() throws {
        // 1, -0.5, the largest, the least.
        for (dtype, numbers, expected) in [
            ("F8_E4M3", [0x38, 0xb0, 0x7e, 0x01], [1, -0.5, 448, 0x1p-9]),
            ("F8_E5M2", [0x3c, 0xb8, 0x7b, 0x01], [1, -0.5, 57344, 0x1p-16]),
        ] as [(String, [UInt8], [Float])] {
            var bytes = file("{\"a\":\(tensor("[2,2]", "[0,4]", dtype: dtype))}", data: 4)
            bytes.replaceSubrange((bytes.count - 4)..., with: numbers)
            #expect(try read(bytes).tensor("a")?.floats() == expected)
        }
    }

    // MARK: Damage

    static let framing: [DamagedFile] = [
        DamagedFile("empty", [], "model.empty"), DamagedFile("one byte", [1], "model.truncated"),
        DamagedFile("seven bytes", [2, 0, 0, 0, 0, 0, 0], "model.truncated"),
        DamagedFile("length 0", file(""), "json.syntax"), DamagedFile("length 1", file("{"), "json.syntax"),
        DamagedFile("length alone", [2, 0, 0, 0, 0, 0, 0, 0], "model.truncated"),
        DamagedFile("length + 1", file("{}", length: 3), "model.truncated"),
        DamagedFile("length of the file", file("{}", length: 10), "model.truncated"),
        DamagedFile("length 2^63", file("{}", length: 1 << 63)), DamagedFile("length 2^64-1", file("{}", length: .max)),
        DamagedFile("length 2^64-8", file("{}", length: .max - 7)),
        DamagedFile("length 2^63-1", file("{}", length: 1 << 63 - 1)),
        DamagedFile("length over the cap", file("{}", length: 100_000_001)),
        DamagedFile("length at the cap", file("{}", length: 100_000_000), "model.truncated"),
        DamagedFile(
            "LFS pointer", Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".utf8),
            "model.lfs-pointer"),
        DamagedFile("web page", Array("<!DOCTYPE html><html></html>".utf8), "model.format"),
        DamagedFile("web page without doctype", Array("<html><head>".utf8), "model.format"),
        DamagedFile("gzip", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], "model.format"),
        DamagedFile("PyTorch archive", [0x50, 0x4b, 3, 4, 0, 0, 8, 8, 0, 0], "model.pickle"),
        DamagedFile("pickle", [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9], "model.pickle"),
        DamagedFile("GGUF", Array("GGUF".utf8) + [3, 0, 0, 0, 0], "model.format"),
        DamagedFile("JSON", Array("{\"weight_map\": {}}".utf8), "model.format"),
        DamagedFile("trailing byte", file(one(), data: 9), "model.geometry"),
        DamagedFile("trailing bytes without tensors", file("{}", data: 5), "model.geometry"),
        DamagedFile("data missing", file(one(), data: 0), "model.truncated"),
        DamagedFile("data one byte short", file(one(), data: 7), "model.truncated"),
    ]

    static let json: [DamagedFile] = [
        DamagedFile("array", file("[]"), "json.syntax"), DamagedFile("string", file("\"a\""), "json.syntax"),
        DamagedFile("number", file("1"), "json.syntax"), DamagedFile("null", file("null"), "json.syntax"),
        DamagedFile("two objects", file("{}{}"), "json.syntax"),
        DamagedFile("NUL padding", file("{}\0\0"), "json.syntax"),
        DamagedFile("byte order mark", file("\u{feff}{}"), "json.syntax"),
        DamagedFile("UTF-16", [4, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0, 0x7d, 0], "json.syntax"),
        DamagedFile(
            "bad UTF-8", [6, 0, 0, 0, 0, 0, 0, 0] + Array("{\"".utf8) + [0xff] + Array("\":1".utf8), "json.syntax"),
        DamagedFile("lone surrogate", file(one("\\ud800"), data: 8), "json.syntax"),
        DamagedFile("million brackets", file(String(repeating: "[", count: 1_000_000)), "json.syntax"),
        DamagedFile("deep unknown field", file("{\"a\":{\"x\":" + String(repeating: "[", count: 100)), "json.syntax"),
        DamagedFile(
            "duplicate tensor", file("{\"a\":\(tensor("[1]", "[0,4]")),\"a\":\(tensor("[1]", "[4,8]"))}", data: 8)),
        DamagedFile(
            "duplicate by escape",
            file("{\"a\":\(tensor("[1]", "[0,4]")),\"\\u0061\":\(tensor("[1]", "[4,8]"))}", data: 8)),
        DamagedFile("duplicate metadata", file("{\"__metadata__\":{},\"__metadata__\":{}}")),
        DamagedFile("duplicate metadata key", file("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}")),
        DamagedFile(
            "duplicate dtype",
            file("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", data: 1)),
        DamagedFile(
            "duplicate shape",
            file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", data: 1)),
        DamagedFile("metadata number", file("{\"__metadata__\":{\"a\":1}}")),
        DamagedFile("metadata array", file("{\"__metadata__\":[]}"), "json.syntax"),
        DamagedFile("metadata as tensor", file(one("__metadata__"), data: 8)),
        DamagedFile("tensor null", file("{\"a\":null}")), DamagedFile("tensor array", file("{\"a\":[]}")),
        DamagedFile("tensor empty", file("{\"a\":{}}")),
        DamagedFile("no dtype", file("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", data: 1)),
        DamagedFile("no shape", file("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", data: 1)),
        DamagedFile("no offsets", file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", data: 1)),
        DamagedFile("dtype number", file(one(dtype: "1"), data: 8)),
        DamagedFile("dtype null", file(one(dtype: "null"), data: 8)),
        DamagedFile("shape string", file(one(shape: "\"[2]\""), data: 8)),
        DamagedFile("shape object", file(one(shape: "{}"), data: 8)),
        DamagedFile("shape of strings", file(one(shape: "[\"2\"]"), data: 8)),
        DamagedFile("shape null", file(one(shape: "null"), data: 8)),
        DamagedFile("shape 2.0", file(one(shape: "[2.0]"), data: 8)),
        DamagedFile("shape 2e0", file(one(shape: "[2e0]"), data: 8)),
        DamagedFile("shape -2", file(one(shape: "[-2]"), data: 8)),
        DamagedFile("shape -0", file(one(shape: "[-0]", offsets: "[0,0]"))),
        DamagedFile("shape 02", file(one(shape: "[02]"), data: 8), "json.syntax"),
        DamagedFile("shape NaN", file(one(shape: "[NaN]"), data: 8), "json.syntax"),
        DamagedFile("shape 2^63", file(one(shape: "[9223372036854775808]"), data: 8)),
        DamagedFile("shape 2^64", file(one(shape: "[18446744073709551616]"), data: 8)),
        DamagedFile("shape of 400 digits", file(one(shape: "[" + String(repeating: "9", count: 400) + "]"), data: 8)),
        DamagedFile("rank 9", file(one(shape: "[1,1,1,1,1,1,1,1,2]"), data: 8)),
        DamagedFile("rank 10000", file(one(shape: "[" + String(repeating: "1,", count: 9999) + "2]"), data: 8)),
        DamagedFile("three offsets", file(one(offsets: "[0,8,8]"), data: 8)),
        DamagedFile("one offset", file(one(offsets: "[8]"), data: 8), "model.geometry"),
        DamagedFile("no offset", file(one(offsets: "[]"), data: 8), "model.geometry"),
        DamagedFile("negative offset", file(one(offsets: "[-8,0]"), data: 8)),
        DamagedFile("NUL in a name", file(one("a\\u0000"), data: 8)),
        DamagedFile("escape in a name", file(one("\\u001b[2J"), data: 8)),
        DamagedFile("C1 in a name", file(one("\\u0085"), data: 8)),
        DamagedFile("long name", file(one(String(repeating: "n", count: 1025)), data: 8)),
    ]

    static let geometry: [DamagedFile] = [
        DamagedFile("reversed", file(one(offsets: "[8,0]"), data: 8), "model.geometry"),
        DamagedFile("gap at the start", file(one(offsets: "[1,9]"), data: 9), "model.geometry"),
        DamagedFile(
            "gap", file("{\"a\":\(tensor("[1]", "[0,4]")),\"b\":\(tensor("[1]", "[5,9]"))}", data: 9), "model.geometry"),
        DamagedFile(
            "overlap", file("{\"a\":\(tensor("[2]", "[0,8]")),\"b\":\(tensor("[2]", "[4,12]"))}", data: 12),
            "model.geometry"),
        DamagedFile(
            "same place twice", file("{\"a\":\(tensor("[2]", "[0,8]")),\"b\":\(tensor("[2]", "[0,8]"))}", data: 8),
            "model.geometry"),
        DamagedFile(
            "inside another", file("{\"a\":\(tensor("[4]", "[0,16]")),\"b\":\(tensor("[1]", "[4,8]"))}", data: 16),
            "model.geometry"),
        DamagedFile("past the end", file(one(offsets: "[0,8]"), data: 4), "model.truncated"),
        DamagedFile(
            "offsets huge", file(one(offsets: "[9223372036854775799,9223372036854775807]"), data: 8), "model.geometry"),
        DamagedFile(
            "empty tensor far out", file(one(shape: "[0]", offsets: "[9223372036854775807,9223372036854775807]")),
            "model.geometry"),
        DamagedFile("one byte more than the shape", file(one(offsets: "[0,9]"), data: 9), "model.geometry"),
        DamagedFile("one byte less than the shape", file(one(offsets: "[0,7]"), data: 7), "model.geometry"),
        DamagedFile("shape of nothing, bytes", file(one(shape: "[0]"), data: 8), "model.geometry"),
        DamagedFile("product overflows first", file(one(shape: "[9223372036854775807,2]"), data: 8), "model.geometry"),
        DamagedFile("product overflows last", file(one(shape: "[2,9223372036854775807]"), data: 8), "model.geometry"),
        DamagedFile("product overflows in bytes", file(one(shape: "[4611686018427387904]"), data: 8), "model.geometry"),
        DamagedFile(
            "product wraps to the right number", file(one(shape: "[4611686018427387904,4,2]", offsets: "[0,0]")),
            "model.geometry"),
        DamagedFile(
            "overflow hidden by a zero",
            file(one(shape: "[9223372036854775807,9223372036854775807,0]", offsets: "[0,0]")), "model.geometry"),
        DamagedFile(
            "overflow before a zero", file(one(shape: "[0,9223372036854775807,9223372036854775807]", offsets: "[0,0]")),
            "model.geometry"),
        DamagedFile(
            "half a byte", file(one(dtype: "\"F4\"", shape: "[3]", offsets: "[0,1]"), data: 1), "model.geometry"),
        DamagedFile(
            "unknown type past the end", file(one(dtype: "\"NEW\"", offsets: "[0,80]"), data: 8), "model.truncated"),
    ]

    @Test(arguments: framing + json + geometry)
    func `a damaged file is an error that says why`(damaged: DamagedFile) throws {
        let error = try #require(failure { _ = try read(damaged.bytes) })
        #expect(error.kind == .invalid)
        #expect(error.code == damaged.code, "\(error)")
        #expect(error.message.contains("'x'"), "\(error)")
        #expect(!error.message.unicodeScalars.contains { isDangerous($0) })
        #expect(error.message.utf8.count < 700)
    }

    @Test func `a file cut anywhere is an error`() {
        let bytes = SafetensorsWriter.bytes(
            [("a", HostTensor([1, 2] as [Float], [2])), ("b", HostTensor([3] as [Int32], [1]))], metadata: [("k", "v")])
        for count in 0..<bytes.count {
            #expect(failure { _ = try read(Array(bytes[..<count])) }?.kind == .invalid)
        }
    }

    @Test func `trailing bytes are counted`() {
        let error = failure { _ = try read(file(one(), data: 20)) }
        #expect(error?.message.hasPrefix("12 bytes follow the last tensor") == true)
    }

    @Test func `a hundred thousand tensors are read in time`() throws {
        var text = "{"
        for index in 0..<100_000 {
            if index > 0 { text += "," }
            text += "\"model.layers.\(index).weight\":" + tensor("[1]", "[\(index * 4),\(index * 4 + 4)]")
        }
        let file = try read(file(text + "}", data: 400_000))
        #expect(file.entries.count == 100_000)
        #expect(try file.tensor("model.layers.99999.weight")?.floats() == [0])
    }

    @Test func `an extent beyond 31 bits is listed and refused when asked for`() throws {
        let file = try read(file(one(shape: "[2147483648,0]", offsets: "[0,0]")))
        #expect(failure { _ = try file.tensor("a") }?.code == "model.geometry")
    }
}
