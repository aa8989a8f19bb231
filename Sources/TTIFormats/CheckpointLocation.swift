extension CheckpointFolder {
    /// Finds the checkpoint that a person names: a folder; the name of a folder in one of `searchFolders`; or
    /// `org/name[@revision]` in the local cache of Hugging Face. A folder that exists wins.
    ///
    /// Throws `missingPath` when nothing is found, with the nearest name that exists.
    ///
    /// - Parameters:
    ///   - searchFolders: folders of named checkpoints (those that ship); the first that has the name is taken.
    ///   - environment: looks a variable up.
    package static func find(
        _ argument: String, variant: String? = nil, searchFolders: [String] = [],
        environment: (String) -> String? = environmentVariable
    ) throws(FormatError) -> CheckpointFolder {
        if FileStatus(path: argument) != nil {
            let folder = try CheckpointFolder(path: argument, variant: variant)
            try folder.checkIsCheckpoint()
            return folder
        }
        if isPlainFileName(argument), let folder = try named(argument, variant: variant, in: searchFolders) {
            return folder
        }
        let cache = HubCache(environment: environment)
        if let repository = HubCache.Repository(argument), let folder = try cache?.folder(repository, variant: variant)
        {
            return folder
        }
        throw notFound(argument, searchFolders, cache)
    }

    /// A checkpoint that ships, whatever the working directory holds.
    ///
    /// Throws `missingPath` when no folder has it.
    package static func shipped(
        _ name: String, variant: String? = nil, in searchFolders: [String]
    ) throws(FormatError) -> CheckpointFolder {
        if let folder = try named(name, variant: variant, in: searchFolders) { return folder }
        throw notFound(name, searchFolders, nil)
    }

    private static func named(
        _ name: String, variant: String?, in searchFolders: [String]
    ) throws(FormatError) -> CheckpointFolder? {
        for search in searchFolders {
            let path = joinPath(search, name)
            guard FileStatus(path: path)?.kind == .folder else { continue }
            let folder = try CheckpointFolder(path: path, variant: variant)
            try folder.checkIsCheckpoint()
            return folder
        }
        return nil
    }

    private static func notFound(_ argument: String, _ searchFolders: [String], _ cache: HubCache?) -> FormatError {
        var remedies: [String] = []
        if let near = nearestPath(argument) {
            remedies.append("did you mean \(quoted(near))?")
        } else if let near = nearest(argument, searchFolders.flatMap(folderContents)) {
            remedies.append("did you mean \(quoted(near))?")
        }
        if HubCache.Repository(argument) != nil, argument.contains("/"), !argument.hasPrefix("Checkpoints/") {
            remedies.append("'hf download \(harmless(argument))' fetches it from the Hugging Face Hub")
        }
        let shipped = Set(searchFolders.flatMap(folderContents)).sorted()
        if remedies.isEmpty, !shipped.isEmpty {
            remedies.append("these come with tti-ar: \(shipped.joined(separator: ", "))")
        }
        return FormatError(
            .missingPath, "model.missing", "there is no checkpoint \(quoted(argument))",
            try: remedies.isEmpty ? nil : remedies.joined(separator: " "))
    }

    /// The nearest name beside the path's last component.
    private static func nearestPath(_ path: String) -> String? {
        if path.isEmpty || path.utf8.count > 4096 { return nil }
        let parent = parentFolder(path)
        guard let name = nearest(fileName(path), folderContents(parent)) else { return nil }
        return path.contains("/") ? joinPath(parent, name) : name
    }
}

/// The name that differs least, if it differs little: another case, or a few letters.
package func nearest(_ name: String, _ names: [String]) -> String? {
    let wanted = Array(name.lowercased().utf8.prefix(256))
    let limit = max(1, min(3, wanted.count / 4))
    var best: (name: String, distance: Int)?
    for candidate in names.prefix(10_000) {
        let distance = editDistance(wanted, Array(candidate.lowercased().utf8.prefix(256)))
        if distance <= limit, distance < best?.distance ?? Int.max { best = (candidate, distance) }
    }
    return best?.name
}

/// How many bytes must be put in, taken out or replaced.
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let above = row[j + 1]
            row[j + 1] = min(above + 1, row[j] + 1, diagonal + (x == y ? 0 : 1))
            diagonal = above
        }
    }
    return row[b.count]
}
