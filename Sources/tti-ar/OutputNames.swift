internal import TTI
internal import TTIFormats

/// Where an image goes, before it is known what is there.
struct OutputName: Sendable {
    /// A path with `{seed}` and the others in it; "-" is standard output.
    let template: String
    let existing: ExistingFilePolicy

    /// - Parameters:
    ///   - isOneOfMany: whether there are several prompts, whose ids then tell default names apart.
    init(_ settings: GenerateSettings, isOneOfMany: Bool) {
        let ownName = isOneOfMany ? "tti-ar-{id}-{seed}.png" : "tti-ar-{seed}.png"
        guard let output = settings.output else {
            template = "tti-ar-{seed}.png"
            existing = settings.existing ?? .suffix
            return
        }
        existing = settings.existing ?? .overwrite
        let isFolder = output.hasSuffix("/") || FileStatus(path: output)?.kind == .folder
        template = isFolder ? joinPath(output, ownName) : output
    }

    var isStandardOutput: Bool { template == "-" }

    func path(_ values: NameValues) -> String { values.filled(template) }
}

extension OptionValues {
    /// Endings of names under which other programs would look for another format.
    private static let otherFormats: Set<String> = [
        "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "ppm",
    ]

    /// Where a picture goes: a path that does not name another format than PNG. A folder may be called as it likes.
    func picturePath(_ name: String) throws(TTIError) -> String? {
        guard let path = try path(name) else { return nil }
        let file = fileName(path)
        guard !path.hasSuffix("/"), let point = file.lastIndex(of: "."),
            Self.otherFormats.contains(file[file.index(after: point)...].lowercased()),
            FileStatus(path: path)?.kind != .folder
        else { return path }
        throw fault(name, path, "names another format than PNG, the one that is written; end the name in .png")
    }
}

/// What placeholders in a file's name stand for.
struct NameValues: Sendable {
    var seed: UInt64
    var index: Int
    var id: String
    var mode: GenerationMode

    static let mode = "{mode}"
    static let placeholders = ["{seed}", "{index}", "{id}", mode]

    static func hasPlaceholder(_ template: String) -> Bool { placeholders.contains { template.contains($0) } }

    /// Placeholders are replaced in one pass, so that an id with braces in it stays what it is.
    func filled(_ template: String) -> String {
        var text = ""
        var rest = template[...]
        while let brace = rest.firstIndex(of: "{") {
            text += rest[..<brace]
            rest = rest[brace...]
            if let name = NameValues.placeholders.first(where: { rest.hasPrefix($0) }) {
                text += value(name)
                rest = rest.dropFirst(name.count)
            } else {
                text += "{"
                rest = rest.dropFirst()
            }
        }
        return text + rest
    }

    private func value(_ placeholder: String) -> String {
        switch placeholder {
        case "{seed}": String(seed)
        case "{index}": String(index)
        case "{id}": id
        default: mode.rawValue
        }
    }
}

/// `name.preview.png` for `name.png`.
func previewPath(beside path: String) -> String {
    let folder = parentFolder(path)
    let name = fileName(path)
    let stem = name.lowercased().hasSuffix(".png") ? String(name.dropLast(4)) : name
    let file = stem + ".preview.png"
    return path.contains("/") ? joinPath(folder, file) : file
}
