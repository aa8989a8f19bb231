internal import Glibc

/// What to do when the output exists already.
package enum ExistingFilePolicy: String, Sendable, CaseIterable {
    /// Replace it, in one step.
    case overwrite
    /// Take the first free one of `name-1.png`, `name-2.png` …
    case suffix
    /// Leave it and write nothing.
    case skip
    /// Throw `cannotCreate`.
    case error
}

/// A file that is there completely or not at all.
///
/// The bytes go into a temporary file in the same folder, which takes the output's name in one step when all of them are on
/// the disk. A symbolic link is followed to what it names; the mode of a file that is replaced is kept. Pipes, devices and
/// `/dev/stdout` are written straight through. Without `commit`, nothing stays behind.
package final class AtomicFile {
    private let target: OutputTarget
    private let policy: ExistingFilePolicy
    /// Negative when nothing is to be written, because the output exists and is left.
    private var descriptor: Int32
    private var temporary: TemporaryFile?

    /// Opens the temporary file, so that a missing folder or permission is known before there is anything to write.
    ///
    /// Throws `cannotCreate` (73) or `ioFailed` (74).
    package init(path: String, ifExists policy: ExistingFilePolicy) throws(FormatError) {
        self.policy = policy
        target = try OutputTarget(path: path)
        switch target.kind {
        case .stream(let opened):
            descriptor = opened
        case .file(let existing):
            if existing != nil, policy == .skip {
                descriptor = -1
                return
            }
            try target.checkMayWrite(policy)
            let temporary = try TemporaryFile(in: parentFolder(target.path), mode: existing?.mode, output: path)
            descriptor = temporary.descriptor
            self.temporary = temporary
        }
    }

    deinit {
        if temporary == nil, descriptor >= 0 { close(descriptor) }
    }

    /// Adds bytes. Throws `ioFailed`: the disk is full, the pipe closed.
    package func write(_ bytes: [UInt8]) throws(FormatError) {
        if descriptor >= 0 { try writeAll(bytes, to: descriptor, name: quoted(target.shown)) }
    }

    /// Makes the file appear under its name. Afterwards it is on the disk, not only in the system's memory.
    ///
    /// Gives the path of the file, with the number that `suffix` put in; nil when `skip` left what is there.
    package func commit() throws(FormatError) -> String? {
        guard descriptor >= 0 else { return nil }
        defer { descriptor = -1 }
        guard let temporary else {
            let result = close(descriptor)
            guard result == 0 else { throw outputError(errno, "write", target.shown) }
            return target.shown
        }
        try temporary.finish()
        defer { syncFolder(parentFolder(target.path)) }
        switch policy {
        case .overwrite:
            try temporary.rename(to: target.path)
            return target.shown
        case .skip:
            return try temporary.link(to: target.path) ? target.shown : nil
        case .error:
            guard try temporary.link(to: target.path) else { throw target.existsError }
            return target.shown
        case .suffix:
            for number in 0..<1_000_000 where try temporary.link(to: target.numbered(number, target.path)) {
                return target.numbered(number, target.shown)
            }
            throw target.existsError
        }
    }

    /// Writes a whole file. Gives its path, or nil when `skip` left what is there.
    @discardableResult
    package static func write(
        _ bytes: [UInt8], to path: String, ifExists policy: ExistingFilePolicy = .overwrite
    ) throws(FormatError) -> String? {
        let file = try AtomicFile(path: path, ifExists: policy)
        try file.write(bytes)
        return try file.commit()
    }

    /// Throws what `write` would, as far as it can be known beforehand: the folder is missing or may not be written to, the
    /// file exists and must not, the disk has less room than needed.
    package static func check(
        _ path: String, ifExists policy: ExistingFilePolicy, byteCount: Int = 0
    ) throws(FormatError) {
        let target = try OutputTarget(path: path, isOpened: false)
        guard case .file = target.kind else { return }
        try target.checkMayWrite(policy)
        let folder = parentFolder(target.path)
        guard unsafe faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0 else {
            throw outputError(errno, "create a file in", folder)
        }
        var space = statvfs()
        guard unsafe statvfs(folder, &space) == 0 else { return }
        let (free, overflow) = space.f_bavail.multipliedReportingOverflow(by: space.f_frsize)
        if !overflow, free < UInt(max(0, byteCount)) {
            throw FormatError(
                .ioFailed, "io.full",
                "the disk has too little room: \(byteText(Int(clamping: free))) are free, \(byteText(byteCount)) are needed",
                at: quoted(folder))
        }
    }
}

/// Writes all bytes, however often the system takes only some.
///
/// - Parameter name: what errors call the output.
package func writeAll(_ bytes: [UInt8], to descriptor: Int32, name: String) throws(FormatError) {
    var written = 0
    while written < bytes.count {
        let step = unsafe bytes.withUnsafeBytes { all in
            let rest = unsafe UnsafeRawBufferPointer(rebasing: all[written...])
            return retryingInterrupts { unsafe Glibc.write(descriptor, rest.baseAddress, rest.count) }
        }
        if step < 0, errno == EAGAIN {
            // A descriptor that somebody made non-blocking: wait until there is room.
            var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            _ = unsafe poll(&waiting, 1, 1000)
            continue
        }
        guard step > 0 else {
            throw FormatError(
                .ioFailed, step < 0 ? ioCode(errno) : "io.write",
                "cannot write \(name): \(step < 0 ? systemMessage(errno) : "nothing was taken")")
        }
        written += step
    }
}

/// The code of a failure to write.
func ioCode(_ number: Int32) -> String {
    switch number {
    case ENOSPC, EDQUOT: "io.full"
    case EPIPE: "io.closed"
    default: "io.write"
    }
}

/// A failed system call on an output: what nobody can create is 73, what failed on the way is 74.
func outputError(_ number: Int32, _ verb: String, _ path: String) -> FormatError {
    let what = "cannot \(verb) \(quoted(path)): \(systemMessage(number))"
    switch number {
    case ENOENT, ENOTDIR, EACCES, EPERM, EROFS, ELOOP, ENAMETOOLONG, EISDIR, EEXIST, ENXIO, EINVAL, EBUSY, ETXTBSY:
        return FormatError(.cannotCreate, "output.create", what)
    default: return FormatError(.ioFailed, ioCode(number), what)
    }
}
