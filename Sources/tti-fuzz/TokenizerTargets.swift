import TTIFormats
import TTIText

/// Readers of tokenizer files, and what they make of texts.
let tokenizerTargets: [FuzzTarget] = [
    FuzzTarget(name: "tokenizer-document", seeds: [byteLevelDocument, unigramDocument], words: documentWords) { bytes in
        runTokenizer(["tokenizer.json": bytes])
    },
    FuzzTarget(
        name: "tokenizer-merges", seeds: [bytePairFiles], words: ["\n", "#version", " ", "</w>", "Ġ", "\u{1}", "a b"]
    ) { bytes in
        // Two files in one input: the vocabulary up to the first byte 1, then the merges.
        let parts = bytes.split(separator: 1, maxSplits: 1, omittingEmptySubsequences: false).map { Array($0) }
        return runTokenizer([
            "vocab.json": parts[0], "merges.txt": parts.count > 1 ? parts[1] : [],
            "tokenizer_config.json": Array(#"{"tokenizer_class": "CLIPTokenizer"}"#.utf8),
        ])
    },
    FuzzTarget(name: "tokenizer-pieces", seeds: [pieceModel], words: ["▁", "<0x41>", "\u{12}", "\u{1a}", "\u{22}"]) {
        bytes in
        let isAccepted = runTokenizer(["spiece.model": bytes])
        let asT5 = runTokenizer([
            "spiece.model": bytes, "tokenizer_config.json": Array(#"{"tokenizer_class": "T5Tokenizer"}"#.utf8),
        ])
        return isAccepted || asT5
    },
    FuzzTarget(
        name: "tokenizer-configuration",
        seeds: [
            Array(
                (#"{"tokenizer_class": "CLIPTokenizer", "pad_token": "!", "model_max_length": 77, "bos_token": "<|startoftext|>","#
                    + #" "eos_token": {"content": "<|endoftext|>"}, "added_tokens_decoder": {"519": {"content": "<|startoftext|>"}}}"#)
                    .utf8)
        ], words: ["pad_token", "eos_token", "unk_token", "extra_ids", "1e30", "T5Tokenizer", "model_max_length"]
    ) { bytes in
        runTokenizer(["tokenizer.json": byteLevelDocument, "tokenizer_config.json": bytes])
    },
]

/// Texts that reach most branches of most tokenizers.
private let texts = [
    "", "a", "hello world, it's 2024!", "  two  spaces\n\tand a tab ", "<|endoftext|> <s></s> <x>",
    "e\u{301} é 北京 😀 \u{200d}",
    "\u{0}\u{1b}[2J\u{202e}", String(repeating: "a", count: 300), "▁ĠÂ",
]

private func runTokenizer(_ files: [String: [UInt8]]) -> Bool {
    guard
        let tokenizer = accepted({ () throws(FormatError) in try TokenizerFiles(files, folder: "input").tokenizer() })
    else { return false }
    for text in texts {
        let encoded = tokenizer.encode(text, maximumLength: 77)
        precondition(encoded.ids.count <= 77, "more ids than asked for")
        precondition(
            encoded.ids.allSatisfy { (0..<tokenizer.vocabularySize).contains($0) }, "an id beyond the vocabulary")
        _ = tokenizer.decode(encoded.ids)
    }
    _ = tokenizer.decode([-1, 0, tokenizer.vocabularySize, Int.max], keepingSpecialTokens: true)
    _ = tokenizer.padded([], to: 3)
    return true
}

private let documentWords = [
    "BPE", "Unigram", "WordLevel", "Sequence", "ByteLevel", "Metaspace", "Precompiled", "Regex", "String", "Removed",
    "\"id\": 0",
    "vocab", "merges", "content", "normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "null",
    "-1", "1e9",
    "9223372036854775807", "\"\"", "[]", "{}", "[^\\\\s]+", "(a+)+$",
]

/// The characters that stand for the 256 bytes in byte-level vocabularies.
private let byteCharacters: [String] = {
    var next: UInt32 = 256
    return (UInt32(0)..<256).map { byte in
        let isItself = (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174
        let value = isItself ? byte : next
        if !isItself { next += 1 }
        return Unicode.Scalar(value).map { String($0) } ?? ""
    }
}()

private let mergeLines = ["h e", "l l", "he ll", "hell o</w>", "a a", "aa aa", "w o"]

/// 256 bytes, the same at the end of a word, merges, two special tokens.
private let bytePairVocabulary: JSON = {
    var object = JSONObject()
    let merged = mergeLines.map { $0.split(separator: " ").joined() }
    let pieces = byteCharacters + byteCharacters.map { $0 + "</w>" } + merged + ["<|startoftext|>", "<|endoftext|>"]
    for piece in pieces { object.set(ByteString(piece), JSON(object.count)) }
    return .members(object)
}()

private let bytePairFiles: [UInt8] =
    bytePairVocabulary.bytes() + [1] + Array(("#version: 0.2\n" + mergeLines.joined(separator: "\n") + "\n").utf8)

private let byteLevelDocument: [UInt8] = {
    let document: JSON = [
        "version": "1.0", "truncation": nil, "padding": nil,
        "added_tokens": [
            ["id": 519, "content": "<|startoftext|>", "special": true, "normalized": false],
            ["id": 520, "content": "<|endoftext|>", "special": true, "normalized": false],
        ],
        "normalizer": [
            "type": "Sequence",
            "normalizers": [
                ["type": "NFC"], ["type": "Replace", "pattern": ["Regex": "\\s+"], "content": " "],
                ["type": "Lowercase"],
            ],
        ],
        "pre_tokenizer": [
            "type": "Sequence",
            "pretokenizers": [
                [
                    "type": "Split",
                    "pattern": [
                        "Regex":
                            "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
                    ], "behavior": "Removed", "invert": true,
                ], ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true],
            ],
        ],
        "post_processor": [
            "type": "RobertaProcessing", "sep": ["<|endoftext|>", 520], "cls": ["<|startoftext|>", 519],
            "trim_offsets": false,
            "add_prefix_space": false,
        ], "decoder": ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true],
        "model": [
            "type": "BPE", "dropout": nil, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "vocab": bytePairVocabulary,
            "merges": .list(mergeLines.map { JSON($0) }),
        ],
    ]
    return document.bytes()
}()

private let unigramDocument: [UInt8] = {
    let pieces: [(String, Double)] = [
        ("<pad>", 0), ("</s>", 0), ("<unk>", 0), ("▁", -2), ("a", -3), ("▁hello", -4), ("world", -5), ("e", -3.5),
        ("l", -3.6), ("2", -6),
    ]
    let document: JSON = [
        "version": "1.0",
        "added_tokens": [["id": 1, "content": "</s>", "special": true]],
        "normalizer": ["type": "NFKC"],
        "pre_tokenizer": ["type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true],
        "post_processor": [
            "type": "TemplateProcessing",
            "single": [["Sequence": ["id": "A", "type_id": 0]], ["SpecialToken": ["id": "</s>", "type_id": 0]]],
            "pair": [], "special_tokens": ["</s>": ["id": "</s>", "ids": [1], "tokens": ["</s>"]]],
        ],
        "decoder": ["type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true],
        "model": [
            "type": "Unigram", "unk_id": 2, "vocab": .list(pieces.map { .list([JSON($0.0), JSON($0.1)]) }),
            "byte_fallback": false,
        ],
    ]
    return document.bytes()
}()

/// A SentencePiece model of a dozen pieces, written by hand: fields with their tags and lengths.
private let pieceModel: [UInt8] = {
    func field(_ number: UInt8, _ contents: [UInt8]) -> [UInt8] { [number << 3 | 2, UInt8(contents.count)] + contents }
    func piece(_ text: String, _ score: Float, _ type: UInt8 = 1) -> [UInt8] {
        let bits = score.bitPattern
        let fixed = (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
        return field(1, field(1, Array(text.utf8)) + [2 << 3 | 5] + fixed + [3 << 3, type])
    }
    var model: [UInt8] = piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2)
    for (index, text) in ["▁", "▁hello", "world", "h", "e", "l", "o", "w", "r", "d", "a", "it", "é", "😀"].enumerated() {
        model += piece(text, -Float(index))
    }
    // trainer_spec: unigram, ids of unknown, beginning, end, padding; normalizer_spec: name and three switches.
    model += field(2, [3 << 3, 1, 0xc0, 2, 2, 0xc8, 2, 0, 0xd0, 2, 1, 0xd8, 2, 0])
    return model + field(3, field(1, Array("identity".utf8)) + [3 << 3, 1, 4 << 3, 1, 5 << 3, 1])
}()
