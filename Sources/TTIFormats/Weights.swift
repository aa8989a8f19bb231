package import TTICore

/// A place in a set of named tensors; gives tensors by name and expected shape, and remembers what was read.
///
/// `weights["decoder"]["layers"][3].tensor("fc1.weight", [width, mlpWidth])`
package struct Weights {
    private let source: any WeightSource
    /// Names that were asked for, as the source calls them; shared by all places of a source.
    private let record: ReadRecord
    /// Empty, or ends with a dot.
    private let prefix: String
    /// From the name that is asked for to the name in the source.
    private let rename: ((String) -> String)?

    private init(_ source: any WeightSource, _ record: ReadRecord, _ prefix: String, _ rename: ((String) -> String)?) {
        self.source = source
        self.record = record
        self.prefix = prefix
        self.rename = rename
    }

    init(_ source: any WeightSource) { self.init(source, ReadRecord(), "", nil) }

    // MARK: Places

    /// The place called so below this one. The name may have dots; an empty one is this place.
    package subscript(_ name: String) -> Weights {
        name.isEmpty ? self : Weights(source, record, prefix + name + ".", rename)
    }

    /// The place with that number below this one.
    package subscript(_ index: Int) -> Weights { self[String(index)] }

    /// Where this is: "decoder.layers.3"; empty at the top.
    package var path: String { String(prefix.dropLast()) }

    /// The same tensors under other names: `rename` takes the whole name that is asked for and gives the whole name in the
    /// file. For names that have changed over the years; it is asked before a renaming further out.
    package func renamed(_ rename: @escaping (String) -> String) -> Weights {
        let outer = self.rename
        return Weights(source, record, prefix) { name in
            let inner = rename(name)
            return outer.map { $0(inner) } ?? inner
        }
    }

    private init(
        _ source: any WeightSource, _ record: ReadRecord, _ prefix: String, renaming: @escaping (String) -> String
    ) {
        self.init(source, record, prefix, renaming)
    }

    private func sourceName(_ name: String) -> String {
        let full = prefix + name
        return rename.map { $0(full) } ?? full
    }

    // MARK: Tensors

    /// The tensor `path.name`, which must have this shape and floating-point elements. Throws an error that names the
    /// tensor, what was expected and what is there.
    package func tensor(_ name: String, _ shape: Shape) throws(FormatError) -> HostTensor {
        let full = sourceName(name)
        guard let tensor = try checked(full, shape) else { throw missing(full, shape) }
        return tensor
    }

    /// As `tensor`, or nil when there is none of that name.
    ///
    /// - Parameter assumed: whether it exists where the source has no names (random numbers, shapes only).
    package func tensorIfPresent(
        _ name: String, _ shape: Shape, assumed: Bool = true
    ) throws(FormatError) -> HostTensor? {
        if source.names == nil, !assumed { return nil }
        return try checked(sourceName(name), shape)
    }

    /// Whether there is a tensor `path.name`; does not count as reading it.
    ///
    /// - Parameter assumed: the answer where the source has no names.
    package func contains(_ name: String, assumed: Bool) -> Bool {
        source.names == nil ? assumed : source.contains(sourceName(name))
    }

    /// Whether there is a tensor `path.name`; false where the source has no names.
    package func contains(_ name: String) -> Bool { contains(name, assumed: false) }

    private func checked(_ name: String, _ shape: Shape) throws(FormatError) -> HostTensor? {
        guard let tensor = try source.tensor(name, shape) else { return nil }
        record.names.insert(ByteString(name))
        guard tensor.shape == shape else {
            throw FormatError(
                .invalid, "model.shape", "the tensor \(quoted(name)) is \(tensor.shape), and \(shape) was expected",
                at: source.place(of: name), try: "check that the configuration belongs to these weights")
        }
        guard tensor.dtype.isFloatingPoint else {
            throw FormatError(
                .invalid, "model.dtype",
                "the tensor \(quoted(name)) has elements of type \(tensor.dtype.safetensorsName), not F32, F16, BF16, F64, F8_E4M3 or F8_E5M2",
                at: source.place(of: name))
        }
        return tensor
    }

    /// Says what is there instead: the names beside the missing one, or beside the nearest place that exists.
    private func missing(_ name: String, _ shape: Shape) -> FormatError {
        var message = "there is no tensor \(quoted(name)) \(shape)"
        var parent = name[...]
        while let dot = parent.lastIndex(of: ".") {
            parent = parent[..<dot]
            let start = parent + "."
            let beside = (source.names ?? []).lazy.filter { $0.hasPrefix(start) }.prefix(3)
            if !beside.isEmpty {
                message += " (under \(quoted(parent)) there is "
                message += beside.map { quoted($0.dropFirst(start.count)) }.joined(separator: ", ") + " …)"
                break
            }
        }
        return FormatError(
            .invalid, "model.tensor", message, at: source.place(of: nil),
            try: "check that the configuration belongs to these weights")
    }

    // MARK: What was read

    /// Names of the whole source that were never asked for and not ignored, sorted.
    package var unread: [String] {
        (source.names ?? []).filter { !record.names.contains(ByteString($0)) }.sorted()
    }

    /// Names of the whole source; nil when it has none.
    package var allNames: [String]? { source.names }

    /// Counts the names that match as read: buffers that a file carries and no model needs.
    package func ignore(_ matches: (String) -> Bool) {
        for name in source.names ?? [] where matches(name) { record.names.insert(ByteString(name)) }
    }
}

/// Which names were read.
private final class ReadRecord {
    var names: Set<ByteString> = []
}

/// What tensors come from.
protocol WeightSource: AnyObject {
    /// All names, or nil when any name is served.
    var names: [String]? { get }
    func contains(_ name: String) -> Bool
    /// The tensor of that name in the shape that it has; sources without names make one of the shape asked for.
    func tensor(_ name: String, _ shape: Shape) throws(FormatError) -> HostTensor?
    /// What errors call the place of a tensor, or of all.
    func place(of name: String?) -> String?
}
