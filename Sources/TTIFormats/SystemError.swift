internal import Glibc

extension FormatError {
    /// A failed system call as an error.
    ///
    /// - Parameters:
    ///   - number: `errno` right after the call.
    ///   - verb: what was tried: "read", "open" …
    ///   - otherwise: the kind when the number says neither that the path is missing nor that it may not be read.
    static func system(
        _ number: Int32, _ verb: String, _ path: String, otherwise kind: Kind = .ioFailed
    ) -> FormatError {
        let what = "cannot \(verb) \(quoted(path)): \(systemMessage(number))"
        switch number {
        case ENOENT, ENOTDIR, ENAMETOOLONG: return FormatError(.missingPath, "input.missing", what)
        case EACCES, EPERM, ELOOP: return FormatError(.unreadable, "input.unreadable", what)
        default: return FormatError(kind, "io.read", what)
        }
    }
}

/// The system's words for an error number: "Permission denied".
func systemMessage(_ number: Int32) -> String {
    guard let text = unsafe strerror(number) else { return "error \(number)" }
    return unsafe String(cString: text)
}

/// Repeats a system call for as long as a signal interrupts it.
func retryingInterrupts<Result: BinaryInteger>(_ call: () -> Result) -> Result {
    while true {
        let result = call()
        if result != -1 || errno != EINTR { return result }
    }
}
