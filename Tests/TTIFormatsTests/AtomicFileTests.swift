import Glibc
import TTIFormats
import Testing

@Suite struct AtomicFileTests {
    let folder = TemporaryFolder()

    @Test func `a file appears with all its bytes and nothing else`() throws {
        let path = folder["out.bin"]
        let file = try AtomicFile(path: path, ifExists: .overwrite)
        try file.write([1, 2, 3])
        #expect(folder.contents.count == 1)
        #expect(folder.contents[0].hasPrefix(".tti-ar.") && folder.contents[0].hasSuffix(".tmp"))
        try file.write([4])
        #expect(try file.commit() == path)
        #expect(folder.contents == ["out.bin"])
        #expect(folder.read("out.bin") == [1, 2, 3, 4])
    }

    @Test func `without commit the old file stays and the temporary one goes`() throws {
        folder.write("out", "old")
        do {
            let file = try AtomicFile(path: folder["out"], ifExists: .overwrite)
            try file.write([1])
        }
        #expect(folder.contents == ["out"])
        #expect(folder.read("out") == Array("old".utf8))
    }

    @Test func `what exists is replaced, numbered, left or refused`() throws {
        folder.write("a.png", "old")
        #expect(try AtomicFile.write([1], to: folder["a.png"], ifExists: .skip) == nil)
        #expect(folder.read("a.png") == Array("old".utf8))
        let refused = failure { try AtomicFile.write([1], to: folder["a.png"], ifExists: .error) }
        #expect(refused?.kind == .cannotCreate)
        #expect(refused?.code == "output.exists")
        #expect(try AtomicFile.write([1], to: folder["a.png"], ifExists: .suffix) == folder["a-1.png"])
        #expect(try AtomicFile.write([2], to: folder["a.png"], ifExists: .suffix) == folder["a-2.png"])
        #expect(try AtomicFile.write([3], to: folder["a.png"], ifExists: .overwrite) == folder["a.png"])
        #expect(try AtomicFile.write([4], to: folder["b"], ifExists: .suffix) == folder["b"])
        #expect(try AtomicFile.write([4], to: folder["b"], ifExists: .suffix) == folder["b-1"])
        #expect(try AtomicFile.write([5], to: folder["c"], ifExists: .error) == folder["c"])
        #expect(try AtomicFile.write([6], to: folder["d"], ifExists: .skip) == folder["d"])
        #expect(folder.contents == ["a-1.png", "a-2.png", "a.png", "b", "b-1", "c", "d"])
        #expect(folder.read("a.png") == [3])
    }

    @Test func `of two writers that must not replace one wins`() throws {
        let first = try AtomicFile(path: folder["x"], ifExists: .error)
        let second = try AtomicFile(path: folder["x"], ifExists: .error)
        try first.write([1])
        try second.write([2])
        #expect(try first.commit() != nil)
        #expect(failure { _ = try second.commit() }?.code == "output.exists")
        #expect(folder.read("x") == [1])
    }

    @Test func `the mode of a file is kept and a link is followed`() throws {
        folder.write("real", "old")
        chmod(folder["real"], 0o600)
        folder.link("link", to: "real")
        try AtomicFile.write([1], to: folder["link"])
        var status = stat()
        #expect(lstat(folder["link"], &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        #expect(stat(folder["real"], &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(folder.read("real") == [1])
        // A link to nothing yet makes the file that it names.
        folder.link("later", to: "made")
        try AtomicFile.write([2], to: folder["later"])
        #expect(folder.read("made") == [2])
        folder.link("loop", to: "loop")
        #expect(failure { try AtomicFile.write([2], to: folder["loop"]) }?.kind == .cannotCreate)
    }

    @Test func `a new file has the mode that the umask leaves`() throws {
        try AtomicFile.write([1], to: folder["new"])
        var status = stat()
        let mask = umask(0)
        umask(mask)
        #expect(stat(folder["new"], &status) == 0 && status.st_mode & 0o777 == 0o666 & ~mask)
    }

