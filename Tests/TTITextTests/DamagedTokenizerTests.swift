import TTIFormats
import TTIText
import Testing

/// Files that are wrong in one way, and the code of the error that they give. All are of kind `invalid`, exit code 78.
struct DamagedTokenizer: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var files: [String: [UInt8]]
    var code: String

    init(_ name: String, _ code: String, _ files: [String: [UInt8]]) {
        testDescription = name
        self.code = code
        self.files = files
    }

    /// A tokenizer.json.
    static func document(_ name: String, _ code: String, _ text: String) -> DamagedTokenizer {
        DamagedTokenizer(name, code, ["tokenizer.json": Array(text.utf8)])
    }

    /// A tokenizer.json with a sound model and other steps.
    static func steps(_ name: String, _ code: String, _ steps: String) -> DamagedTokenizer {
        document(name, code, #"{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]},\#(steps)}"#)
    }

    static func pair(
        _ name: String, _ code: String, vocabulary: String = #"{"a":0,"b":1,"ab":2}"#,
        merges: String = "#version: 0.2\na b\n",
        configuration: String? = nil
    ) -> DamagedTokenizer {
        var files = ["vocab.json": Array(vocabulary.utf8), "merges.txt": Array(merges.utf8)]
        if let configuration { files["tokenizer_config.json"] = Array(configuration.utf8) }
        return DamagedTokenizer(name, code, files)
    }

    static func model(_ name: String, _ code: String, _ bytes: [UInt8]) -> DamagedTokenizer {
        DamagedTokenizer(name, code, ["spiece.model": bytes])
    }
}

/// Writes SentencePiece models, right and wrong ones.
enum ModelBytes {
    static func varint(_ value: UInt64) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7f) | 0x80] + varint(value >> 7)
    }

    static func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
    }

    static func number(_ number: UInt64, _ value: UInt64) -> [UInt8] { varint(number << 3) + varint(value) }

    static func word(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

    static func piece(_ text: String, _ score: Float = -1, type: UInt64 = 1) -> [UInt8] {
        field(1, field(1, Array(text.utf8)) + [0x15] + word(score.bitPattern) + number(3, type))
    }

    static let sound =
        piece("<unk>", 0, type: 2) + piece("<s>", 0, type: 3) + piece("</s>", 0, type: 3) + piece("▁") + piece("a")

    static func charsmap(_ units: [UInt32], _ replacements: [UInt8]) -> [UInt8] {
        word(UInt32(units.count * 4)) + units.flatMap(word) + replacements
    }

    static func withCharsmap(_ blob: [UInt8]) -> [UInt8] { sound + field(3, field(2, blob)) }
}

