package import TTICore

/// The weights of one network: one safetensors file, or several shards and the index that says which tensor is where.
package final class TensorFiles {
    package let files: [SafetensorsFile]
    /// All names, in the order of the files.
    package let names: [String]
    /// Tensors that a shard has and the index does not name; nobody will ask for them.
    package let unindexedNames: [String]
    private let fileFromName: [ByteString: Int]

    /// How many shards an index may name; 1,433 exist.
    static let shardLimit = 4096

    /// A single file.
    package init(_ file: SafetensorsFile) {
        files = [file]
        names = file.entries.map(\.name)
        unindexedNames = []
        fileFromName = Dictionary(uniqueKeysWithValues: file.entries.map { (ByteString($0.name), 0) })
    }

    /// A single file at a path.
    package convenience init(path: String) throws(FormatError) { self.init(try SafetensorsFile(path: path)) }

    /// The shards that an index names, all opened and checked.
    ///
    /// - Parameters:
    ///   - index: the contents of a `*.safetensors.index.json`.
    ///   - indexName: its name, for errors.
    ///   - folder: where index and shards are.
    init(index: JSON, indexName: String, in folder: CheckpointFolder) throws(FormatError) {
        guard let map = index["weight_map"]?.object, !map.isEmpty else {
            throw FormatError(.invalid, "model.index", "there is no 'weight_map' with tensors", at: quoted(indexName))
        }
        // Shards in the order in which the index first names them.
        var shardNames: [String] = []
        var shardFromName: [ByteString: Int] = [:]
        var fileFromName: [ByteString: Int] = [:]
        for (tensor, value) in map {
            guard let shard = value.byteString else {
                throw FormatError(
                    .invalid, "model.index", "the shard of tensor \(quoted(tensor.string)) is \(value.kindName)",
                    at: quoted(indexName))
            }
            if let known = shardFromName[shard] {
                fileFromName[tensor] = known
                continue
            }
            guard isPlainFileName(shard.string) else {
                throw FormatError(
                    .refused, "model.path",
                    "the index names the shard \(quoted(shard.string)), which is no plain file name",
                    at: quoted(indexName), try: "do not use this checkpoint unless you know why it does that")
            }
            guard shardNames.count < Self.shardLimit else {
                throw FormatError(
                    .invalid, "model.index", "the index names more than \(Self.shardLimit) shards",
                    at: quoted(indexName))
            }
            shardFromName[shard] = shardNames.count
            fileFromName[tensor] = shardNames.count
            shardNames.append(shard.string)
        }
        files = try Self.openShards(shardNames, indexName: indexName, in: folder)
        self.fileFromName = fileFromName
        (names, unindexedNames) = try Self.match(
            files, fileFromName, indexNames: map.map(\.key), indexName: indexName)
    }

    private static func openShards(
        _ names: [String], indexName: String, in folder: CheckpointFolder
    ) throws(FormatError) -> [SafetensorsFile] {
        var paths: [String] = []
        var missing: [String] = []
        for name in names {
            if let path = try folder.pathIfPresent(name) { paths.append(path) } else { missing.append(name) }
        }
        if let first = missing.first {
            throw FormatError(
                .invalid, "model.shard",
                "\(quoted(first)), named by \(quoted(indexName)), is missing (\(paths.count) of \(names.count) present)",
                at: quoted(folder.path), try: "fetch it with: hf download \(folder.repository ?? "ORG/NAME")")
        }
        var files: [SafetensorsFile] = []
        for (name, path) in zip(names, paths) {
            guard name.hasSuffix(".safetensors") else {
                let what = "\(quoted(indexName)) names the shard \(quoted(name)), which is not a safetensors file"
                throw isPickleName(name) ? pickleError(what, quoted(name)) : FormatError(.invalid, "model.index", what)
            }
            files.append(try SafetensorsFile(path: path))
        }
        return files
    }

    /// Compares what the index says with what the shards hold.
    private static func match(
        _ files: [SafetensorsFile], _ fileFromName: [ByteString: Int], indexNames: [ByteString], indexName: String
    ) throws(FormatError) -> (names: [String], unindexed: [String]) {
        for name in indexNames {
            guard let file = fileFromName[name], !files[file].contains(name.string) else { continue }
            let holder = files.first { $0.contains(name.string) }
            throw FormatError(
                .invalid, "model.index",
                "the index places the tensor \(quoted(name.string)) in \(files[file].name), which does not have it"
                    + (holder.map { " (\($0.name) does)" } ?? ""),
                at: quoted(indexName))
        }
        var names: [String] = []
        var unindexed: [String] = []
        for (number, file) in files.enumerated() {
            for entry in file.entries {
                switch fileFromName[ByteString(entry.name)] {
                case number: names.append(entry.name)
                case nil: unindexed.append(entry.name)
                case .some(let other):
                    throw FormatError(
                        .invalid, "model.index",
                        "the tensor \(quoted(entry.name)) is in \(file.name) and in \(files[other].name)",
                        at: quoted(indexName))
                }
            }
        }
        return (names, unindexed)
    }

    package func contains(_ name: String) -> Bool { fileFromName[ByteString(name)] != nil }

    /// The description of a tensor; nil when there is none of the name.
    package func entry(_ name: String) -> SafetensorsEntry? {
        fileFromName[ByteString(name)].flatMap { files[$0].entry(name) }
    }

    /// A tensor over its mapped file; nil when there is none of the name. Throws as `SafetensorsFile.tensor`.
    package func tensor(_ name: String) throws(FormatError) -> HostTensor? {
        guard let file = fileFromName[ByteString(name)] else { return nil }
        return try files[file].tensor(name)
    }

    /// The file of a tensor, or of all of them, for errors.
    package func fileName(of name: String? = nil) -> String {
        if let name, let file = fileFromName[ByteString(name)] { return files[file].name }
        if files.count == 1 { return files[0].name }
        return "\(files.first?.name ?? "no file") and \(files.count - 1) more"
    }

    /// Bytes of all files together.
    package var byteCount: Int { files.reduce(0) { CheckedSize.sum($0, $1.byteCount) ?? Int.max } }

    /// Throws `io.changed` when one of the files is not the one any more that was opened.
    package func checkUnchanged() throws(FormatError) {
        for file in files { try file.checkUnchanged() }
    }

    /// Asks the system to read all files soon.
    package func prefetch() { for file in files { file.prefetch() } }
}

/// Whether the name is one component that stays in its folder and prints as it is.
package func isPlainFileName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".." && name.utf8.count <= 255
        && !name.unicodeScalars.contains { $0 == "/" || $0 == "\\" || isDangerous($0) }
}

/// Whether the name is that of a file which PyTorch reads by running a pickle.
func isPickleName(_ name: String) -> Bool {
    [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"].contains { name.hasSuffix($0) }
}
