internal import Glibc
internal import TTICore

/// A whole file, read-only, as memory that the system fills when it is looked at.
///
/// Only regular files: a FIFO, a device or a folder is refused at once. If another process makes the file shorter, touching
/// what is gone ends this process with SIGBUS (see `MappingGuard`); `hasChanged` tells afterwards whether the file is still the same.
@safe
package final class MappedFile: HostStorage {
    package let path: String
    /// The contents; empty for an empty file.
    package let bytes: UnsafeRawBufferPointer
    private let status: FileStatus
    private let guarded: Int?

    /// Throws `missingPath`, `unreadable`, `notRegularFile` or `ioFailed`.
    package init(path: String) throws(FormatError) {
        let file = try OpenFile(path: path)
        self.path = path
        status = file.status
        if status.byteCount == 0 {
            unsafe bytes = UnsafeRawBufferPointer(start: nil, count: 0)
        } else {
            guard
                let start = unsafe mmap(nil, status.byteCount, PROT_READ, MAP_PRIVATE, file.descriptor, 0),
                unsafe start != MAP_FAILED
            else { throw FormatError.system(errno, "map", path) }
            unsafe bytes = UnsafeRawBufferPointer(start: start, count: status.byteCount)
        }
        guarded = unsafe MappingGuard.add(bytes, path: path)
    }

    deinit {
        MappingGuard.remove(guarded)
        if let start = unsafe bytes.baseAddress { unsafe munmap(UnsafeMutableRawPointer(mutating: start), bytes.count) }
    }

    /// Whether the file at the path is another one by now, or was written to.
    package var hasChanged: Bool { FileStatus(path: path) != status }

    /// Gives the pages that lie within a part of the file back: this process no longer counts them, and the system fills them
    /// again should they be looked at.
    func release(_ part: UnsafeRawBufferPointer) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        guard let start = unsafe bytes.baseAddress, let first = part.baseAddress else { return }
        let distance = unsafe first - start
        let (offset, end) = ((distance + page - 1) / page * page, (distance + part.count) / page * page)
        guard unsafe offset >= 0 && end <= bytes.count && offset < end else { return }
        unsafe _ = madvise(UnsafeMutableRawPointer(mutating: start + offset), end - offset, MADV_DONTNEED)
    }

    /// Asks the system to read everything soon, in the background.
    package func prefetch() {
        if let start = unsafe bytes.baseAddress {
            unsafe madvise(UnsafeMutableRawPointer(mutating: start), bytes.count, MADV_WILLNEED)
        }
    }
}

/// A regular file, open for reading.
struct OpenFile: ~Copyable {
    let descriptor: Int32
    let status: FileStatus

    init(path: String) throws(FormatError) {
        (descriptor, status) = try Self.open(path)
    }

    private static func open(_ path: String) throws(FormatError) -> (Int32, FileStatus) {
        // Looked at before it is opened, because opening a device can do something; and again after.
        switch FileStatus.of(path) {
        case .failure(let failure): throw FormatError.system(failure.number, "open", path)
        case .success(let status): try checkRegular(status, path)
        }
        // O_NONBLOCK: should it have become a FIFO by now, do not wait for a writer.
        let descriptor = retryingInterrupts { unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) }
        guard descriptor >= 0 else { throw FormatError.system(errno, "open", path) }
        var raw = stat()
        guard unsafe fstat(descriptor, &raw) == 0 else {
            let number = errno
            close(descriptor)
            throw FormatError.system(number, "open", path)
        }
        let status = FileStatus(raw)
        do throws(FormatError) { try checkRegular(status, path) } catch {
            close(descriptor)
            throw error
        }
        return (descriptor, status)
    }

    deinit { close(descriptor) }

    private static func checkRegular(_ status: FileStatus, _ path: String) throws(FormatError) {
        guard status.kind == .file, status.byteCount >= 0 else {
            throw FormatError(
                .notRegularFile, "input.kind", "\(quoted(path)) is \(status.kindName), where a file is needed")
        }
    }
}

/// All bytes of a small file.
///
/// - Parameter limit: more bytes than this are refused with kind `invalid` before any is read.
package func readFile(_ path: String, limit: Int) throws(FormatError) -> [UInt8] {
    let file = try OpenFile(path: path)
    let count = file.status.byteCount
    guard count <= limit else {
        throw FormatError(
            .invalid, "input.size",
            "\(quoted(path)) has \(byteText(count)), more than the \(byteText(limit)) that such a file may have")
    }
    let descriptor = file.descriptor
    var filled = 0
    var failure: Int32 = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
        while filled < count {
            let free = unsafe UnsafeMutableRawBufferPointer(
                rebasing: UnsafeMutableRawBufferPointer(target)[filled..<count])
            let step = retryingInterrupts { unsafe read(descriptor, free.baseAddress, free.count) }
            if step < 0 { failure = errno }
            if step <= 0 { break }
            filled += step
        }
        initialized = filled
    }
    if failure != 0 { throw FormatError.system(failure, "read", path) }
    guard filled == count else {
        throw FormatError(
            .ioFailed, "io.changed", "\(quoted(path)) became shorter while it was read: \(filled) of \(count) bytes")
    }
    return bytes
}

/// All bytes of whatever can be read to its end, such as standard input.
///
/// - Parameter limit: more bytes than this are refused with kind `badInput`.
package func readToEnd(descriptor: Int32, name: String, limit: Int) throws(FormatError) -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let step = unsafe chunk.withUnsafeMutableBytes { chunk in
            retryingInterrupts { unsafe read(descriptor, chunk.baseAddress, chunk.count) }
        }
        if step < 0 { throw FormatError.system(errno, "read", name) }
        if step == 0 { return bytes }
        bytes.append(contentsOf: chunk[..<step])
        if bytes.count > limit {
            throw FormatError(.badInput, "input.size", "\(name) has more than \(byteText(limit))")
        }
    }
}