private let damagedDocuments: [DamagedTokenizer] = [
    .document("no JSON", "json.syntax", "tokenizer"),
    .document("an empty file", "json.syntax", ""),
    .document("cut in the middle", "json.syntax", #"{"model":{"type":"BPE","vocab":{"a":0"#),
    .document("nested too deep", "json.syntax", String(repeating: "[", count: 100_000)),
    .document("a list", "tokenizer.json", "[]"),
    .document("no model", "tokenizer.model", "{}"),
    .document("an unknown model", "tokenizer.model", #"{"model":{"type":"WordPiece","vocab":{}}}"#),
    .document("no vocabulary", "tokenizer.model", #"{"model":{"type":"BPE","merges":[]}}"#),
    .document("a vocabulary that is a list", "tokenizer.model", #"{"model":{"type":"BPE","vocab":[],"merges":[]}}"#),
    .document("no merges", "tokenizer.model", #"{"model":{"type":"BPE","vocab":{"a":0}}}"#),
    .document("an empty vocabulary", "tokenizer.vocabulary", #"{"model":{"type":"BPE","vocab":{},"merges":[]}}"#),
    .document("an id that is a string", "tokenizer.model", #"{"model":{"type":"BPE","vocab":{"a":"0"},"merges":[]}}"#),
    .document(
        "a merge of three", "tokenizer.model", #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a","a"]]}}"#),
    .document("a merge of one", "tokenizer.model", #"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}"#),
    .document(
        "a merge of an unknown piece", "tokenizer.merges",
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","b"]]}}"#),
    .document(
        "a merge into an unknown piece", "tokenizer.merges",
        #"{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}}"#),
    .document(
        "an unknown token of no piece", "tokenizer.model",
        #"{"model":{"type":"BPE","unk_token":"?","vocab":{"a":0},"merges":[]}}"#),
    .document("dropout", "tokenizer.model", #"{"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}"#),
    .document(
        "a suffix that is a number", "tokenizer.json",
        #"{"model":{"type":"BPE","end_of_word_suffix":1,"vocab":{"a":0},"merges":[]}}"#),
    .document("an empty Unigram", "tokenizer.model", #"{"model":{"type":"Unigram","unk_id":0,"vocab":[]}}"#),
    .document(
        "Unigram without an unknown piece", "tokenizer.model", #"{"model":{"type":"Unigram","vocab":[["a",0]]}}"#),
    .document("an unknown id beyond", "tokenizer.model", #"{"model":{"type":"Unigram","unk_id":1,"vocab":[["a",0]]}}"#),
    .document(
        "a score beyond Double", "tokenizer.model", #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",-1e999]]}}"#),
    .document(
        "a score that is text", "tokenizer.model", #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a","NaN"]]}}"#),
    .document(
        "a piece twice", "tokenizer.model", #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",0],["a",1]]}}"#),
    .document("an empty piece", "tokenizer.model", #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["",0]]}}"#),
    .document(
        "a piece too long", "tokenizer.model",
        #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["\#(String(repeating: "a", count: 4097))",0]]}}"#),
]

private let doublings = Array(
    repeating: #"{"type":"Replace","pattern":{"String":"a"},"content":"aa"}"#, count: 30
).joined(separator: ",")
private let spellings = Array(repeating: #"{"type":"ByteLevel"}"#, count: 20).joined(separator: ",")
private let hundred = Array(repeating: #"{"type":"Strip"}"#, count: 50).joined(separator: ",")
private let zeros = Array(repeating: "0", count: 1000).joined(separator: ",")

private let damagedSteps: [DamagedTokenizer] = [
    .steps("an unknown normalizer", "tokenizer.normalizer", #""normalizer":{"type":"BertNormalizer"}"#),
    .steps("a normalizer that is a number", "tokenizer.normalizer", #""normalizer":1"#),
    .steps("a sequence of nothing", "tokenizer.normalizer", #""normalizer":{"type":"Sequence"}"#),
    .steps(
        "a replacement by pattern", "tokenizer.pattern",
        #""normalizer":{"type":"Replace","pattern":{"Regex":"(a+)+$"},"content":""}"#),
    .steps(
        "a character map that is no base64", "tokenizer.charsmap",
        #""normalizer":{"type":"Precompiled","precompiled_charsmap":"!!!!"}"#),
    .steps(
        "a normalizer that doubles a text thirty times", "tokenizer.normalizer",
        #""normalizer":{"type":"Sequence","normalizers":[\#(doublings)]}"#),
    .steps(
        "a hundred normalizers", "tokenizer.normalizer",
        #""normalizer":{"type":"Sequence","normalizers":[\#(hundred),{"type":"Sequence","normalizers":[\#(hundred)]}]}"#
    ),
    .steps(
        "a pre-tokenizer that spells bytes as bytes as bytes", "tokenizer.pre_tokenizer",
        #""pre_tokenizer":{"type":"Sequence","pretokenizers":[\#(spellings)]}"#),
    .steps(
        "a replacement of a million characters", "tokenizer.normalizer",
        #""normalizer":{"type":"Replace","pattern":{"String":"a"},"content":"\#(String(repeating: "b", count: 1_000_000))"}"#
    ),
    .steps(
        "a template of a thousand tokens", "tokenizer.post_processor",
        #""post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"a"}}],"special_tokens":{"a":{"ids":[\#(zeros)]}}}"#
    ),
    .steps("an unknown pre-tokenizer", "tokenizer.pre_tokenizer", #""pre_tokenizer":{"type":"UnicodeScripts"}"#),
    .steps(
        "a pattern that takes forever", "tokenizer.pattern",
        #""pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated","invert":false}"#),
    .steps(
        "an unknown behavior", "tokenizer.pre_tokenizer",
        #""pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":"Kept","invert":false}"#),
    .steps(
        "a flag that is a string", "tokenizer.json", #""pre_tokenizer":{"type":"ByteLevel","add_prefix_space":"yes"}"#),
    .steps(
        "a replacement of two characters", "tokenizer.pre_tokenizer",
        #""pre_tokenizer":{"type":"Metaspace","replacement":"__"}"#),
    .steps(
        "an unknown prepend scheme", "tokenizer.pre_tokenizer",
        #""pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"last"}"#),
    .steps("an unknown post-processor", "tokenizer.post_processor", #""post_processor":{"type":"Other"}"#),
    .steps(
        "a special token beyond the vocabulary", "tokenizer.post_processor",
        #""post_processor":{"type":"RobertaProcessing","cls":["a",0],"sep":["b",2]}"#),
    .steps(
        "a template with two texts", "tokenizer.post_processor",
        #""post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"Sequence":{"id":"A"}}]}"#),
    .steps(
        "a template of unknown tokens", "tokenizer.post_processor",
        #""post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"special_tokens":{}}"#),
    .steps("padding beyond the vocabulary", "tokenizer.padding", #""padding":{"pad_id":2}"#),
    .steps("added tokens that are an object", "tokenizer.added", #""added_tokens":{}"#),
    .steps("an added token without an id", "tokenizer.added", #""added_tokens":[{"content":"x"}]"#),
    .steps("an added token with a huge id", "tokenizer.added", #""added_tokens":[{"id":2147483648,"content":"x"}]"#),
    .steps("an added token behind a gap", "tokenizer.added", #""added_tokens":[{"id":5,"content":"x"}]"#),
    .steps("an added token without content", "tokenizer.added", #""added_tokens":[{"id":2,"content":""}]"#),
    .steps("an added token in another's place", "tokenizer.added", #""added_tokens":[{"id":1,"content":"x"}]"#),
    .steps("an added token with a piece's text", "tokenizer.added", #""added_tokens":[{"id":2,"content":"a"}]"#),
    .steps(
        "two added tokens with one id", "tokenizer.added",
        #""added_tokens":[{"id":2,"content":"x"},{"id":2,"content":"y"}]"#),
]

private let damagedPairs: [DamagedTokenizer] = [
    .init("nothing at all", "tokenizer.missing", [:]),
    .init("a vocabulary alone", "tokenizer.missing", ["vocab.json": Array(#"{"a":0}"#.utf8)]),
    .pair("a key twice", "tokenizer.vocabulary", vocabulary: #"{"a":0,"a":1}"#, merges: ""),
    .pair("an id twice", "tokenizer.vocabulary", vocabulary: #"{"a":0,"b":0}"#, merges: ""),
    .pair("an id left out", "tokenizer.vocabulary", vocabulary: #"{"a":0,"b":2}"#, merges: ""),
    .pair("an id of 2^31", "tokenizer.vocabulary", vocabulary: #"{"a":0,"b":2147483648}"#, merges: ""),
    .pair(
        "an id below the limit, huge all the same", "tokenizer.vocabulary", vocabulary: #"{"a":0,"b":2097151}"#,
        merges: ""),
    .pair("a negative id", "tokenizer.vocabulary", vocabulary: #"{"a":-1}"#, merges: ""),
    .pair("an id with a fraction", "tokenizer.vocabulary", vocabulary: #"{"a":0.0}"#, merges: ""),
    .pair("an id that is an object", "json.syntax", vocabulary: #"{"a":{}}"#, merges: ""),
    .pair("a vocabulary that is a list", "json.syntax", vocabulary: "[]", merges: ""),
    .pair("no pieces", "tokenizer.vocabulary", vocabulary: "{}", merges: ""),
    .pair("a lone surrogate", "json.syntax", vocabulary: #"{"\ud800":0}"#, merges: ""),
    .pair("something behind the end", "json.syntax", vocabulary: #"{"a":0} x"#, merges: ""),
    .pair("a merge of one piece", "tokenizer.merges", merges: "a\n"),
    .pair("a merge of three pieces", "tokenizer.merges", merges: "a b ab\n"),
    .pair("a merge that begins with a space", "tokenizer.merges", merges: " a\n"),
    .pair("a merge of an unknown piece", "tokenizer.merges", merges: "a c\n"),
    .pair("a merge into an unknown piece", "tokenizer.merges", merges: "b a\n"),
    .pair("merges that are no text", "tokenizer.merges", merges: "\u{0}\u{1}\u{2}"),
    .pair(
        "CLIP without its special tokens", "tokenizer.special", configuration: #"{"tokenizer_class":"CLIPTokenizer"}"#),
    .pair("a padding token of no piece", "tokenizer.special", configuration: #"{"pad_token":"<none>"}"#),
    .pair("a padding token that is a number", "tokenizer.config", configuration: #"{"pad_token":0}"#),
    .pair("a class that is a list", "tokenizer.config", configuration: #"{"tokenizer_class":[]}"#),
    .pair("a greatest length of 0", "tokenizer.config", configuration: #"{"model_max_length":0}"#),
    .pair("a configuration that is a string", "tokenizer.config", configuration: #""CLIPTokenizer""#),
    .pair(
        "added tokens without numbers", "tokenizer.config",
        configuration: #"{"added_tokens_decoder":{"x":{"content":"x"}}}"#),
    .pair("a configuration that is cut", "json.syntax", configuration: "{"),
]

private let damagedModels: [DamagedTokenizer] = [
    .model("an empty model", "tokenizer.sentencepiece", []),
    .model("no protocol buffer", "tokenizer.protobuf", Array("version https://git-lfs.github.com/spec/v1".utf8)),
    .model("cut within a piece", "tokenizer.protobuf", Array(ModelBytes.sound.dropLast())),
    .model("a length of 2^63", "tokenizer.protobuf", [0x0a] + ModelBytes.varint(1 << 63)),
    .model("a length one too long", "tokenizer.protobuf", [0x0a, 5, 0x0a, 1, 0x61]),
    .model("a number of eleven bytes", "tokenizer.protobuf", [UInt8](repeating: 0xff, count: 11)),
    .model("a number beyond 64 bits", "tokenizer.protobuf", [0x08] + [UInt8](repeating: 0xff, count: 9) + [2]),
    .model("a field with the number 0", "tokenizer.protobuf", [0x02, 0]),
    .model("a group", "tokenizer.protobuf", [0x0b, 0x0c]),
    .model("pieces that are numbers", "tokenizer.sentencepiece", ModelBytes.number(1, 7)),
    .model(
        "messages within messages", "tokenizer.sentencepiece",
        (0..<2000).reduce(ModelBytes.piece("x")) { bytes, _ in ModelBytes.field(1, bytes) }),
    .model("no unknown piece", "tokenizer.sentencepiece", ModelBytes.piece("a")),
    .model("two unknown pieces", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.piece("<unk2>", 0, type: 2)),
    .model("a piece twice", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.piece("a")),
    .model("an empty piece", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.piece("")),
    .model("a piece with a NUL", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.piece("x\0y")),
    .model(
        "a piece too long", "tokenizer.sentencepiece",
        ModelBytes.sound + ModelBytes.piece(String(repeating: "x", count: 5000))),
    .model(
        "a piece that is not UTF-8", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.field(1, [0x0a, 1, 0xff])),
    .model("a score that is not a number", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.piece("x", .nan)),
    .model("an infinite score", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.piece("x", -.infinity)),
    .model("an unknown type of piece", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.piece("x", type: 9)),
    .model(
        "a byte piece out of place", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.piece("<0x41>", type: 6)),
    .model(
        "bytes to fall back to, but not all", "tokenizer.sentencepiece",
        ModelBytes.sound + ModelBytes.piece("<0x41>", type: 6) + ModelBytes.field(2, ModelBytes.number(35, 1))),
    .model(
        "a model of words", "tokenizer.sentencepiece", ModelBytes.sound + ModelBytes.field(2, ModelBytes.number(3, 3))),
    .model(
        "an unknown type of model", "tokenizer.sentencepiece",
        ModelBytes.sound + ModelBytes.field(2, ModelBytes.number(3, 9))),
    .model(
        "an end beyond the pieces", "tokenizer.sentencepiece",
        ModelBytes.sound + ModelBytes.field(2, ModelBytes.number(42, 77))),
    .model("a character map of three bytes", "tokenizer.charsmap", ModelBytes.withCharsmap([1, 0, 0])),
    .model(
        "a character map longer than itself", "tokenizer.charsmap",
        ModelBytes.withCharsmap(ModelBytes.word(4000) + [0, 0, 0, 0])),
    .model(
        "a character map of half units", "tokenizer.charsmap",
        ModelBytes.withCharsmap([6, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7])),
    .model("a character map of no units", "tokenizer.charsmap", ModelBytes.withCharsmap(ModelBytes.charsmap([], [0]))),
    .model(
        "a root that leads out", "tokenizer.charsmap", ModelBytes.withCharsmap(ModelBytes.charsmap([0xffff_fc00], [0]))),
    .model(
        "a value beyond the replacements", "tokenizer.charsmap",
        // From the root at 0 the byte 1 leads to unit 1, whose leaf is unit 0 ^ 1 ^ 3 = 2 with the value 9.
        ModelBytes.withCharsmap(ModelBytes.charsmap([0, 1 | 1 << 8 | 3 << 10, 9, 0], [0x61, 0]))),
    .model(
        "a replacement without an end", "tokenizer.charsmap", ModelBytes.withCharsmap(ModelBytes.charsmap([0], [0x61]))),
    .model(
        "a replacement that is not UTF-8", "tokenizer.charsmap",
        ModelBytes.withCharsmap(ModelBytes.charsmap([0], [0xff, 0]))),
]

@Suite("Damaged tokenizers")
struct DamagedTokenizerTests {
    @Test(arguments: damagedDocuments + damagedSteps + damagedPairs + damagedModels)
    func `a damaged tokenizer is refused in one line that says what is wrong`(damaged: DamagedTokenizer) {
        #expect {
            try TokenizerFiles(damaged.files, folder: "tokenizer").tokenizer()
        } throws: { error in
            guard let error = error as? FormatError else { return false }
            #expect(error.kind == .invalid)
            #expect(error.code == damaged.code, "\(error)")
            #expect(!error.message.unicodeScalars.contains(where: isDangerous) && error.message.utf8.count < 500)
            return true
        }
    }

    @Test func `a trie that leads in circles is left behind at the end of the text`() throws {
        // Unit 1 is reached by the byte 1 and leads back to the root's place, from where the byte 1 leads to it again.
        let units: [UInt32] = [0, 1 | 1 << 10, 0, 0]
        let blob = ModelBytes.withCharsmap(ModelBytes.charsmap(units, [0x61, 0]))
        let tokenizer = try TokenizerFiles(["spiece.model": blob], folder: "tokenizer").tokenizer()
        #expect(tokenizer.encode(String(repeating: "\u{1}", count: 1000)).ids.last == 2)
    }

    @Test func `the undamaged ones are read`() throws {
        let sound: [DamagedTokenizer] = [
            .steps("", "", #""normalizer":null"#), .pair("", ""), .model("", "", ModelBytes.sound),
            .model("", "", ModelBytes.withCharsmap(ModelBytes.charsmap([0, 1 | 1 << 8 | 3 << 10, 0, 0], [0x61, 0]))),
        ]
        for tokenizer in sound { _ = try TokenizerFiles(tokenizer.files, folder: "tokenizer").tokenizer() }
        // The byte 1 becomes "a".
        let mapped = try TokenizerFiles(sound[3].files, folder: "tokenizer").tokenizer()
        #expect(mapped.encode("\u{1}").pieces == ["▁", "a", "</s>"])
    }

    @Test func `a folder that is not there is missing, and an empty one has no tokenizer`() throws {
        #expect(throws: FormatError.self) { try CheckpointFolder(path: "/nonexistent/tokenizer") }
        let error = #expect(throws: FormatError.self) {
            try loadTokenizer(try CheckpointFolder(path: repository + "/Tokenizers"))
        }
        #expect(error?.code == "tokenizer.missing" && error?.kind == .invalid)
    }

    @Test func `every prefix of a model is refused or read, and nothing crashes`() throws {
        let whole = ModelBytes.withCharsmap(ModelBytes.charsmap([0, 1 | 1 << 8 | 3 << 10, 0, 0], [0x61, 0]))
        for length in 0..<whole.count {
            let files = TokenizerFiles(["spiece.model": Array(whole.prefix(length))], folder: "tokenizer")
            if let tokenizer = try? files.tokenizer() { _ = tokenizer.encode("a \u{1} b") }
        }
    }
}
