import Glibc
import TTI
import TTIFormats

/// A folder for one test, removed with all that is in it.
final class Workplace {
    let path: String

    init() {
        var template = Array("/tmp/tti-ar-test.XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "no temporary folder")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Workplace.remove(path) }

    subscript(name: String) -> String { path + "/" + name }

    /// Names in the folder, or in one below it.
    func contents(_ name: String = ".") -> [String] { folderContents(self[name]) }

    func write(_ name: String, _ bytes: some Sequence<UInt8>) {
        let file = self[name]
        unlink(file)
        guard let handle = fopen(file, "w") else { preconditionFailure("cannot write \(file)") }
        let all = Array(bytes)
        fwrite(all, 1, all.count, handle)
        fclose(handle)
    }

    func write(_ name: String, _ text: String) { write(name, text.utf8) }

    func read(_ name: String) -> [UInt8] { (try? readFile(self[name], limit: 1 << 30)) ?? [] }

    func makeFolder(_ name: String) { mkdir(self[name], 0o755) }

    /// A copy of a checkpoint that ships, links followed, to be damaged.
    func copyCheckpoint(_ checkpoint: String, as name: String = "model") {
        copy(CommandProcess.repository + "/Checkpoints/" + checkpoint, to: self[name])
    }

    private func copy(_ source: String, to target: String) {
        guard FileStatus(path: source)?.kind == .folder else {
            let bytes = (try? readFile(source, limit: 1 << 30)) ?? []
            guard let handle = fopen(target, "w") else { preconditionFailure("cannot write \(target)") }
            fwrite(bytes, 1, bytes.count, handle)
            fclose(handle)
            return
        }
        mkdir(target, 0o755)
        for name in folderContents(source) { copy(source + "/" + name, to: target + "/" + name) }
    }

    // MARK: Damage

    func remove(_ name: String) { Workplace.remove(self[name]) }

    /// Keeps the first bytes.
    func truncate(_ name: String, to count: Int) { write(name, read(name).prefix(count)) }

    /// Replaces the first occurrence of a text; traps when there is none.
    func edit(_ name: String, _ old: String, _ new: String) {
        let text = String(decoding: read(name), as: UTF8.self)
        guard let range = text.firstRange(of: old) else { preconditionFailure("no \(old) in \(name)") }
        write(name, text.replacingCharacters(in: range, with: new))
    }

    /// Changes the JSON header of a safetensors file, padding it to its old length; traps when it gets longer.
    func editHeader(_ name: String, _ old: String, _ new: String) {
        let bytes = read(name)
        let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = String(decoding: bytes[8..<8 + length], as: UTF8.self)
        guard let range = header.firstRange(of: old) else { preconditionFailure("no \(old) in \(name)") }
        var changed = Array(header.replacingCharacters(in: range, with: new).utf8)
        let padding = (8 - changed.count % 8) % 8
        changed += [UInt8](repeating: 0x20, count: padding)
        let count = (0..<8).map { UInt8(truncatingIfNeeded: changed.count >> (8 * $0)) }
        write(name, count + changed + bytes[(8 + length)...])
    }

    func link(_ name: String, to target: String) {
        unlink(self[name])
        symlink(target, self[name])
    }

    private static func remove(_ path: String) {
        if FileStatus(path: path, followsLinks: false)?.kind == .folder {
            chmod(path, 0o755)
            for name in folderContents(path) { remove(path + "/" + name) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }
}

extension String {
    func replacingCharacters(in range: Range<String.Index>, with new: String) -> String {
        self[..<range.lowerBound] + new + self[range.upperBound...]
    }
}
