internal import Glibc

/// Where an output really goes.
struct OutputTarget {
    enum Kind {
        /// A regular file, with what is there now.
        case file(FileStatus?)
        /// A pipe or device, open for writing (negative when it was not to be opened).
        case stream(Int32)
    }

    /// The path that was asked for.
    let shown: String
    /// The path with the links of its last component followed.
    let path: String
    let kind: Kind

    /// Throws `cannotCreate` when the path is a folder, a socket, or cannot be reached.
    init(path: String, isOpened: Bool = true) throws(FormatError) {
        shown = path
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw FormatError(.cannotCreate, "output.create", "\(quoted(path)) is not the name of a file")
        }
        if let number = descriptorNumber(path) {
            self.path = path
            let copy = isOpened ? fcntl(number, F_DUPFD_CLOEXEC, 0) : -1
            guard copy >= 0 || !isOpened else { throw outputError(errno, "write", path) }
            kind = .stream(copy)
            return
        }
        let status: FileStatus?
        switch FileStatus.of(path) {
        case .success(let found): status = found
        case .failure(let failure):
            guard failure.number == ENOENT else { throw outputError(failure.number, "create", path) }
            status = nil
        }
        switch status?.kind {
        case nil where path.hasSuffix("/"), .folder:
            throw FormatError(
                .cannotCreate, "output.create", "\(quoted(path)) is a folder, where a file was to be written")
        case nil, .file:
            self.path = try followLinks(path)
            kind = .file(status)
        case .fifo, .device:
            self.path = path
            let opened = isOpened ? retryingInterrupts { unsafe open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY) } : -1
            guard opened >= 0 || !isOpened else { throw outputError(errno, "write", path) }
            kind = .stream(opened)
        default:
            throw FormatError(
                .cannotCreate, "output.create",
                "\(quoted(path)) is \(status?.kindName ?? "nothing"), which cannot be written to")
        }
    }

    /// Throws when what is there must not be replaced.
    func checkMayWrite(_ policy: ExistingFilePolicy) throws(FormatError) {
        guard case .file(.some) = kind else { return }
        if policy == .error { throw existsError }
        // A new name in the folder would replace a file that its owner has made read-only.
        if policy == .overwrite, unsafe faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0 {
            throw outputError(errno, "replace", shown)
        }
    }

    var existsError: FormatError {
        FormatError(
            .cannotCreate, "output.exists", "\(quoted(shown)) exists already",
            try: "choose another name, or --if-exists overwrite, suffix or skip")
    }

    /// The name with a number before its ending: "cube-2.png"; number 0 is the name itself.
    func numbered(_ number: Int, _ path: String) -> String {
        if number == 0 { return path }
        let name = fileName(path)
        let folder = path.dropLast(name.count)
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "\(path)-\(number)" }
        return "\(folder)\(name[..<dot])-\(number)\(name[dot...])"
    }
}

/// The number in `/dev/stdout`, `/dev/fd/N` and their like, which opened by path would start at the file's beginning.
private func descriptorNumber(_ path: String) -> Int32? {
    switch path {
    case "/dev/stdout": return 1
    case "/dev/stderr": return 2
    default: break
    }
    for folder in ["/dev/fd/", "/proc/self/fd/"] where path.hasPrefix(folder) {
        return Int32(path.dropFirst(folder.count)).flatMap { $0 >= 0 ? $0 : nil }
    }
    return nil
}

/// Follows the links of the path's last component, also those that lead to nothing yet.
private func followLinks(_ path: String) throws(FormatError) -> String {
    var path = path
    for _ in 0..<40 {
        guard FileStatus(path: path, followsLinks: false)?.kind == .link else { return path }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe buffer.withUnsafeMutableBytes { buffer in
            guard let start = unsafe buffer.bindMemory(to: CChar.self).baseAddress else { return 0 }
            return unsafe readlink(path, start, buffer.count)
        }
        guard count > 0 else { throw outputError(errno, "follow", path) }
        let target = String(decoding: buffer[..<count], as: UTF8.self)
        path = target.hasPrefix("/") ? target : joinPath(parentFolder(path), target)
    }
    throw outputError(ELOOP, "create", path)
}
