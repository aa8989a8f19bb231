internal import TTIFormats

/// `tokenizer_config.json` and `special_tokens_map.json`: what a tokenizer's class was made with.
struct TokenizerConfiguration: Sendable {
    /// `CLIPTokenizer`, with `Fast` at its end in older files; empty when nothing says it.
    var className = ""
    var beginToken: AddedTokens.Token?
    var endToken: AddedTokens.Token?
    var unknownToken: AddedTokens.Token?
    var separatorToken: AddedTokens.Token?
    var paddingToken: AddedTokens.Token?
    var classToken: AddedTokens.Token?
    var maskToken: AddedTokens.Token?
    /// Nil where the file gives none, or the 10³⁰ that stands for none.
    var maximumLength: Int?
    var addsPrefixSpace = false
    /// How many `<extra_id_n>` a T5 vocabulary gets.
    var extraIdCount = 100
    /// `added_tokens_decoder`.
    var addedTokens: [AddedTokens.Token] = []
    /// What errors call it.
    var file = "tokenizer_config.json"

    var isT5: Bool { className.hasPrefix("T5Tokenizer") }
    var isCLIP: Bool { className.hasPrefix("CLIPTokenizer") }

    /// The special tokens with names, in the order in which transformers adds them.
    var namedTokens: [AddedTokens.Token] {
        [beginToken, endToken, unknownToken, separatorToken, paddingToken, classToken, maskToken].compactMap { $0 }
    }

    init() {}

    init(_ files: TokenizerFiles) throws(FormatError) {
        // The older file first, so that the newer one wins.
        for name in ["special_tokens_map.json", "tokenizer_config.json"] {
            guard let bytes = files[name] else { continue }
            file = files.path(name)
            let json = try JSON(bytes, file: file)
            guard json.object != nil else { throw invalid("is \(json.kindName), where an object is needed") }
            try read(json)
        }
    }

    private func invalid(_ what: String) -> FormatError {
        FormatError(.invalid, "tokenizer.config", "the tokenizer's configuration \(what)", at: file)
    }

    private mutating func read(_ json: JSON) throws(FormatError) {
        beginToken = try token("bos_token", in: json) ?? beginToken
        endToken = try token("eos_token", in: json) ?? endToken
        unknownToken = try token("unk_token", in: json) ?? unknownToken
        separatorToken = try token("sep_token", in: json) ?? separatorToken
        paddingToken = try token("pad_token", in: json) ?? paddingToken
        classToken = try token("cls_token", in: json) ?? classToken
        maskToken = try token("mask_token", in: json) ?? maskToken
        if let value = json["tokenizer_class"], !value.isNull {
            guard let name = value.string else { throw invalid("has tokenizer_class \(value.kindName)") }
            className = name
        }
        if let value = json["add_prefix_space"], !value.isNull {
            guard let flag = value.bool else { throw invalid("has add_prefix_space \(value.kindName)") }
            addsPrefixSpace = flag
        }
        if let value = json["model_max_length"], !value.isNull {
            guard let length = value.number, length >= 1 else {
                throw invalid("has model_max_length \(value.kindName)")
            }
            maximumLength = length < 1e9 ? Int(length) : nil
        }
        if let value = json["extra_ids"], !value.isNull {
            guard let count = value.integer, (0...100_000).contains(count) else {
                throw invalid("has extra_ids \(value.kindName)")
            }
            extraIdCount = count
        }
        if let value = json["added_tokens_decoder"], !value.isNull {
            guard let object = value.object else { throw invalid("has added_tokens_decoder \(value.kindName)") }
            for (key, value) in object {
                guard let id = Int(key.string), id >= 0, id < TokenizerLimits.vocabularySize else {
                    throw invalid("has the added token id \(quoted(key.string))")
                }
                addedTokens.append(try AddedTokens.Token(value, id: id, file: file))
            }
        }
    }

    /// A token is a string, or an object with the string in `content`. Its id is not known yet.
    private func token(_ key: String, in json: JSON) throws(FormatError) -> AddedTokens.Token? {
        guard let value = json[key], !value.isNull else { return nil }
        if let text = value.string, !text.isEmpty { return AddedTokens.Token(special: text) }
        guard value.object != nil else { throw invalid("has \(key) \(value.kindName), where a token is needed") }
        var token = try AddedTokens.Token(value, id: -1, file: file)
        token.isSpecial = true
        return token
    }
}

extension AddedTokens.Token {
    /// A token that is special because the configuration names it. An id of -1 is still to be looked up.
    init(special content: String, id: Int = -1) {
        self.init(
            id: id, content: content, isSpecial: true, isSingleWord: false, stripsLeft: false, stripsRight: false,
            isNormalized: false)
    }

    /// An entry of `added_tokens` or of `added_tokens_decoder`.
    init(_ json: JSON, id: Int, file: String) throws(FormatError) {
        func flag(_ key: String, default otherwise: Bool) throws(FormatError) -> Bool {
            guard let value = json[key] else { return otherwise }
            guard let flag = value.bool else {
                throw FormatError(
                    .invalid, "tokenizer.added", "the added token \(id) has \(key) \(value.kindName)", at: file)
            }
            return flag
        }
        guard let content = json["content"]?.string, !content.isEmpty, content.utf8.count <= TokenizerLimits.pieceLength
        else {
            throw FormatError(
                .invalid, "tokenizer.added", "the added token \(id) has no content that could be a token", at: file)
        }
        let isSpecial = try flag("special", default: false)
        self.init(
            id: id, content: content, isSpecial: isSpecial, isSingleWord: try flag("single_word", default: false),
            stripsLeft: try flag("lstrip", default: false), stripsRight: try flag("rstrip", default: false),
            isNormalized: try flag("normalized", default: !isSpecial))
    }
}
