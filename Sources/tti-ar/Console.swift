internal import Glibc
internal import TTI
internal import TTIFormats

/// Standard output: results, and nothing else.
enum Output {
    /// Writes all of it at once.
    ///
    /// - Throws: `TTIError` of code inputOutput; `isClosedOutput` when nobody reads any more.
    static func write(_ bytes: [UInt8]) throws(TTIError) {
        guard let number = writeAll(bytes, to: STDOUT_FILENO) else { return }
        if number == EPIPE || number == EBADF { throw closedOutput }
        throw TTIError(.inputOutput, "io.write", "cannot write to standard output: \(message(number))")
    }

    /// A line of text.
    static func line(_ text: String) throws(TTIError) { try write(Array((text + "\n").utf8)) }

    /// One JSON object on a line of its own.
    static func json(_ value: JSON) throws(TTIError) { try write(value.bytes() + [UInt8(ascii: "\n")]) }
}

/// Nobody reads standard output any more: the program ends without a word.
let closedOutput = TTIError(.inputOutput, "io.closed", "standard output is closed")

extension TTIError {
    /// Whether there is nobody left to tell.
    var isClosedOutput: Bool { name == closedOutput.name }
}

/// Standard error: progress, warnings, errors.
enum Diagnostics {
    /// A line of text that has already been made harmless.
    static func line(_ text: String) { _ = writeAll(Array((text + "\n").utf8), to: STDERR_FILENO) }

    /// Text without a line's end.
    static func text(_ text: String) { _ = writeAll(Array(text.utf8), to: STDERR_FILENO) }

    static func warning(_ text: String) { line("tti-ar: warning: " + oneLine(text)) }

    static func error(_ error: TTIError) { line("tti-ar: " + oneLine(error.description)) }

    /// Errors are one line whatever is in them.
    private static func oneLine(_ text: String) -> String {
        text.unicodeScalars.contains(where: isDangerous) ? harmless(text, limit: .max / 4) : text
    }
}

/// Whether a file descriptor is a terminal that understands carriage returns.
func isTerminal(_ descriptor: Int32) -> Bool {
    isatty(descriptor) == 1 && environmentVariable("TERM") != "dumb"
}

/// Opens /dev/null in the place of standard streams that are closed, so that no file of ours takes their number.
///
/// A closed standard output becomes one that can only be read, so that writing to it still fails.
func reserveStandardStreams() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
        let mode = descriptor == STDOUT_FILENO ? O_RDONLY : O_RDWR
        let opened = unsafe open("/dev/null", mode)
        if opened != descriptor, opened >= 0 {
            dup2(opened, descriptor)
            close(opened)
        }
    }
}

/// Writes everything; the system's error number when it cannot.
private func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32? {
    var start = 0
    while start < bytes.count {
        let written = unsafe bytes[start...].withUnsafeBytes {
            unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
        }
        if written < 0 {
            if errno == EINTR { continue }
            if errno == EAGAIN {
                var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = unsafe poll(&poller, 1, 1000)
                continue
            }
            return errno
        }
        start += written
    }
    return nil
}

/// The system's words for an error number.
func message(_ number: Int32) -> String {
    guard let text = unsafe strerror(number) else { return "error \(number)" }
    return unsafe String(cString: text)
}
