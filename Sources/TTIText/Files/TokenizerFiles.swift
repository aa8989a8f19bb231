package import TTIFormats

/// The files of a tokenizer, read into memory: a checkpoint's `tokenizer` folder, or bytes from anywhere.
///
/// Which file decides: `tokenizer.json`, else `vocab.json` with `merges.txt`, else a SentencePiece model.
/// `tokenizer_config.json` adds what they do not say: the padding token, the greatest length, the class.
package struct TokenizerFiles: Sendable {
    /// What errors call the folder.
    package let folder: String
    private var contents: [String: [UInt8]]

    private static let modelNames = [
        "spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "sentencepiece.model",
    ]
    private static let names =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"] + modelNames

    package init(_ contents: [String: [UInt8]], folder: String) {
        self.contents = contents
        self.folder = folder
    }

    /// Reads those files of a folder that a tokenizer can have. Throws what reading throws.
    package init(_ folder: CheckpointFolder) throws(FormatError) {
        self.folder = folder.path
        contents = [:]
        for name in Self.names where folder.contains(name) {
            contents[name] = try folder.read(name, limit: TokenizerLimits.fileSize)
        }
    }

    subscript(_ name: String) -> [UInt8]? { contents[name] }

    /// The path of a file for an error.
    func path(_ name: String) -> String { joinPath(folder, name) }

    /// The name of the SentencePiece model, if there is one.
    private var modelName: String? { Self.modelNames.first { contents[$0] != nil } }

    /// Builds the tokenizer. Throws kind `invalid` for anything that is wrong in a file.
    package func tokenizer() throws(FormatError) -> any Tokenizer {
        let configuration = try TokenizerConfiguration(self)
        if let bytes = contents["tokenizer.json"] {
            return try TokenizerDocument(bytes, file: path("tokenizer.json")).tokenizer(configuration)
        }
        if let vocabulary = contents["vocab.json"] {
            guard let merges = contents["merges.txt"] else {
                throw FormatError(
                    .invalid, "tokenizer.missing", "\(quoted(folder)) has vocab.json but no merges.txt",
                    try: "copy the whole tokenizer folder of the checkpoint")
            }
            return try BytePairFiles(
                vocabulary: vocabulary, vocabularyFile: path("vocab.json"), merges: merges,
                mergesFile: path("merges.txt")
            ).tokenizer(configuration)
        }
        if let name = modelName, let bytes = contents[name] {
            let model = try SentencePieceFile(bytes, file: path(name))
            return configuration.isT5
                ? try model.t5Tokenizer(configuration) : try SentencePieceTokenizer(model, configuration)
        }
        throw FormatError(
            .invalid, "tokenizer.missing", "\(quoted(folder)) has no tokenizer",
            try: "it needs tokenizer.json, or vocab.json and merges.txt, or spiece.model")
    }
}

/// The tokenizer of a folder.
package func loadTokenizer(_ folder: CheckpointFolder) throws(FormatError) -> any Tokenizer {
    try TokenizerFiles(folder).tokenizer()
}
