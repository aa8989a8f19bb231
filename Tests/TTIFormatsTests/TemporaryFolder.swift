import Glibc
import TTIFormats

/// A folder that is gone with the last reference to it.
final class TemporaryFolder {
    let path: String

    init() {
        var template = Array("/tmp/tti-formats-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("no temporary folder") }
        path = template.withUnsafeBufferPointer { canonicalPath(String(cString: $0.baseAddress!))! }
    }

    deinit { remove(path) }

    private func remove(_ path: String) {
        if FileStatus(path: path, followsLinks: false)?.kind == .folder {
            chmod(path, 0o700)
            for name in folderContents(path) { remove(joinPath(path, name)) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }

    subscript(_ name: String) -> String { joinPath(path, name) }

    /// Writes a file, with the folders that it needs.
    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) -> String {
        makeFolder(parentFolder(name))
        let descriptor = open(self[name], O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        precondition(descriptor >= 0, "cannot write \(name)")
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            precondition(count > 0)
            written += count
        }
        close(descriptor)
        return self[name]
    }

    @discardableResult
    func write(_ name: String, _ text: String) -> String { write(name, Array(text.utf8)) }

    func makeFolder(_ name: String) {
        var path = self.path
        for part in name.split(separator: "/") where part != "." {
            path += "/" + part
            mkdir(path, 0o755)
        }
    }

    func link(_ name: String, to target: String) {
        makeFolder(parentFolder(name))
        precondition(symlink(target, self[name]) == 0)
    }

    func read(_ name: String) -> [UInt8]? { try? readFile(self[name], limit: 1 << 30) }
    var contents: [String] { folderContents(path) }
}

/// Runs something that must fail with a `FormatError`, and gives the error.
func failure(_ body: () throws -> Void) -> FormatError? {
    do {
        try body()
        return nil
    } catch {
        return error as? FormatError
    }
}
