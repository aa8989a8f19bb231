import TTIFormats
import TTIText

/// Readers of tokenizer files: whatever is accepted must then cut texts and put them together again, in linear time.
let tokenizerTargets: [FuzzTarget] = [
    FuzzTarget(name: "tokenizer-json", seeds: documentSeeds.map { Array($0.utf8) }, words: documentWords) { bytes in
        // Loaded from the SentencePiece side as well: `isT5` and its kin come from a second file.
        run(["tokenizer.json": bytes])
    },
    FuzzTarget(
        name: "tokenizer-vocabulary", seeds: pairSeeds.map { Array($0.utf8) },
        words: [
            "</w>", "<|endoftext|>", "<|startoftext|>", "\u{1}", "#version", " ", "\n", "4294967296", "-1", "2097151",
            "\"",
        ]
    ) { bytes in
        // vocab.json, merges.txt and tokenizer_config.json in one input, with a byte 1 between.
        let parts = bytes.split(separator: 1, maxSplits: 2, omittingEmptySubsequences: false).map(Array.init)
        var files = ["vocab.json": parts[0], "merges.txt": parts.count > 1 ? parts[1] : []]
        if parts.count > 2 { files["tokenizer_config.json"] = parts[2] }
        return run(files)
    },
    FuzzTarget(
        name: "sentencepiece", seeds: sentencePieceSeeds,
        words: [
            "▁", "<0x41>", "<unk>", "</s>", "\u{0}\u{0}\u{c0}\u{7f}", "\u{8}", "\u{10}\u{1}", "\u{18}\u{2}", "\u{1a}",
            "a",
        ]
    ) { bytes in
        let plain = run(["spiece.model": bytes])
        let t5 = run(
            [
                "spiece.model": bytes,
                "tokenizer_config.json": Array(#"{"tokenizer_class": "T5Tokenizer", "extra_ids": 2}"#.utf8),
            ])
        return plain || t5
    },
]

private let texts = [
    "", " a red cube ", "don't 12 e\u{301} 북경 😀<|endoftext|></s>\t\r\n", String(repeating: "ab", count: 200),
    "\u{0}\u{feff}ﬁ①",
]

private func run(_ files: [String: [UInt8]]) -> Bool {
    let tokenizer: any Tokenizer
    do { tokenizer = try TokenizerFiles(files, folder: "input").tokenizer() } catch {
        precondition(!error.message.unicodeScalars.contains(where: isDangerous), "a message with control characters")
        return false
    }
    precondition((0..<max(1, tokenizer.vocabularySize)).contains(tokenizer.paddingId), "a padding id of no piece")
    for text in texts {
        let encoded = tokenizer.encode(text)
        precondition(
            encoded.ids.allSatisfy { $0 >= 0 && $0 < tokenizer.vocabularySize }, "an id outside of the vocabulary")
        precondition(tokenizer.encode(text, maximumLength: 5).ids.count <= 5, "a text longer than asked for")
        _ = tokenizer.decode(encoded.ids, keepingSpecialTokens: true)
    }
    return true
}

private let pairSeeds = [
    #"{"a":0,"b":1,"ab":2,"a</w>":3,"b</w>":4,"ab</w>":5,"!</w>":6,"<|startoftext|>":7,"<|endoftext|>":8}"#
        + "\u{1}#version: 0.2\na b\na b</w>\n\u{1}" + #"{"tokenizer_class":"CLIPTokenizer","model_max_length":77}"#,
    #"{"a":0,"b":1,"ab":2,"Ġ":3,"<s>":4,"</s>":5,"<pad>":6,"<mask>":7}"# + "\u{1}a b\n\u{1}"
        + #"{"add_prefix_space":true,"mask_token":{"content":"<mask>","lstrip":true},"pad_token":"<pad>"}"#,
    #"{"<|endoftext|>":0,"a":1}"# + "\u{1}",
]

private let documentSeeds = [
    #"{"added_tokens":[{"id":3,"content":"</s>","special":true}],"normalizer":{"type":"Sequence","normalizers":["#
        + #"{"type":"NFKC"},{"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},{"type":"Lowercase"}]},"#
        + #""pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace","replacement":"▁","#
        + #""prepend_scheme":"always","split":true}]},"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},"#
        + #"{"SpecialToken":{"id":"</s>"}}],"special_tokens":{"</s>":{"id":"</s>","ids":[3],"tokens":["</s>"]}}},"#
        + #""decoder":{"type":"Metaspace"},"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["▁a",-1.5],["b",-2e0],"#
        + #"["</s>",0],["▁",-3.25]],"byte_fallback":false}}"#,
    #"{"added_tokens":[{"id":4,"content":"<m>","lstrip":true,"rstrip":true,"single_word":true,"normalized":true}],"normalizer":null,"#
        + #""pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{N}"},"behavior":"Isolated","#
        + #""invert":false},{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}]},"decoder":{"type":"ByteLevel"},"#
        + #""post_processor":{"type":"RobertaProcessing","sep":["a",0],"cls":["b",1]},"model":{"type":"BPE","unk_token":"a","#
        + #""fuse_unk":true,"byte_fallback":true,"vocab":{"a":0,"b":1,"ab":2,"Ġ":3},"merges":[["a","b"]]}}"#,
    #"{"model":{"vocab":{"a":0,"b</w>":1,"ab</w>":2},"merges":["a b</w>"],"end_of_word_suffix":"</w>","continuing_subword_prefix":""},"#
        + #""normalizer":{"type":"Precompiled","precompiled_charsmap":"BAAAAAAAAABhAA=="},"pre_tokenizer":{"type":"Digits","individual_digits":true}}"#,
]

private let documentWords = [
    "null", "true", "\"", "[", "]", "{", "}", "2097152", "-1", "1e999", "NFC", "NFD", "StripAccents", "Nmt", "Strip",
    "Prepend",
    "MergedWithPrevious", "MergedWithNext", "Contiguous", "Removed", "first", "never", "Sequence", "Split",
    "\"String\"", "\"a\"",
]

private let sentencePieceSeeds: [[UInt8]] = {
    func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { [number << 3 | 2, UInt8(bytes.count)] + bytes }
    func piece(_ text: String, _ score: Float, type: UInt8 = 1) -> [UInt8] {
        let bits = score.bitPattern
        let fixed = (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt32($0))) }
        return field(1, field(1, Array(text.utf8)) + [0x15] + fixed + [0x18, type])
    }
    let pieces =
        piece("<pad>", 0, type: 3) + piece("</s>", 0, type: 3) + piece("<unk>", 0, type: 2) + piece("▁", -2)
        + piece("▁a", -3)
        + piece("ab", -2.5) + piece("a", -4) + piece("b", -4) + piece("red", -1, type: 4) + piece("e", -3, type: 5)
    // A map of one unit that knows nothing, and a trie in which "A" becomes "a".
    let empty = field(3, field(2, [4, 0, 0, 0, 0, 0, 0, 0, 0]) + [0x18, 1, 0x20, 1, 0x28, 1])
    return [
        pieces, pieces + empty, pieces + field(2, [0x18, 2, 0xc0, 1, 1]), pieces + field(2, [0x18, 1, 0xc8, 2, 0]),
        pieces + field(3, [0x18, 0, 0x20, 0, 0x28, 0]),
    ]
}()
