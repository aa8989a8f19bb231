import Glibc
import TTIFormats
import TTIText

/// The repository, from where this file was compiled.
let repository: String = {
    var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
    parts.removeLast(3)
    return parts.joined(separator: "/")
}()

let fixtureFolder = repository + "/Tests/Fixtures/tokenizers"

/// Texts and the ids that a reference library gives for them.
struct TokenizerFixture {
    var texts: [String]
    var ids: [[Int]]

    /// - Parameter part: `chosen`, `random-1` …
    init(_ name: String, part: String, folder: String = fixtureFolder) throws {
        func json(_ file: String) throws -> JSON {
            try JSON(try readFile("\(folder)/\(file)", limit: 1 << 26), file: file)
        }
        texts = (try json("texts-\(part).json").array ?? []).map { $0.string ?? "" }
        ids = (try json("\(name)-\(part).json")["ids"]?.array ?? []).map { ($0.array ?? []).map { $0.integer ?? -1 } }
    }
}

/// The tokenizers that are compared, by the names of their fixtures.
enum TokenizerUnderTest {
    static let names = [
        "clip", "clip-padding", "clip-2022", "clip-2023", "scenes-masked", "scenes-masked-document", "scenes-ar",
        "scenes-ar-t5", "bart",
        "bart-prefix", "sp-unigram", "sp-bytes", "sp-plain", "sp-suffix", "sp-bpe", "t5", "gpt2", "gpt4", "qwen2",
        "unigram-steps", "bpe-characters",
    ]

    /// The fixture that holds a tokenizer's ids: two ways to load one tokenizer share it.
    static func fixture(_ name: String) -> String { name == "scenes-masked-document" ? "scenes-masked" : name }

    static func load(_ name: String) throws -> any Tokenizer {
        switch name {
        case "clip": return try loadTokenizer(try CheckpointFolder(path: repository + "/Tokenizers/clip"))
        case "clip-padding":
            let folder = repository + "/Tokenizers/clip"
            return try TokenizerFiles(
                [
                    "vocab.json": try readFile(folder + "/vocab.json", limit: 1 << 26),
                    "merges.txt": try readFile(folder + "/merges.txt", limit: 1 << 26),
                    "tokenizer_config.json": Array(#"{"tokenizer_class": "CLIPTokenizer", "pad_token": "!"}"#.utf8),
                ], folder: name
            ).tokenizer()
        case "clip-2022", "clip-2023":
            let folder = repository + "/Tokenizers/clip"
            return try TokenizerFiles(
                [
                    "vocab.json": try readFile(folder + "/vocab.json", limit: 1 << 26),
                    "merges.txt": try readFile(folder + "/merges.txt", limit: 1 << 26),
                    "tokenizer_config.json": try readFile(
                        "\(fixtureFolder)/\(name)/tokenizer_config.json", limit: 1 << 26),
                ], folder: name
            ).tokenizer()
        case "scenes-masked":
            // vocab.json and merges.txt, as old checkpoints have them; `scenes-masked-document` has tokenizer.json.
            let folder = repository + "/Checkpoints/scenes-masked/tokenizer"
            var files: [String: [UInt8]] = [:]
            for file in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
                files[file] = try readFile("\(folder)/\(file)", limit: 1 << 26)
            }
            return try TokenizerFiles(files, folder: folder).tokenizer()
        case "scenes-masked-document":
            return try loadTokenizer(try CheckpointFolder(path: repository + "/Checkpoints/scenes-masked/tokenizer"))
        case "scenes-ar":
            return try loadTokenizer(try CheckpointFolder(path: repository + "/Checkpoints/scenes-ar/tokenizer"))
        case "scenes-ar-t5":
            let model = try readFile(repository + "/Checkpoints/scenes-ar/tokenizer/spiece.model", limit: 1 << 26)
            return try TokenizerFiles(
                ["spiece.model": model, "tokenizer_config.json": Array(#"{"tokenizer_class": "T5Tokenizer"}"#.utf8)],
                folder: name
            ).tokenizer()
        default: return try loadTokenizer(try CheckpointFolder(path: "\(fixtureFolder)/\(name)"))
        }
    }
}

/// The value of an environment variable.
func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
