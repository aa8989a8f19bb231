package import TTICore

/// A safetensors file: eight bytes of header length, a JSON header, the tensors' bytes. Nothing is copied; tensors lie in
/// the mapped file, at any alignment.
@safe
package final class SafetensorsFile {
    /// What errors call the file: its name, or what the caller of `init(bytes:name:)` says.
    package let name: String
    /// Where the file is; nil for one in memory.
    package let path: String?
    package let entries: [SafetensorsEntry]
    /// The strings under `__metadata__`, in their order.
    package let metadata: [(key: String, value: String)]
    /// Fields of tensors' descriptions that the format does not define and that were read over.
    package let unknownFields: [String]
    /// Bytes of the whole file.
    package let byteCount: Int

    private let storage: any HostStorage
    private let contents: UnsafeRawBufferPointer
    private let indexFromName: [ByteString: Int]

    /// Opens and checks the file. Throws `missingPath`, `unreadable`, `notRegularFile`, or `invalid` for contents that are
    /// not exactly what the format says.
    package convenience init(path: String) throws(FormatError) {
        let file = try MappedFile(path: path)
        unsafe try self.init(contents: file.bytes, storage: file, name: quoted(path), path: path)
    }

    /// Checks a file that is in memory already.
    package convenience init(bytes: [UInt8], name: String) throws(FormatError) {
        let allocation = HostAllocation(byteCount: bytes.count)
        unsafe bytes.withUnsafeBytes { unsafe allocation.bytes.copyMemory(from: $0) }
        unsafe try self.init(
            contents: UnsafeRawBufferPointer(rebasing: allocation.bytes[0..<bytes.count]), storage: allocation,
            name: name, path: nil)
    }

    private init(
        contents file: UnsafeRawBufferPointer, storage: any HostStorage, name: String, path: String?
    ) throws(FormatError) {
        let headerByteCount = unsafe try Self.headerByteCount(file, name)
        let header = try SafetensorsHeader(
            json: unsafe Array(file[8..<8 + headerByteCount]), dataByteCount: file.count - 8 - headerByteCount,
            file: name)
        self.name = name
        self.path = path
        self.storage = storage
        unsafe contents = UnsafeRawBufferPointer(rebasing: file[(8 + headerByteCount)...])
        byteCount = file.count
        entries = header.entries
        metadata = header.metadata
        unknownFields = header.unknownFields.sorted()
        indexFromName = header.indexFromName
    }

    /// How long the header is, checked against the file, so that `8 + length` cannot overflow.
    private static func headerByteCount(_ file: UnsafeRawBufferPointer, _ name: String) throws(FormatError) -> Int {
        guard file.count > 0 else {
            throw FormatError(.invalid, "model.empty", "the file is empty", at: name, try: "download or copy it again")
        }
        guard file.count >= 8 else {
            throw unsafe foreignFormat(file, name)
                ?? FormatError(
                    .invalid, "model.truncated", "the file has \(byteText(file.count)), too few for a safetensors file",
                    at: name, try: "download or copy it again")
        }
        let length = UInt64(littleEndian: unsafe file.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(SafetensorsHeader.byteLimit) else {
            throw unsafe foreignFormat(file, name)
                ?? FormatError(
                    .invalid, "model.header",
                    "this is no safetensors file, or its header is too large: it would have \(length) bytes, of at most"
                        + " \(SafetensorsHeader.byteLimit)", at: name)
        }
        guard Int(length) <= file.count - 8 else {
            throw unsafe foreignFormat(file, name)
                ?? FormatError(
                    .invalid, "model.truncated",
                    "the file ends in its header, which should have \(length) bytes: there are \(file.count - 8)",
                    at: name,
                    try: "download or copy it again")
        }
        // Two bytes of another format can look like a length that is possible; a header then would not begin like one.
        if unsafe length == 0 || !isHeaderStart(file[8]), let known = unsafe foreignFormat(file, name) { throw known }
        return Int(length)
    }

    private static func isHeaderStart(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "{") || byte == 0x20 || (0x09...0x0d).contains(byte)
    }

    package func contains(_ name: String) -> Bool { indexFromName[ByteString(name)] != nil }

    /// The description of a tensor; nil when there is none of the name.
    package func entry(_ name: String) -> SafetensorsEntry? { indexFromName[ByteString(name)].map { entries[$0] } }

    /// A tensor over the mapped file; nil when there is none of the name. Throws when its element type or its shape is one
    /// that we cannot compute with.
    package func tensor(_ name: String) throws(FormatError) -> HostTensor? {
        guard let entry = entry(name) else { return nil }
        guard let dtype = DType(safetensorsName: entry.dtypeName) else {
            throw FormatError(
                .invalid, "model.dtype",
                "the tensor \(quoted(name)) has elements of type \(quoted(entry.dtypeName, limit: 40)), which tti-ar cannot"
                    + " compute with", at: self.name, try: "convert it to F32, BF16 or F16")
        }
        guard entry.extents.allSatisfy({ $0 <= Int(Int32.max) }) else {
            throw FormatError(
                .invalid, "model.geometry", "the tensor \(quoted(name)) has an extent above \(Int32.max)",
                at: self.name)
        }
        return unsafe HostTensor(
            shape: Shape(entry.extents), dtype: dtype, bytes: UnsafeRawBufferPointer(rebasing: contents[entry.range]),
            storage: storage)
    }

    /// Throws `io.changed` when the file is not the one any more that was opened.
    package func checkUnchanged() throws(FormatError) {
        guard let file = storage as? MappedFile, file.hasChanged else { return }
        throw FormatError(.ioFailed, "io.changed", "the file was changed or replaced while it was in use", at: name)
    }

    /// Asks the system to read the whole file soon.
    package func prefetch() { (storage as? MappedFile)?.prefetch() }
}
