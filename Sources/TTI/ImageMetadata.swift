package import TTICore
package import TTIFormats

/// How much of its making a picture carries.
package enum MetadataDetail: String, Sendable, CaseIterable {
    /// Everything.
    case full
    /// All but the texts.
    case params
    /// Nothing.
    case none
}

/// What a picture was made with, as it stands in the picture: in the text chunk `tti-ar` as JSON, whose members are named
/// like the options of `tti-ar generate` with underscores, and in the chunk `parameters` in the form of AUTOMATIC1111.
///
/// No path, no name of a person or machine, no time: the same command gives the same bytes.
package struct ImageMetadata: Sendable {
    /// The keyword of the JSON chunk.
    package static let keyword = "tti-ar"
    /// The keyword of the chunk in the form of AUTOMATIC1111.
    package static let parametersKeyword = "parameters"

    /// The members, in the order of the chunk.
    package var json: JSON

    /// - Parameters:
    ///   - checkpoint: as it was asked for; of a path only the last component is kept.
    ///   - attention: kept when it is not the usual one.
    ///   - seed: the image's own.
    package init(
        version: String, checkpoint: String, variant: String?, backend: String, device: String, precision: Precision,
        attention: AttentionForm,
        prompt: String, negativePrompt: String, seed: UInt64, settings: ResolvedSettings, strength: Float?,
        isMasked: Bool,
        isFromTokens: Bool,
        isFromLatents: Bool
    ) {
        var members = JSONObject()
        func add(_ key: ByteString, _ value: JSON) { members.set(key, value) }
        add("version", JSON(version))
        add("mode", JSON(settings.mode.rawValue))
        add("checkpoint", JSON(ImageMetadata.publicName(checkpoint)))
        if let variant { add("variant", JSON(variant)) }
        add("backend", JSON(backend))
        add("device", JSON(device))
        add("dtype", JSON(precision.rawValue))
        if attention != .flash { add("attention", JSON(attention.rawValue)) }
        add("prompt", JSON(prompt))
        if !negativePrompt.isEmpty { add("negative", JSON(negativePrompt)) }
        add("seed", JSON(seed))
        add("steps", JSON(settings.steps))
        add("guidance", JSON(settings.guidance))
        if settings.mode == .diffusion {
            add("scheduler", JSON(settings.scheduler.rawValue))
        } else {
            add(
                "temperature",
                settings.temperature.count == 1
                    ? JSON(settings.temperature[0]) : .list(settings.temperature.map { JSON($0) }))
            add("top_k", JSON(settings.topK))
            add("top_p", JSON(settings.topP))
        }
        if settings.mode == .parallel {
            add("schedule", JSON(settings.schedule.rawValue))
            add("order", JSON(settings.order.rawValue))
            add("guidance_ramp", JSON(settings.guidanceRamp.rawValue))
        }
        add("width", JSON(settings.width))
        add("height", JSON(settings.height))
        add("rng", JSON(settings.randomNumbers.rawValue))
        if let strength {
            add("image", true)
            if isMasked { add("mask", true) }
            add("strength", JSON(strength))
        }
        if isFromTokens { add("init_tokens", true) }
        if isFromLatents { add("init_latents", true) }
        json = .members(members)
    }

    /// Members that somebody wrote; the chunk's text as it was read.
    package init(json: JSON) { self.json = json }

    /// Names of shipped checkpoints and of repositories stay; of a path on this machine only its last component does.
    static func publicName(_ checkpoint: String) -> String {
        let parts = checkpoint.split(separator: "/", omittingEmptySubsequences: true)
        let isRepository =
            parts.count == 2 && !checkpoint.hasPrefix("/") && !checkpoint.hasPrefix(".")
            && FileStatus(path: checkpoint) == nil
        return isRepository ? checkpoint : parts.last.map(String.init) ?? checkpoint
    }

    /// The text chunks of a picture.
    package func chunks(_ detail: MetadataDetail) -> [(keyword: String, text: String)] {
        guard detail != .none else { return [] }
        var kept = self
        if detail == .params, var members = json.object {
            members = JSONObject(members.filter { $0.key != "prompt" && $0.key != "negative" })
            kept.json = .members(members)
        }
        return [
            (ImageMetadata.parametersKeyword, kept.parameters),
            (ImageMetadata.keyword, kept.json.text(isASCII: true)),
        ]
    }

    /// The prompt, the negative prompt, and a line of settings with the names that readers of such files look for.
    package var parameters: String {
        var text = json["prompt"]?.string.map { $0 + "\n" } ?? ""
        if let negative = json["negative"]?.string { text += "Negative prompt: \(negative)\n" }
        var fields: [(String, String)] = []
        func add(_ label: String, _ value: String?) { if let value { fields.append((label, value)) } }
        add("Steps", json["steps"]?.plainText)
        add("Sampler", sampler)
        add("CFG scale", json["guidance"]?.plainText)
        add("Seed", json["seed"]?.plainText)
        if let width = json["width"]?.plainText, let height = json["height"]?.plainText {
            add("Size", "\(width)x\(height)")
        }
        add("Model", json["checkpoint"]?.plainText)
        add("Denoising strength", json["strength"]?.plainText)
        add("RNG", json["rng"]?.plainText)
        add("Version", json["version"].flatMap(\.plainText).map { "tti-ar " + $0 })
        return text + fields.map { "\($0): \(fieldText($1))" }.joined(separator: ", ")
    }

    private var sampler: String? {
        guard let mode = json["mode"]?.string else { return nil }
        if let scheduler = json["scheduler"]?.string { return "\(mode) \(scheduler)" }
        guard let schedule = json["schedule"]?.string, let order = json["order"]?.string else { return mode }
        return "\(mode) \(schedule) \(order)"
    }
}

/// As a value in a list of settings: in quotes when a comma, a colon or a line's end would end it.
private func fieldText(_ value: String) -> String {
    let needsQuotes = value.contains { $0 == "," || $0 == ":" || $0 == "\n" || $0 == "\"" }
    return needsQuotes ? JSON(value).text() : value
}

extension JSON {
    /// A text or a number without quotes, true and false as words, numbers of a list between commas; nil for the rest.
    package var plainText: String? {
        switch self {
        case .text(let text): return text.string
        case .numeral(let text): return text
        case .boolean(let value): return value ? "true" : "false"
        case .list(let values):
            let texts = values.compactMap { value in if case .numeral(let text) = value { text } else { nil } }
            return texts.count == values.count && !texts.isEmpty ? texts.joined(separator: ",") : nil
        case .null, .members: return nil
        }
    }

    /// The shortest text that reads back as the same binary32 number.
    package init(_ value: Float) {
        guard value.isFinite else {
            self = .null
            return
        }
        let text = value.description
        self = .numeral(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
    }
}

extension JSONObject {
    /// The given members; of several with the same key the last one's value.
    init(_ members: some Sequence<Element>) {
        self.init()
        for member in members { set(member.key, member.value) }
    }
}
