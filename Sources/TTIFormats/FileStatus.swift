internal import Glibc

/// What the file system says about a path.
package struct FileStatus: Sendable, Hashable {
    package enum Kind: Sendable, Hashable { case file, folder, link, fifo, device, socket, other }

    package let kind: Kind
    /// Bytes; meaningful for files.
    package let byteCount: Int
    let device: UInt64
    let inode: UInt64
    let modified: Int
    let modifiedNanoseconds: Int
    /// Permission bits.
    let mode: UInt32

    init(_ status: stat) {
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .file
        case S_IFDIR: kind = .folder
        case S_IFLNK: kind = .link
        case S_IFIFO: kind = .fifo
        case S_IFBLK, S_IFCHR: kind = .device
        case S_IFSOCK: kind = .socket
        default: kind = .other
        }
        byteCount = Int(status.st_size)
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        modified = status.st_mtim.tv_sec
        modifiedNanoseconds = status.st_mtim.tv_nsec
        mode = status.st_mode & 0o7777
    }

    /// What is at the path; nil when nothing is, or it cannot be looked at.
    ///
    /// - Parameter followsLinks: whether a symbolic link counts as what it leads to.
    package init?(path: String, followsLinks: Bool = true) {
        guard case .success(let status) = FileStatus.of(path, followsLinks: followsLinks) else { return nil }
        self = status
    }

    struct Failure: Error { let number: Int32 }

    static func of(_ path: String, followsLinks: Bool = true) -> Result<FileStatus, Failure> {
        // A NUL would end the path early for the system.
        if path.isEmpty || path.utf8.contains(0) { return .failure(Failure(number: ENOENT)) }
        var status = stat()
        let result = unsafe followsLinks ? stat(path, &status) : lstat(path, &status)
        return result == 0 ? .success(FileStatus(status)) : .failure(Failure(number: errno))
    }

    /// The kind in words: "a folder".
    package var kindName: String {
        switch kind {
        case .file: "a file"
        case .folder: "a folder"
        case .link: "a symbolic link"
        case .fifo: "a named pipe"
        case .device: "a device"
        case .socket: "a socket"
        case .other: "no regular file"
        }
    }
}

/// The path with all symbolic links followed; nil when something on the way is missing.
package func canonicalPath(_ path: String) -> String? {
    if path.isEmpty || path.utf8.contains(0) { return nil }
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
}

/// The names in a folder, sorted, without `.` and `..`; empty when it cannot be listed.
package func folderContents(_ path: String) -> [String] {
    if path.isEmpty || path.utf8.contains(0) { return [] }
    guard let folder = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
            unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// A folder and a name in it as one path.
package func joinPath(_ folder: String, _ name: String) -> String {
    if folder.isEmpty { return name }
    return folder.hasSuffix("/") ? folder + name : folder + "/" + name
}

/// The part of a path after its last slash.
package func fileName(_ path: String) -> String {
    String(path.split(separator: "/").last ?? "/")
}

/// The part of a path before its last component: "." for a plain name.
package func parentFolder(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// A variable of the environment; nil when it is not set or empty.
package func environmentVariable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
}
