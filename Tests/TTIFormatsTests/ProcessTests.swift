import Glibc
import TTIFormats
import Testing

/// What needs a process of its own: signals, permissions, limits.
@Suite struct ProcessTests {
    @Test func `an interrupt removes the temporary files`() async {
        await #expect(processExitsWith: .exitCode(7)) {
            let folder = TemporaryFolder()
            let file = try AtomicFile(path: folder["x"], ifExists: .overwrite)
            TemporaryFiles.unlinkAll()
            let isEmpty = folder.contents.isEmpty
            rmdir(folder.path)
            withExtendedLifetime(file) { _exit(isEmpty ? 7 : 1) }
        }
    }

    @Test func `a mapped file that becomes shorter ends the command with 74 and leaves nothing`() async {
        let result = await #expect(processExitsWith: .exitCode(74), observing: [\.standardErrorContent]) {
            let folder = TemporaryFolder()
            folder.write("weights", [UInt8](repeating: 1, count: 1 << 16))
            MappingGuard.install()
            let mapped = try MappedFile(path: folder["weights"])
            let output = try AtomicFile(path: folder["out"], ifExists: .overwrite)
            truncate(folder["weights"], 10)
            let last = mapped.bytes[40_000]
            withExtendedLifetime(output) { _exit(Int32(last)) }
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("error[io.changed]"))
        #expect(text.contains("/weights; "))
    }

    @Test func `what this user may not read or write says so`() async {
        await #expect(processExitsWith: .success) {
            let folder = TemporaryFolder()
            folder.write("secret", "x")
            folder.write("config.json", "{}")
            chmod(folder["secret"], 0)
            folder.write("locked/config.json", "{}")
            chmod(folder["locked"], 0)
            chmod(folder.path, 0o555)
            if geteuid() == 0 { seteuid(65534) }
            let kinds: [FormatError.Kind?] = [
                failure { _ = try readFile(folder["secret"], limit: 10) }?.kind,
                failure { _ = try MappedFile(path: folder["secret"]) }?.kind,
                failure { _ = try CheckpointFolder(path: folder["locked"]).json("config.json") }?.kind,
                failure { try AtomicFile.write([1], to: folder["new"]) }?.kind,
                failure { try AtomicFile.write([1], to: folder["config.json"]) }?.kind,
                failure { try AtomicFile.check(folder["new"], ifExists: .overwrite) }?.kind,
            ]
            seteuid(0)
            chmod(folder.path, 0o755)
            let expected: [FormatError.Kind?] = [
                .unreadable, .unreadable, .unreadable, .cannotCreate, .cannotCreate, .cannotCreate,
            ]
            let names = folder.contents
            withExtendedLifetime(folder) {}
            if kinds != expected || names.contains("new") { fatalError("\(kinds) \(names)") }
        }
    }

    @Test func `a file size limit stops a write and leaves nothing`() async {
        await #expect(processExitsWith: .success) {
            signal(SIGXFSZ, SIG_IGN)
            let folder = TemporaryFolder()
            folder.write("out", "old")
            var limit = rlimit(rlim_cur: 1000, rlim_max: 1000)
            setrlimit(__rlimit_resource_t(1), &limit)
            let error = failure { try AtomicFile.write([UInt8](repeating: 0, count: 5000), to: folder["out"]) }
            let isClean =
                error?.kind == .ioFailed && folder.contents == ["out"] && folder.read("out") == Array("old".utf8)
            if !isClean { fatalError("\(String(describing: error)) \(folder.contents)") }
        }
    }
}
