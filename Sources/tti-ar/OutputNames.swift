internal import Glibc
internal import TTI
internal import TTIFormats

/// Where an image goes, before it is known what is there.
struct OutputName: Sendable {
    /// A path with `{seed}` and the others in it; "-" is standard output.
    let template: String
    let existing: ExistingFile
    /// Whether the file's name was chosen by us, so that two of the same name are told apart by a suffix.
    let isOurs: Bool

    /// - Parameters:
    ///   - isOneOfMany: whether there are several prompts, whose ids then tell default names apart.
    init(_ settings: GenerateSettings, isOneOfMany: Bool) {
        let ownName = isOneOfMany ? "tti-ar-{id}-{seed}.png" : "tti-ar-{seed}.png"
        guard let output = settings.output else {
            template = "tti-ar-{seed}.png"
            existing = settings.existing ?? .suffix
            isOurs = true
            return
        }
        existing = settings.existing ?? .overwrite
        let isFolder = output.hasSuffix("/") || FileStatus(path: output)?.kind == .folder
        isOurs = false
        template = isFolder ? joinPath(output, ownName) : output
    }

    var isStandardOutput: Bool { template == "-" }

    func path(_ values: NameValues) -> String { values.filled(template) }

    /// Throws when the image could not be written after all the work.
    static func check(path: String, existing: ExistingFile) throws(TTIError) {
        let folder = parentFolder(path)
        guard let status = FileStatus(path: folder) else {
            throw TTIError(
                .cannotCreate, "output.folder", "there is no folder \(quoted(folder)) to write into; create it first")
        }
        guard status.kind == .folder else {
            throw TTIError(.cannotCreate, "output.folder", "\(quoted(folder)) is \(status.kindName), not a folder")
        }
        guard unsafe access(folder, W_OK | X_OK) == 0 else {
            throw TTIError(
                .cannotCreate, "output.permission", "the folder \(quoted(folder)) cannot be written to: \(message(errno))")
        }
        guard let file = FileStatus(path: path) else { return }
        if file.kind == .folder {
            throw TTIError(.cannotCreate, "output.kind", "\(quoted(path)) is a folder, where a file is to be written")
        }
        if existing == .error {
            throw TTIError(
                .cannotCreate, "output.exists", "\(quoted(path)) exists; choose another name, or --if-exists overwrite")
        }
    }
}

/// What placeholders in a file's name stand for.
struct NameValues: Sendable {
    var seed: UInt64
    var index: Int
    var id: String
    var mode: GenerationMode

    static let placeholders = ["{seed}", "{index}", "{id}", "{mode}"]

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
