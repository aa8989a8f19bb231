internal import Glibc
internal import TTICore
internal import TTIFormats

/// What was checked, and what came of it: a line each on standard output, and a JSON document for machines.
final class CheckReport {
    private struct Entry {
        let name: String
        let dtype: String?
        let count: Int
        let failures: [String]
    }

    private var entries: [Entry] = []
    private var notes = JSONObject()
    /// Whether everything was as it should be.
    var isClean: Bool { entries.allSatisfy(\.failures.isEmpty) }

    /// Something worth knowing of all that was checked.
    func note(_ key: String, _ value: String) { notes.set(ByteString(key), JSON(value)) }

    /// - Parameters:
    ///   - count: how many things were held against each other.
    ///   - failures: a sentence for each that was not as it should be.
    func add(_ name: String, _ dtype: DType? = nil, count: Int, failures: [String], unit: String = "checks") {
        for failure in failures { print("FAILED \(name)\(dtype.map { " \($0)" } ?? ""): \(failure)") }
        print("\(name)\(dtype.map { " \($0)" } ?? ""): \(count - failures.count) of \(count) \(unit) passed")
        // Lines as they come, into a pipe too.
        fflush(nil)
        entries.append(Entry(name: name, dtype: dtype?.rawValue, count: count, failures: failures))
    }

    func write(to path: String) throws {
        notes.set("passed", JSON(isClean))
        notes.set(
            "checks",
            .list(
                entries.map { entry in
                    [
                        "name": JSON(entry.name), "dtype": entry.dtype.map { JSON($0) } ?? .null,
                        "count": JSON(entry.count), "failed": JSON(entry.failures.count),
                        "failures": .list(entry.failures.map { JSON($0) }),
                    ]
                }))
        _ = try AtomicFile.write(
            JSON.members(notes).bytes(isPretty: true) + [UInt8(ascii: "\n")], to: path, ifExists: .overwrite)
    }
}
