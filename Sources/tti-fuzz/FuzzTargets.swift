import TTICore
import TTIFormats

/// A reader and what to begin with.
struct FuzzTarget: Sendable {
    let name: String
    /// Valid inputs, from which the others are made.
    let seeds: [[UInt8]]
    /// Pieces of the format that a random byte would never hit.
    let words: [String]
    /// Reads the input; true when it was accepted. Whatever it throws must be the room's own error type.
    let run: @Sendable ([UInt8]) -> Bool
}

/// All readers. A room adds its own here: a name, some valid inputs, the words of the format, and a closure.
let fuzzTargets: [FuzzTarget] = [jsonTarget, safetensorsTarget, indexTarget, pngTarget] + tokenizerTargets

private let jsonTarget = FuzzTarget(
    name: "json",
    seeds: [
        #"{"a": [1, -2.5e3, true, false, null, "x\u00e9\ud83d\ude00"], "b": {"c": {}}, "é": ""}"#,
        #"[[[[[[[[]]]]]]]]"#, #""text""#, "0", #"{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9,"10":10}"#,
    ].map { Array($0.utf8) },
    words: [
        "{", "}", "[", "]", "\"", "\\u", "\\ud800", "\\udc00", ":", ",", "null", "1e999", "-0", "\u{feff}", "\u{0}",
        "[[[[",
    ]
) { bytes in
    guard let json = accepted({ () throws(FormatError) in try JSON(bytes, file: "input") }) else { return false }
    // What was read must write and read back the same.
    let again = accepted({ () throws(FormatError) in try JSON(json.bytes(), file: "again") })
    precondition(again == json, "written JSON reads differently")
    _ = try? Configuration(json, file: "input").integer("a", in: 0...9)
    return true
}

private let safetensorsTarget = FuzzTarget(
    name: "safetensors",
    seeds: [
        SafetensorsWriter.bytes(
            [
                ("weight", HostTensor([1, 2, 3, 4] as [Float], [2, 2])), ("bias", HostTensor([1, 2] as [Int32], [2])),
                ("empty", HostTensor([] as [Float], [0, 3])), ("scalar", HostTensor([1] as [Float], [])),
            ], metadata: [("format", "pt")]),
        SafetensorsWriter.bytes([("a", HostTensor([1] as [Float], [1]))]), SafetensorsWriter.bytes([]),
        Array("version https://git-lfs.github.com/spec/v1\n".utf8),
    ],
    words: [
        "dtype", "shape", "data_offsets", "__metadata__", "F32", "BF16", "F4", "F8_E4M3", "I64", "[0,0]",
        "9223372036854775807",
        "4611686018427387904", "18446744073709551616", "-1", "{", "}", "[", "]", "\"",
    ]
) { bytes in
    guard let file = accepted({ () throws(FormatError) in try SafetensorsFile(bytes: bytes, name: "input") }) else {
        return false
    }
    for entry in file.entries {
        // The byte count was checked, so reading all elements must be possible.
        if let tensor = try? file.tensor(entry.name) { _ = tensor.floats() }
    }
    let weights = Weights.checkpoint(TensorFiles(file))
    _ = try? weights.tensor("weight", [2, 2])
    return true
}

private let indexTarget = FuzzTarget(
    name: "index",
    seeds: [
        #"{"_class_name": "AmusedPipeline", "_diffusers_version": "0.39.0", "vqvae": ["diffusers", "VQModel"], "x": [null, null]}"#,
        #"{"_class_name": "X", "requires_safety_checker": true, "unet": ["diffusers", "UNet2DConditionModel"]}"#,
    ].map { Array($0.utf8) },
    words: ["..", "/", "\\", "[null, null]", "_class_name", "\"", "[", "]"]
) { bytes in
    accepted { () throws(FormatError) in try PipelineIndex(try JSON(bytes, file: "input"), file: "input") } != nil
}

private let pngTarget = FuzzTarget(
    name: "png",
    seeds: pngSeeds,
    words: ["IHDR", "PLTE", "tRNS", "IDAT", "IEND", "tEXt", "zTXt", "iTXt", "gAMA", "iCCP", "parameters\0"]
) { bytes in
    // Checksums are made right, or nothing behind them would ever be reached.
    let repaired = repairingChecksums(bytes)
    let texts = accepted { () throws(FormatError) in try PNG.texts(repaired, name: "input") }
    let pixels = accepted { () throws(FormatError) in try PNG.decode(repaired, name: "input") }
    if let pixels, pixels.bytes.count < 1 << 16 {
        let again = accepted { () throws(FormatError) in try PNG.decode(try PNG.encode(pixels), name: "again") }
        precondition(again == pixels, "a written picture reads differently")
    }
    return texts != nil || pixels != nil
}

private let pngSeeds: [[UInt8]] = {
    let small = RGBPixels(width: 5, height: 3, bytes: (0..<45).map { UInt8($0 &* 5) })
    let plain = RGBPixels(width: 16, height: 16, bytes: [UInt8](repeating: 200, count: 768))
    let texts: [PNG.Text] = [("parameters", "a cat\nSteps: 12, Seed: 7"), ("tti-ar", #"{"prompt": "Mädchen 😀"}"#)]
    let encoded = [
        accepted { () throws(FormatError) in try PNG.encode(small, texts: texts) },
        accepted { () throws(FormatError) in try PNG.encode(plain) },
    ]
    return encoded.compactMap { $0 }
}()

/// Sets the checksum of every chunk that can be found.
private func repairingChecksums(_ file: [UInt8]) -> [UInt8] {
    var file = file
    var position = 8
    while position >= 8, file.count - position >= 12 {
        let length = file[position..<position + 4].reduce(0) { $0 << 8 | Int($1) }
        guard length <= file.count - position - 12 else { break }
        var crc: UInt32 = ~0
        for byte in file[position + 4..<position + 8 + length] {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? 0xedb8_8320 ^ crc >> 1 : crc >> 1 }
        }
        for index in 0..<4 { file[position + 8 + length + index] = UInt8(truncatingIfNeeded: ~crc >> (24 - 8 * index)) }
        position += 12 + length
    }
    return file
}

/// The value, or nil when the reader refused with its own error.
func accepted<Value>(_ read: () throws(FormatError) -> Value) -> Value? {
    do throws(FormatError) { return try read() } catch {
        // A message must be one harmless line, whatever is in the file.
        precondition(!error.message.unicodeScalars.contains(where: isDangerous), "a message with control characters")
        if showsErrors { say(error.description) }
        return nil
    }
}

/// With a single input, what the reader says is of interest.
private let showsErrors = CommandLine.arguments.contains("--input")
