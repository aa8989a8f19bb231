/// The folder in which Hugging Face's tools keep what they have downloaded; read in place, nothing is fetched.
///
/// `models--<org>--<name>/refs/<revision>` holds a commit, `snapshots/<commit>/` the files, mostly links into `blobs/`,
/// which newer versions link again into a `blobs/` of the whole cache. After the Hub's "Local Cache" page.
struct HubCache {
    let path: String

    /// nil when not even a home folder is known.
    init?(environment: (String) -> String?) {
        func below(_ variable: String, _ rest: String) -> String? {
            environment(variable).map { joinPath(expandHome($0, environment), rest) }
        }
        let explicit = environment("HF_HUB_CACHE") ?? environment("HUGGINGFACE_HUB_CACHE")
        guard
            let path = explicit.map({ expandHome($0, environment) }) ?? below("HF_HOME", "hub")
                ?? below("XDG_CACHE_HOME", "huggingface/hub") ?? below("HOME", ".cache/huggingface/hub")
        else { return nil }
        self.path = path
    }

    /// `org/name`, or a bare `name` as the oldest models have it, and a revision.
    struct Repository {
        let name: String
        let revision: String

        /// nil when the text is not the name of a repository.
        init?(_ text: String) {
            let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            let names = parts[0].split(separator: "/", omittingEmptySubsequences: false)
            guard names.count <= 2, names.allSatisfy(Self.isName), text.utf8.count <= 200 else { return nil }
            name = String(parts[0])
            revision = parts.count == 2 ? String(parts[1]) : "main"
            // A revision may have slashes ("refs/pr/1"), but no component that leads elsewhere.
            guard
                revision.split(separator: "/", omittingEmptySubsequences: false).allSatisfy({
                    isPlainFileName(String($0))
                })
            else { return nil }
        }

        private static func isName(_ name: Substring) -> Bool {
            guard let first = name.utf8.first, first != UInt8(ascii: "."), first != UInt8(ascii: "-") else {
                return false
            }
            return name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
        }
    }

    /// The snapshot of a repository; nil when the cache does not have the repository at all.
    func folder(_ repository: Repository, variant: String?) throws(FormatError) -> CheckpointFolder? {
        let folder = joinPath(path, "models--" + repository.name.split(separator: "/").joined(separator: "--"))
        guard FileStatus(path: folder)?.kind == .folder else { return nil }
        let snapshots = joinPath(folder, "snapshots")
        let commit = try commit(repository, in: folder, snapshots: snapshots)
        let snapshot = joinPath(snapshots, commit)
        let fetch =
            "hf download \(repository.name)"
            + (repository.revision == "main" ? "" : " --revision \(repository.revision)")
        guard FileStatus(path: snapshot)?.kind == .folder else {
            throw FormatError(
                .missingPath, "model.incomplete",
                "\(quoted(repository.name)) is not in the cache at revision \(quoted(repository.revision))",
                at: quoted(snapshot), try: "fetch it with: \(fetch)")
        }
        let checkpoint = try CheckpointFolder(path: snapshot, variant: variant)
        do throws(FormatError) { try checkpoint.checkIsCheckpoint() } catch {
            throw FormatError(
                .invalid, "model.incomplete",
                "the snapshot of \(quoted(repository.name)) has neither 'model_index.json' nor 'config.json'",
                at: quoted(snapshot), try: "finish the download with: \(fetch)")
        }
        return checkpoint
    }

    /// For a folder in a snapshot of any cache: the repository's name, and the folders that its links lead into.
    static func snapshot(of canonicalPath: String) -> (repository: String, roots: [String])? {
        let parts = canonicalPath.split(separator: "/")
        let marker = "models--"
        for index in parts.indices.dropLast(2) where parts[index + 1] == "snapshots" && parts[index].hasPrefix(marker) {
            let cache = "/" + parts[..<index].joined(separator: "/")
            let names = parts[index].dropFirst(marker.count).split(separator: "-", omittingEmptySubsequences: false)
            // "--" stands for the slash: the first empty part between two hyphens.
            let repository = names.firstIndex(of: "").map {
                names[..<$0].joined(separator: "-") + "/" + names[($0 + 1)...].joined(separator: "-")
            }
            return (
                repository ?? names.joined(separator: "-"),
                [joinPath(cache, String(parts[index])), joinPath(cache, "blobs")]
            )
        }
        return nil
    }

    private func commit(
        _ repository: Repository, in folder: String, snapshots: String
    ) throws(FormatError) -> String {
        if isCommit(repository.revision) { return repository.revision }
        let reference = joinPath(joinPath(folder, "refs"), repository.revision)
        guard FileStatus(path: reference) != nil else {
            let there = folderContents(joinPath(folder, "refs")) + folderContents(snapshots)
            throw FormatError(
                .missingPath, "model.revision",
                "\(quoted(repository.name)) is in the cache, but not its revision \(quoted(repository.revision))"
                    + (there.isEmpty
                        ? ""
                        : " (there are \(there.prefix(6).map { harmless($0, limit: 48) }.joined(separator: ", ")))"),
                at: quoted(folder),
                try: "name one of those after '@', or fetch it with: hf download \(repository.name) --revision"
                    + " \(repository.revision)")
        }
        let text = String(decoding: try readFile(reference, limit: 4096), as: UTF8.self)
        let commit = text.split { $0.isWhitespace }.first.map(String.init) ?? ""
        guard isCommit(commit) else {
            throw FormatError(
                .invalid, "model.revision",
                "the file should hold a commit of 40 hexadecimal digits: \(quoted(text, limit: 60))",
                at: quoted(reference))
        }
        return commit
    }
}

/// Whether the text is a git commit: 40 hexadecimal digits.
private func isCommit(_ text: String) -> Bool {
    text.utf8.count == 40 && text.allSatisfy { $0.isASCII && $0.isHexDigit }
}

/// Replaces `~` at the beginning by the home folder.
private func expandHome(_ path: String, _ environment: (String) -> String?) -> String {
    guard path == "~" || path.hasPrefix("~/"), let home = environment("HOME") else { return path }
    return home + path.dropFirst()
}
