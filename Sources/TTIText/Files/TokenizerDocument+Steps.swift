internal import TTIFormats

/// The steps around the model.
extension TokenizerDocument {
    func normalizer(_ json: JSON) throws(FormatError) -> Normalizer? {
        if json.isNull { return nil }
        switch json["type"]?.string {
        case "NFC": return .form(.nfc)
        case "NFD": return .form(.nfd)
        case "NFKC": return .form(.nfkc)
        case "NFKD": return .form(.nfkd)
        case "Lowercase": return .lowercase
        case "StripAccents": return .dropMarks
        case "Nmt": return .translationCleaning
        case "Strip":
            return .strip(
                left: try flag("strip_left", of: json, default: true),
                right: try flag("strip_right", of: json, default: true))
        case "Prepend":
            guard let prefix = json["prepend"]?.string else {
                throw invalid("normalizer", "Prepend has nothing to prepend")
            }
            return .prepend(Array(prefix.unicodeScalars))
        case "Replace": return try replacement(json)
        case "Precompiled":
            guard let text = json["precompiled_charsmap"], !text.isNull else { return nil }
            guard let blob = text.string.flatMap(base64) else {
                throw FormatError(
                    .invalid, "tokenizer.charsmap", "the precompiled character map is not base64", at: file)
            }
            return .charsmap(try PrecompiledCharsmap(blob[...], file: file))
        case "Sequence":
            guard let list = json["normalizers"]?.array else {
                throw invalid("normalizer", "Sequence has no normalizers")
            }
            var steps: [Normalizer] = []
            for step in list { if let step = try normalizer(step) { steps.append(step) } }
            return .sequence(steps)
        default: throw unknownStep("normalizer", json)
        }
    }

    private func isShort(_ text: String) -> Bool { text.utf8.count <= TokenizerLimits.pieceLength }

    private func replacement(_ json: JSON) throws(FormatError) -> Normalizer {
        guard let content = json["content"]?.string, isShort(content) else {
            throw invalid("normalizer", "Replace has no content of less than \(TokenizerLimits.pieceLength) bytes")
        }
        let replacement = Array(content.unicodeScalars)
        if let text = json["pattern"]?["String"]?.string, !text.isEmpty, isShort(text) {
            return .replace(Array(text.unicodeScalars), with: replacement)
        }
        switch json["pattern"]?["Regex"]?.string {
        case "\\s+": return .collapseSpaces(replacement)
        case " {2,}": return .collapseBlanks(minimum: 2, with: replacement)
        case " +": return .collapseBlanks(minimum: 1, with: replacement)
        default: throw unknownPattern("normalizer", json)
        }
    }

    func preTokenizer(_ json: JSON) throws(FormatError) -> PreTokenizer? {
        if json.isNull { return nil }
        switch json["type"]?.string {
        case "ByteLevel":
            return .byteLevel(
                addsPrefixSpace: try flag("add_prefix_space", of: json, default: true),
                cuts: try flag("use_regex", of: json, default: true))
        case "WhitespaceSplit": return .split(.run(.space, atMost: 1), .removed, inverted: false)
        case "Digits":
            return try flag("individual_digits", of: json, default: false)
                ? .split(.run(.numeric, atMost: 1), .isolated, inverted: false)
                : .split(.run(.numeric, atMost: .max), .isolated, inverted: false)
        case "Split":
            guard let behavior = json["behavior"]?.string.flatMap(PreTokenizer.SplitBehavior.init) else {
                throw invalid("pre_tokenizer", "Split has the behavior \(json["behavior"]?.kindName ?? "of nothing")")
            }
            return .split(try scanner(json), behavior, inverted: try flag("invert", of: json, default: false))
        case "Metaspace":
            guard let text = json["replacement"]?.string, let replacement = text.unicodeScalars.first,
                text.unicodeScalars.count == 1
            else { throw invalid("pre_tokenizer", "Metaspace has no replacement of one character") }
            return .metaspace(
                replacement: replacement, try prependScheme(json), splits: try flag("split", of: json, default: true))
        case "Sequence":
            guard let list = json["pretokenizers"]?.array else {
                throw invalid(
                    "pre_tokenizer", "Sequence has no pretokenizers")
            }
            var steps: [PreTokenizer] = []
            for step in list { if let step = try preTokenizer(step) { steps.append(step) } }
            return .sequence(steps)
        default: throw unknownStep("pre_tokenizer", json)
        }
    }

    private func scanner(_ json: JSON) throws(FormatError) -> PieceScanner {
        if let text = json["pattern"]?["String"]?.string, !text.isEmpty, isShort(text) {
            return .literal(Array(text.unicodeScalars))
        }
        guard let pattern = json["pattern"]?["Regex"]?.string, let scanner = PieceScanner(pattern: pattern) else {
            throw unknownPattern("pre_tokenizer", json)
        }
        return scanner
    }

