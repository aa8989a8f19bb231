/// What went wrong, in one sentence for a person and one code for a program.
public struct TTIError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is. The raw value is the exit code of the `tti-ar` command.
    public enum Code: Int32, Sendable, CaseIterable {
        /// An option or setting is out of range, or this checkpoint cannot do what it asks.
        case usage = 64
        /// Input data is damaged: a prompts file, an image, a token file, tensors of the wrong shape.
        case invalidInput = 65
        /// An input path is missing or unreadable.
        case missingInput = 66
        /// The device, its driver or a library is missing.
        case unavailable = 69
        /// A fault of this program.
        case internalFault = 70
        /// The output cannot be created.
        case cannotCreate = 73
        /// Reading or writing failed.
        case inputOutput = 74
        /// Stopped early, consistent: the same request finishes the work.
        case stoppedEarly = 75
        /// Refused for safety.
        case refused = 77
        /// The checkpoint is invalid: configuration, tokenizer, weights or index.
        case invalidCheckpoint = 78
        /// Out of memory, on the host or on the device.
        case outOfMemory = 80
        /// A number that is not finite in the result; nothing was written.
        case notANumber = 81
        /// The device stopped answering.
        case deviceLost = 82
        /// Some of several items failed.
        case someFailed = 83
        /// Cancelled by the caller.
        case cancelled = 130
    }

    /// The kind of failure.
    public let code: Code
    /// A short dotted name, such as `model.shard`, stable between versions.
    public let name: String
    /// One sentence: what happened, where, and what to try.
    public let message: String

    /// `error[name]: message`, as the command prints it.
    public var description: String { "error[\(name)]: \(message)" }

    /// - Parameters:
    ///   - code: The kind of failure.
    ///   - name: A short dotted name.
    ///   - message: One sentence.
    public init(_ code: Code, _ name: String, _ message: String) {
        self.code = code
        self.name = name
        self.message = message
    }
}
