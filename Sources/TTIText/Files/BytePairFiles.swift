internal import TTIFormats

/// `vocab.json` and `merges.txt`: the tokenizer of CLIP, GPT-2 and BART as it was published.
struct BytePairFiles {
    let vocabulary: [UInt8]
    let vocabularyFile: String
    let merges: [UInt8]
    let mergesFile: String

    /// The tokenizer that transformers 5 builds from these files: CLIP's when the class says so, or when the vocabulary
    /// has pieces that end words; else GPT-2's byte-level one, with BART's `<s>` and `</s>` where the vocabulary has them.
    func tokenizer(_ configuration: TokenizerConfiguration) throws(FormatError) -> PipelineTokenizer {
        let pieces = try pieces(configuration)
        let isCLIP =
            configuration.isCLIP || (configuration.className.isEmpty && pieces.id(of: Array("!</w>".utf8)) != nil)
        var builder = MergeBuilder(pieces: pieces, expectedCount: pieces.count, file: mergesFile)
        try readMerges(into: &builder)
        return isCLIP
            ? try clip(pieces, builder.merges, configuration)
            : try byteLevel(pieces, builder.merges, configuration)
    }

    private func pieces(_ configuration: TokenizerConfiguration) throws(FormatError) -> PieceTable {
        var scanner = JSONScanner(vocabulary, file: vocabularyFile, maximumDepth: 2)
        var builder = VocabularyBuilder(file: vocabularyFile)
        try scanner.enterObject()
        var isFirst = true
        while let piece = try scanner.nextKey(isFirst: isFirst) {
            isFirst = false
            try builder.add(piece, idText: try scanner.number())
        }
        try scanner.end()
        return try builder.table(addedTokens: configuration.addedTokens)
    }

    /// A line a merge, two pieces with a space between them; `#version` lines do not count.
    private func readMerges(into builder: inout MergeBuilder) throws(FormatError) {
        var lineNumber = 0
        var start = 0
        while start < merges.count {
            let end = merges[start...].firstIndex(of: UInt8(ascii: "\n")) ?? merges.count
            var line = merges[start..<end]
            start = end + 1
            lineNumber += 1
            if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
            if line.isEmpty || line.starts(with: "#version".utf8) { continue }
            guard let space = line.firstIndex(of: UInt8(ascii: " ")), space > line.startIndex,
                space + 1 < line.endIndex,
                !line[(space + 1)...].contains(UInt8(ascii: " "))
            else {
                throw FormatError(
                    .invalid, "tokenizer.merges",
                    "line \(lineNumber) of the merges is not two pieces with a space between",
                    at: mergesFile)
            }
            try builder.add(line[..<space], line[(space + 1)...])
        }
    }

    private func clip(
        _ pieces: PieceTable, _ merges: MergeTable, _ configuration: TokenizerConfiguration
    ) throws(FormatError) -> PipelineTokenizer {
        var configuration = configuration
        configuration.beginToken = configuration.beginToken ?? .init(special: "<|startoftext|>")
        configuration.endToken = configuration.endToken ?? .init(special: "<|endoftext|>")
        configuration.unknownToken = configuration.unknownToken ?? .init(special: "<|endoftext|>")
        configuration.paddingToken = configuration.paddingToken ?? .init(special: "<|endoftext|>")
        let special = SpecialTokens(configuration, pieces: pieces, added: [], file: vocabularyFile)
        let begin = try special.id(of: configuration.beginToken, "bos_token")
        let end = try special.id(of: configuration.endToken, "eos_token")
        let unknown = try special.id(of: configuration.unknownToken, "unk_token")
        return PipelineTokenizer(
            normalizer: .sequence([.form(.nfc), .collapseSpaces([" "]), .lowercase]),
            preTokenizer: .sequence([
                .split(.clip(keepsMarkers: true), .removed, inverted: true),
                .byteLevel(addsPrefixSpace: false, cuts: true),
            ]),
            model: BytePairModel(
                pieces: pieces, merges: merges,
                options: .init(unknownId: unknown, endOfWordSuffix: Array("</w>".utf8))),
            addedTokens: try special.tokens(),
            spelling: .byteLevel(endOfWord: "</w>"),
            specialIds: (before: [begin], after: [end]),
            paddingId: try special.id(of: configuration.paddingToken, "pad_token"), endOfTextId: end,
            maximumLength: configuration.maximumLength)
    }

    private func byteLevel(
        _ pieces: PieceTable, _ merges: MergeTable, _ configuration: TokenizerConfiguration
    ) throws(FormatError) -> PipelineTokenizer {
        var configuration = configuration
        func has(_ piece: String) -> Bool { pieces.id(of: Array(piece.utf8)) != nil }
        let isGPT2 = configuration.className.hasPrefix("GPT2")
        let isBART = !isGPT2 && has("<s>") && has("</s>")
        if isBART {
            configuration.beginToken = configuration.beginToken ?? .init(special: "<s>")
            configuration.endToken = configuration.endToken ?? .init(special: "</s>")
            configuration.separatorToken = configuration.separatorToken ?? .init(special: "</s>")
            configuration.classToken = configuration.classToken ?? .init(special: "<s>")
            if has("<unk>") { configuration.unknownToken = configuration.unknownToken ?? .init(special: "<unk>") }
            if has("<pad>") { configuration.paddingToken = configuration.paddingToken ?? .init(special: "<pad>") }
            if has("<mask>") { configuration.maskToken = configuration.maskToken ?? .init(special: "<mask>") }
        } else if has("<|endoftext|>") {
            configuration.beginToken = configuration.beginToken ?? .init(special: "<|endoftext|>")
            configuration.endToken = configuration.endToken ?? .init(special: "<|endoftext|>")
            configuration.unknownToken = configuration.unknownToken ?? .init(special: "<|endoftext|>")
        }
        let special = SpecialTokens(configuration, pieces: pieces, added: [], file: vocabularyFile)
        let end = try configuration.endToken.map { token throws(FormatError) in try special.id(of: token, "eos_token") }
        var specialIds: (before: [Int], after: [Int]) = ([], [])
        if isBART {
            specialIds = (
                [try special.id(of: configuration.classToken, "cls_token")],
                [try special.id(of: configuration.separatorToken, "sep_token")]
            )
        }
        return PipelineTokenizer(
            normalizer: nil,
            preTokenizer: .byteLevel(addsPrefixSpace: configuration.addsPrefixSpace, cuts: true),
            model: BytePairModel(pieces: pieces, merges: merges, options: .init()),
            addedTokens: try special.tokens(),
            spelling: .byteLevel(endOfWord: ""),
            specialIds: specialIds,
            paddingId: try special.paddingId(otherwise: end), endOfTextId: end,
            maximumLength: configuration.maximumLength)
    }
}