    private func prependScheme(_ json: JSON) throws(FormatError) -> PreTokenizer.PrependScheme {
        // Files written before 2024 have a flag in its place.
        let addsSpace = try flag("add_prefix_space", of: json, default: true)
        guard let value = json["prepend_scheme"], !value.isNull else { return addsSpace ? .always : .never }
        guard let scheme = value.string.flatMap(PreTokenizer.PrependScheme.init) else {
            throw invalid("pre_tokenizer", "Metaspace has the prepend_scheme \(value.kindName)")
        }
        return addsSpace ? scheme : .never
    }

    /// What stands before and after every text. All ids lie below `count`.
    func specialIds(_ json: JSON, count: Int) throws(FormatError) -> (before: [Int], after: [Int]) {
        let around = try processorIds(json, count: count)
        guard around.before.count + around.after.count <= TokenizerLimits.specialCount else {
            throw invalid("post_processor", "puts more than \(TokenizerLimits.specialCount) tokens around a text")
        }
        return around
    }

    private func processorIds(_ json: JSON, count: Int) throws(FormatError) -> (before: [Int], after: [Int]) {
        if json.isNull { return ([], []) }
        func checked(_ id: JSON?) throws(FormatError) -> Int {
            guard let id = id?.integer, id >= 0, id < count else {
                throw invalid(
                    "post_processor", "has a token with the id \(id?.kindName ?? "of nothing"), of \(count) there are")
            }
            return id
        }
        switch json["type"]?.string {
        case "ByteLevel": return ([], [])
        case "RobertaProcessing", "BertProcessing":
            guard let before = json["cls"]?.array, let after = json["sep"]?.array, before.count == 2, after.count == 2
            else {
                throw invalid("post_processor", "has no cls and sep of a token and an id each")
            }
            return ([try checked(before[1])], [try checked(after[1])])
        case "TemplateProcessing":
            guard let template = json["single"]?.array else {
                throw invalid("post_processor", "has no template for one text")
            }
            var around: (before: [Int], after: [Int]) = ([], [])
            var textCount = 0
            for element in template {
                if element["Sequence"]?.object != nil {
                    textCount += 1
                    continue
                }
                guard let name = element["SpecialToken"]?["id"]?.byteString,
                    let token = json["special_tokens"]?.object?[name], let ids = token["ids"]?.array,
                    ids.count + template.count <= TokenizerLimits.specialCount
                else { throw invalid("post_processor", "names a special token that it does not define, or too many") }
                for id in ids {
                    if textCount == 0 {
                        around.before.append(try checked(id))
                    } else {
                        around.after.append(try checked(id))
                    }
                }
            }
            guard textCount == 1 else {
                throw invalid("post_processor", "has a template with \(textCount) texts, not one")
            }
            return around
        case "Sequence":
            guard let list = json["processors"]?.array, list.count <= TokenizerLimits.stepCount else {
                throw invalid("post_processor", "Sequence has no processors")
            }
            var around: (before: [Int], after: [Int]) = ([], [])
            for step in list {
                let ids = try specialIds(step, count: count)
                around = (ids.before + around.before, around.after + ids.after)
            }
            return around
        default: throw unknownStep("post_processor", json)
        }
    }

    private func unknownStep(_ step: String, _ json: JSON) -> FormatError {
        let type = json["type"]?.string.map { quoted($0, limit: 40) } ?? json["type"]?.kindName ?? "of nothing"
        return invalid(step, "has the type \(type), which is not supported")
    }

    private func unknownPattern(_ step: String, _ json: JSON) -> FormatError {
        let pattern = json["pattern"]?["Regex"]?.string ?? json["pattern"]?.string ?? ""
        return FormatError(
            .invalid, "tokenizer.pattern",
            "the tokenizer's \(step) cuts text with the pattern \(quoted(pattern)), which is not a known one", at: file,
            try: "patterns from files are not compiled; the known ones are CLIP's, GPT-2's, GPT-4's and Qwen 2's")
    }
}

/// Bytes from base64 with padding; nil where the text is not that.
func base64(_ text: String) -> [UInt8]? {
    let utf8 = Array(text.utf8)
    guard utf8.count % 4 == 0 else { return nil }
    let paddingCount = utf8.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count
    var bytes: [UInt8] = []
    bytes.reserveCapacity(utf8.count / 4 * 3)
    var bits: UInt32 = 0
    var bitCount = 0
    for character in utf8.dropLast(paddingCount) {
        let value: UInt8
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        default: return nil
        }
        bits = bits << 6 | UInt32(value)
        bitCount += 6
        if bitCount >= 8 {
            bitCount -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
        }
    }
    return bytes
}
