/// A folder of a checkpoint: a pipeline with its components, or one component with its configuration and weights.
///
/// Everything in it is reached by plain names. Symbolic links may lead anywhere below `roots` (the cache of Hugging Face is
/// made of them) and into another checkpoint beside this one (two may share a component), and nowhere else.
package struct CheckpointFolder: Sendable {
    package let path: String
    /// Where links may lead: canonical paths of folders.
    let roots: [String]
    /// The file variant that was asked for ("fp16"); nil takes the plain files where there are any.
    package let variant: String?
    /// "org/name" for a folder in the cache of Hugging Face, for the command that fetches what is missing.
    package let repository: String?

    /// How large a configuration file may be.
    package static let configurationByteLimit = 1_000_000
    static let indexByteLimit = 64_000_000

    /// Throws `missingPath` when there is no folder at the path. The path itself may have links.
    package init(path: String, variant: String? = nil) throws(FormatError) {
        switch FileStatus.of(path) {
        case .failure(let failure): throw FormatError.system(failure.number, "open", path)
        case .success(let status):
            guard status.kind == .folder else {
                if status.kind == .file, isPickleName(path) {
                    throw FormatError(
                        .invalid, "model.pickle",
                        "\(quoted(path)) is a pickle, which can run code when it is read, and is not read",
                        try: "make a folder with safetensors of it: \(singleFileConversion(quoted(path)))")
                }
                throw FormatError(
                    .notRegularFile, "input.kind",
                    "\(quoted(path)) is \(status.kindName), where a checkpoint's folder is needed",
                    try: status.kind == .file ? "give the folder that it is in" : nil)
            }
        }
        guard let canonical = canonicalPath(path) else {
            throw FormatError(.unreadable, "input.unreadable", "the folder \(quoted(path)) cannot be entered")
        }
        self.path = path
        let snapshot = HubCache.snapshot(of: canonical)
        roots = [canonical] + (snapshot?.roots.compactMap(canonicalPath) ?? [])
        self.variant = variant
        repository = snapshot?.repository
    }

    private init(_ parent: CheckpointFolder, path: String) {
        self.path = path
        roots = parent.roots
        variant = parent.variant
        repository = parent.repository
    }

    /// The path of a file or folder in this folder; nil when there is none.
    ///
    /// Throws `refused` when the name is not a plain one or the file lies outside the roots, and `invalid` for a link to
    /// nothing, which is what a download that was interrupted leaves.
    package func pathIfPresent(_ name: String) throws(FormatError) -> String? {
        guard isPlainFileName(name) else {
            throw FormatError(
                .refused, "model.path", "the checkpoint names \(quoted(name)), which is no plain file name",
                at: quoted(path))
        }
        let full = joinPath(path, name)
        let status: FileStatus
        switch FileStatus.of(full, followsLinks: false) {
        case .success(let found): status = found
        case .failure(let failure):
            let error = FormatError.system(failure.number, "look at", full)
            if error.kind == .missingPath { return nil }
            throw error
        }
        guard let canonical = canonicalPath(full) else {
            guard status.kind == .link else { return nil }
            throw FormatError(
                .invalid, "model.incomplete", "\(quoted(full)) is a link to a file that is not there",
                try: "finish the download with: hf download \(repository ?? "ORG/NAME")")
        }
        guard roots.contains(where: { isPath(canonical, below: $0) }) || isInSibling(canonical) else {
            throw FormatError(
                .refused, "model.path", "\(quoted(full)) leads out of the checkpoint's folder, to \(quoted(canonical))",
                try: "copy the file into the folder")
        }
        return full
    }

    /// Whether a canonical path lies in a checkpoint that stands in the same folder as this one.
    private func isInSibling(_ canonical: String) -> Bool {
        guard let root = roots.first else { return false }
        let parent = parentFolder(root)
        guard parent != "/", isPath(canonical, below: parent) else { return false }
        let sibling = canonical.dropFirst(parent.count + 1).prefix { $0 != "/" }
        let folder = joinPath(parent, String(sibling))
        return folder != canonical
            && ["model_index.json", "config.json"].contains { FileStatus(path: joinPath(folder, $0))?.kind == .file }
    }

    package func contains(_ name: String) -> Bool {
        if let path = try? pathIfPresent(name) { return FileStatus(path: path) != nil }
        return false
    }

    /// The path of a file that must be there.
    package func filePath(_ name: String) throws(FormatError) -> String {
        if let path = try pathIfPresent(name) { return path }
        throw FormatError(
            .invalid, "model.missing", "there is no \(quoted(name))", at: quoted(path),
            try: repository.map { "fetch it with: hf download \($0)" })
    }

    /// A component's folder, which must be there.
    package func folder(_ name: String) throws(FormatError) -> CheckpointFolder {
        let path = try filePath(name)
        guard FileStatus(path: path)?.kind == .folder else {
            throw FormatError(.invalid, "model.layout", "\(quoted(path)) is not a folder")
        }
        return CheckpointFolder(self, path: path)
    }

    /// The bytes of a small file that must be there; more than `limit` are refused.
    package func read(_ name: String, limit: Int = configurationByteLimit) throws(FormatError) -> [UInt8] {
        try readFile(try filePath(name), limit: limit)
    }

    /// A JSON file that must be there.
    package func json(_ name: String, limit: Int = configurationByteLimit) throws(FormatError) -> JSON {
        try JSON(try read(name, limit: limit), file: quoted(joinPath(path, name)))
    }

    /// A JSON file, nil when it is absent.
    package func jsonIfPresent(_ name: String, limit: Int = configurationByteLimit) throws(FormatError) -> JSON? {
        guard try pathIfPresent(name) != nil else { return nil }
        return try json(name, limit: limit)
    }

    /// The configuration of a component: `config.json`, or another name.
    package func configuration(_ name: String = "config.json") throws(FormatError) -> Configuration {
        try Configuration(try json(name), file: joinPath(path, name))
    }
}

/// Whether a canonical path is a folder or lies below it.
func isPath(_ path: String, below folder: String) -> Bool {
    path == folder || path.hasPrefix(folder == "/" ? "/" : folder + "/")
}