    @Test func `what cannot be created is 73 and leaves nothing`() throws {
        folder.write("file", "x")
        for path in ["absent/x", "file/x", "", "x/", "a\u{0}b", String(repeating: "n", count: 300)] {
            let path = path.isEmpty ? "" : folder[path]
            #expect(failure { try AtomicFile.write([1], to: path) }?.kind == .cannotCreate, "\(path)")
            #expect(
                failure { try AtomicFile.check(path, ifExists: .overwrite) }?.kind == .cannotCreate || path.count > 300)
        }
        #expect(failure { try AtomicFile.write([1], to: folder.path) }?.kind == .cannotCreate)
        if getuid() != 0 {
            chmod(folder.path, 0o500)
            #expect(failure { try AtomicFile.write([1], to: folder["y"]) }?.kind == .cannotCreate)
            #expect(failure { try AtomicFile.check(folder["y"], ifExists: .overwrite) }?.kind == .cannotCreate)
            chmod(folder.path, 0o700)
            chmod(folder["file"], 0o400)
            #expect(failure { try AtomicFile.write([1], to: folder["file"]) }?.kind == .cannotCreate)
        }
        #expect(folder.contents == ["file"])
    }

    @Test func `a check beforehand says what would fail`() throws {
        folder.write("file", "x")
        try AtomicFile.check(folder["new"], ifExists: .error)
        try AtomicFile.check(folder["file"], ifExists: .skip)
        #expect(failure { try AtomicFile.check(folder["file"], ifExists: .error) }?.code == "output.exists")
        #expect(
            failure { try AtomicFile.check(folder["new"], ifExists: .error, byteCount: Int.max) }?.code == "io.full")
        #expect(folder.contents == ["file"])
    }

    @Test func `devices and pipes are written straight through`() throws {
        #expect(try AtomicFile.write([1, 2, 3], to: "/dev/null") == "/dev/null")
        let full = failure { try AtomicFile.write([1, 2, 3], to: "/dev/full") }
        #expect(full?.kind == .ioFailed)
        #expect(full?.code == "io.full")
        mkfifo(folder["pipe"], 0o644)
        let reader = open(folder["pipe"], O_RDONLY | O_NONBLOCK)
        try AtomicFile.write([7, 8], to: folder["pipe"])
        var bytes: [UInt8] = [0, 0, 0]
        #expect(read(reader, &bytes, 3) == 2)
        #expect(bytes == [7, 8, 0])
        close(reader)
        #expect(folder.contents == ["pipe"])
    }

    @Test func `a pipe that nobody reads any more is an error`() throws {
        signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        close(ends[0])
        let error = failure { try writeAll([1], to: ends[1], name: "the pipe") }
        #expect(error?.kind == .ioFailed)
        #expect(error?.code == "io.closed")
        close(ends[1])
    }

    @Test func `descriptors by path are written where they stand`() throws {
        let descriptor = open(folder["log"], O_WRONLY | O_CREAT, 0o644)
        _ = write(descriptor, "head ", 5)
        try AtomicFile.write(Array("tail".utf8), to: "/dev/fd/\(descriptor)")
        #expect(folder.read("log") == Array("head tail".utf8))
        close(descriptor)
        #expect(failure { try AtomicFile.write([1], to: "/dev/fd/987") } != nil)
    }

    @Test func `a full disk keeps the old file and leaves nothing`() throws {
        // Only where the tests may mount; elsewhere /dev/full stands in for it.
        folder.makeFolder("small")
        guard mount("tmpfs", folder["small"], "tmpfs", 0, "size=64k") == 0 else { return }
        defer { umount(folder["small"]) }
        folder.write("small/out", "old")
        let error = failure { try AtomicFile.write([UInt8](repeating: 1, count: 1 << 20), to: folder["small/out"]) }
        #expect(error?.kind == .ioFailed)
        #expect(error?.code == "io.full")
        #expect(folder.read("small/out") == Array("old".utf8))
        #expect(folderContents(folder["small"]) == ["out"])
        #expect(
            failure { try AtomicFile.check(folder["small/x"], ifExists: .overwrite, byteCount: 1 << 20) }?.code
                == "io.full")
    }

    @Test func `old temporary files of dead processes are removed and young ones stay`() throws {
        folder.write(".tti-ar.0123456789abcdef.tmp", "x")
        folder.write(".tti-ar.0123456789abcde0.tmp", "x")
        folder.write(".tti-ar.other.tmp", "x")
        for name in [".tti-ar.0123456789abcdef.tmp", ".tti-ar.other.tmp"] {
            var times = [timeval(tv_sec: 1000, tv_usec: 0), timeval(tv_sec: 1000, tv_usec: 0)]
            utimes(folder[name], &times)
        }
        TemporaryFiles.removeStale(in: folder.path)
        #expect(folder.contents == [".tti-ar.0123456789abcde0.tmp", ".tti-ar.other.tmp"])
    }

    @Test func `more files than the table holds are all written`() throws {
        let files = try (0..<100).map { try AtomicFile(path: folder["f\($0)"], ifExists: .overwrite) }
        for file in files { _ = try file.commit() }
        #expect(folder.contents.count == 100)
    }
}
