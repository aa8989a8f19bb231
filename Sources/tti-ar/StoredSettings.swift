internal import TTI
internal import TTIFormats

/// Settings that tti-ar wrote: a PNG's text chunk, a line of `generate --json`, the output of `metadata --json`.
enum StoredSettings {
    /// Members that are options of `generate`, with the option's name.
    private static let optionFromMember: [(member: String, option: String)] = [
        ("mode", "mode"), ("dtype", "dtype"), ("attention", "attention"), ("checkpoint", "checkpoint"),
        ("variant", "variant"),
        ("prompt", "prompt"),
        ("negative", "negative"), ("seed", "seed"), ("steps", "steps"), ("guidance", "guidance"),
        ("temperature", "temperature"), ("top_k", "top-k"), ("top_p", "top-p"), ("schedule", "schedule"),
        ("order", "order"), ("scheduler", "scheduler"), ("guidance_ramp", "guidance-ramp"), ("width", "width"),
        ("height", "height"),
        ("rng", "rng"),
        ("strength", "strength"),
    ]

    /// The settings in a file, as options.
    ///
    /// - Throws: `TTIError` of code missingInput or invalidInput.
    ///
    /// - Parameter given: the command line, which has to name the picture again that the image was made from.
    static func read(_ path: String, given: OptionValues) throws(TTIError) -> OptionValues {
        let metadata = try metadata(path)
        for (member, option) in [
            ("image", "image"), ("mask", "mask"), ("init_tokens", "init-tokens"), ("init_latents", "init-latents"),
        ]
        where metadata.json[member]?.bool == true && given[option] == nil {
            throw usage(
                "from",
                "the image was made from another file, which is not in it: \(quoted(path)); add --\(option) FILE")
        }
        return options(metadata, place: quoted(path))
    }

    /// What a file says about a picture's making.
    static func metadata(_ path: String) throws(TTIError) -> ImageMetadata {
        do {
            let bytes = try inputBytes(path, name: quoted(path), limit: PNG.byteLimit)
            if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) {
                let texts = try PNG.texts(bytes, name: quoted(path))
                guard let text = texts.first(where: { $0.keyword == ImageMetadata.keyword })?.text else {
                    throw TTIError(
                        .invalidInput, "input.metadata",
                        "the picture has no settings of tti-ar in it: \(quoted(path)); it was made by another program, or with "
                            + "--metadata none")
                }
                return ImageMetadata(json: try object(Array(text.utf8), path))
            }
            let line = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 1).first.map(Array.init) ?? []
            let json = try (try? object(bytes, path)) ?? object(line, path)
            return ImageMetadata(json: json["settings"] ?? json)
        } catch { throw TTIError(translating: error) }
    }

    private static func object(_ bytes: [UInt8], _ path: String) throws -> JSON {
        do {
            let json = try JSON(bytes, file: quoted(path))
            guard json.object != nil, (json["settings"] ?? json)["mode"] != nil else {
                throw TTIError(
                    .invalidInput, "input.metadata",
                    "there are no settings of tti-ar in \(quoted(path)); it takes a PNG or JSON that it wrote")
            }
            return json
        } catch let error as FormatError { throw error.inInputFile }
    }

    /// The settings as options of `generate`.
    static func options(_ metadata: ImageMetadata, place: String) -> OptionValues {
        var values = OptionValues()
        values.place = place
        let isAutoregressive = metadata.json["mode"]?.string == GenerationMode.autoregressive.rawValue
        for (member, option) in optionFromMember {
            guard let value = metadata.json[member], let text = value.plainText else { continue }
            // Its steps are its tokens: a number of the checkpoint's, not a setting.
            if isAutoregressive, option == "steps" { continue }
            values[option] = text
        }
        return values
    }

    /// The line that makes the image again.
    static func command(_ metadata: ImageMetadata) -> String {
        let values = options(metadata, place: "")
        var words = ["tti-ar", "generate"]
        for (_, option) in optionFromMember where option != "prompt" && option != "strength" {
            guard let value = values[option] else { continue }
            words.append("--\(option)=\(value)")
        }
        if let backend = metadata.json["backend"]?.string { words.append("--backend=\(backend)") }
        if metadata.json["image"]?.bool == true {
            words += ["--strength=\(values["strength"] ?? "0.5")", "--image=PICTURE.png"]
        }
        if metadata.json["mask"]?.bool == true { words.append("--mask=MASK.png") }
        if metadata.json["init_tokens"]?.bool == true { words.append("--init-tokens=TOKENS.safetensors") }
        if metadata.json["init_latents"]?.bool == true { words.append("--init-latents=LATENTS.safetensors") }
        words.append("--prompt=" + (values["prompt"] ?? ""))
        return words.map(shellQuoted).joined(separator: " ")
    }
}

/// What of an item's settings is from the file of `--from`.
struct StoredOrigin {
    /// The file's name in quotes.
    let file: String
    /// How its picture was made, as the file says.
    let mode: String
    private let names: Set<String>

    /// - Parameters:
    ///   - stored: what the file says.
    ///   - values: the item's settings, over that.
    init(_ stored: OptionValues, in values: OptionValues) {
        file = stored.place ?? ""
        mode = harmless(stored["mode"] ?? "", limit: 20)
        names = Set(values.names.filter { stored[$0] != nil && values.place(of: $0) == stored.place })
    }

    func has(_ option: String) -> Bool { names.contains(option) }
}

/// A word as a POSIX shell reads it back.
func shellQuoted(_ word: String) -> String {
    let isPlain =
        !word.isEmpty
        && word.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "-_./=,:+@".utf8.contains(byte)
            }
        }
    if isPlain { return word }
    // By scalars: an apostrophe with a mark that combines with it is another character, but the shell reads it as one.
    var result = "'"
    for scalar in word.unicodeScalars {
        if scalar == "'" { result += "'\\'" }
        result.unicodeScalars.append(scalar)
    }
    return result + "'"
}
