internal import Glibc
internal import Synchronization

/// A file under a name of its own, `.tti-ar.<random>.tmp`, until it is renamed; unlinked when it is not.
final class TemporaryFile {
    private let path: String
    private(set) var descriptor: Int32
    /// Whether the name is still there.
    private var isNamed = true
    private var entry: TemporaryFiles.Entry?
    /// What the person called the output, for errors.
    private let output: String

    /// - Parameter mode: permission bits; nil for those of a new file.
    init(in folder: String, mode: UInt32?, output: String) throws(FormatError) {
        self.output = output
        var generator = SystemRandomNumberGenerator()
        var path = ""
        var descriptor: Int32 = -1
        for _ in 0..<16 {
            let digits = String(generator.next(), radix: 16)
            path = joinPath(folder, ".tti-ar." + String(repeating: "0", count: 16 - digits.count) + digits + ".tmp")
            descriptor = retryingInterrupts {
                unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
            }
            if descriptor >= 0 || errno != EEXIST { break }
        }
        guard descriptor >= 0 else { throw outputError(errno, "create", output) }
        self.path = path
        self.descriptor = descriptor
        entry = TemporaryFiles.add(path)
        if let mode { fchmod(descriptor, mode & 0o777) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if isNamed { unsafe unlink(path) }
        TemporaryFiles.remove(entry)
    }

    /// Puts all bytes on the disk and closes the file.
    func finish() throws(FormatError) {
        // Some file systems cannot sync; what they can do has been done.
        if retryingInterrupts({ fsync(descriptor) }) != 0, errno != EINVAL, errno != ENOTSUP, errno != EROFS {
            throw FormatError(.ioFailed, ioCode(errno), "cannot write \(quoted(output)): \(systemMessage(errno))")
        }
        let result = close(descriptor)
        descriptor = -1
        // The descriptor is closed even when a signal interrupts.
        if result != 0, errno != EINTR {
            throw FormatError(.ioFailed, ioCode(errno), "cannot write \(quoted(output)): \(systemMessage(errno))")
        }
    }

    /// Takes the place of whatever has that name.
    func rename(to target: String) throws(FormatError) {
        guard unsafe Glibc.rename(path, target) == 0 else { throw outputError(errno, "create", output) }
        isNamed = false
        TemporaryFiles.remove(entry)
        entry = nil
    }

    /// Takes that name if nobody has it; false when somebody does. Two processes cannot both win.
    func link(to target: String) throws(FormatError) -> Bool {
        if unsafe Glibc.link(path, target) == 0 { return true }
        switch errno {
        case EEXIST: return false
        case EPERM, ENOTSUP, ENOSYS, EMLINK:
            // A file system without hard links.
            if FileStatus(path: target, followsLinks: false) != nil { return false }
            try rename(to: target)
            return true
        default: throw outputError(errno, "create", output)
        }
    }
}

/// Makes the new name of a file in a folder survive a power cut. Not every file system can; that is no error.
func syncFolder(_ path: String) {
    let folder = retryingInterrupts { unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    guard folder >= 0 else { return }
    fsync(folder)
    close(folder)
}

/// The temporary files that exist right now, for whoever ends the process early.
package enum TemporaryFiles {
    private static let slotCount = 64

    /// Addresses of paths as C strings; 0 where a slot is free. Plain memory, because a signal handler reads it.
    private nonisolated(unsafe) static let slots: UnsafeMutablePointer<Atomic<UInt>> = {
        let slots = UnsafeMutablePointer<Atomic<UInt>>.allocate(capacity: slotCount)
        for index in 0..<slotCount { unsafe (slots + index).initialize(to: Atomic(0)) }
        return unsafe slots
    }()

    /// A slot and the address that its owner put there.
    struct Entry {
        fileprivate let slot: Int
        fileprivate let address: UInt
    }

    /// nil when the table is full; then only the owner removes the file.
    static func add(_ path: String) -> Entry? {
        guard let copy = unsafe strdup(path) else { return nil }
        let address = UInt(bitPattern: copy)
        for slot in 0..<slotCount
        where unsafe slots[slot].compareExchange(
            expected: 0, desired: address, ordering: .acquiringAndReleasing
        ).exchanged {
            return Entry(slot: slot, address: address)
        }
        unsafe free(copy)
        return nil
    }

    static func remove(_ entry: Entry?) {
        guard let entry,
            unsafe slots[entry.slot].compareExchange(
                expected: entry.address, desired: 0, ordering: .acquiringAndReleasing
            ).exchanged
        else { return }
        unsafe free(UnsafeMutableRawPointer(bitPattern: entry.address))
    }

    /// Unlinks all of them. May be called by a signal handler: it takes no lock and no memory.
    package static func unlinkAll() {
        for index in 0..<slotCount {
            let address = unsafe slots[index].exchange(0, ordering: .acquiringAndReleasing)
            if let path = unsafe UnsafePointer<CChar>(bitPattern: address) { unsafe unlink(path) }
        }
    }

    /// Makes the first use of the table happen now, and not in a signal handler.
    package static func prepare() { _ = unsafe slots[0].load(ordering: .relaxed) }

    /// Removes what processes that were killed have left in a folder: temporary files older than an hour.
    package static func removeStale(in folder: String) {
        var now = timespec()
        guard unsafe clock_gettime(CLOCK_REALTIME, &now) == 0 else { return }
        for name in folderContents(folder)
        where name.hasPrefix(".tti-ar.") && name.hasSuffix(".tmp") && name.utf8.count == 28 {
            let path = joinPath(folder, name)
            guard let status = FileStatus(path: path, followsLinks: false), status.kind == .file,
                now.tv_sec - status.modified > 3600
            else { continue }
            unsafe unlink(path)
        }
    }
}
