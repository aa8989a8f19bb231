internal import Glibc
internal import Synchronization

/// What happens when a mapped file becomes shorter while it is in use: the system sends SIGBUS to whoever touches what is
/// gone, and without a handler the process dies without a word.
///
/// For the command alone; a library has no business with its program's signals.
package enum MappingGuard {
    private static let slotCount = 4096

    /// One mapping: its first address, its length, its path as a C string. The address is written last and cleared first,
    /// so that a slot with an address is whole. Plain memory, because a signal handler reads it.
    private struct Slot: ~Copyable {
        let start = Atomic<UInt>(0)
        let byteCount = Atomic<UInt>(0)
        let path = Atomic<UInt>(0)
    }

    private nonisolated(unsafe) static let slots: UnsafeMutablePointer<Slot> = {
        let slots = UnsafeMutablePointer<Slot>.allocate(capacity: slotCount)
        for index in 0..<slotCount { unsafe (slots + index).initialize(to: Slot()) }
        return unsafe slots
    }()

    private static let isInstalled = Atomic<Bool>(false)

    /// From now on, SIGBUS in a mapped file names the file on standard error, removes temporary files and ends the process
    /// with 74. Files mapped before are not known.
    package static func install() {
        TemporaryFiles.prepare()
        _ = unsafe slots[0].start.load(ordering: .relaxed)
        isInstalled.store(true, ordering: .releasing)
        var action = sigaction()
        unsafe action.__sigaction_handler.sa_sigaction = { _, info, _ in
            let address = unsafe UInt(bitPattern: info?.pointee._sifields._sigfault.si_addr)
            MappingGuard.end(address)
        }
        action.sa_flags = SA_SIGINFO
        unsafe sigaction(SIGBUS, &action, nil)
    }

    /// Runs in the signal handler: no memory, no locks.
    private static func end(_ address: UInt) {
        TemporaryFiles.unlinkAll()
        for index in 0..<slotCount {
            let start = unsafe slots[index].start.load(ordering: .acquiring)
            let byteCount = unsafe slots[index].byteCount.load(ordering: .relaxed)
            guard start != 0, address >= start, address - start < byteCount,
                let path = unsafe UnsafePointer<CChar>(bitPattern: slots[index].path.load(ordering: .relaxed))
            else { continue }
            print("tti-ar: error[io.changed]: a file became shorter while it was in use: ")
            _ = unsafe write(2, path, strlen(path))
            print("; run again when nothing writes to it\n")
            _exit(74)
        }
        // Not one of ours: what would have happened without this handler.
        signal(SIGBUS, SIG_DFL)
        raise(SIGBUS)
    }

    private static func print(_ text: StaticString) {
        _ = unsafe write(2, text.utf8Start, text.utf8CodeUnitCount)
    }

    /// Remembers a mapping; nil when nobody will ask, or the table is full.
    static func add(_ bytes: UnsafeRawBufferPointer, path: String) -> Int? {
        guard isInstalled.load(ordering: .acquiring), bytes.count > 0,
            let copy = unsafe strdup(harmless(path, limit: 1000))
        else { return nil }
        for index in 0..<slotCount
        where unsafe slots[index].path.compareExchange(
            expected: 0, desired: UInt(bitPattern: copy), ordering: .acquiringAndReleasing
        ).exchanged {
            unsafe slots[index].byteCount.store(UInt(bytes.count), ordering: .relaxed)
            unsafe slots[index].start.store(UInt(bitPattern: bytes.baseAddress), ordering: .releasing)
            return index
        }
        unsafe free(copy)
        return nil
    }

    static func remove(_ index: Int?) {
        guard let index else { return }
        unsafe slots[index].start.store(0, ordering: .releasing)
        let path = unsafe slots[index].path.exchange(0, ordering: .acquiringAndReleasing)
        unsafe free(UnsafeMutableRawPointer(bitPattern: path))
    }
}
