/// Why a file, folder, checkpoint or picture could not be read or written.
///
/// Reads as one line: what happened, where, what to try. Text that comes from outside has been made harmless by
/// `quoted(_:)` before it gets here.
package struct FormatError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What sort of trouble; the command turns each into one exit code.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Nothing is at the path (66).
        case missingPath
        /// Something is there, but this process may not read it (66).
        case unreadable
        /// A folder, FIFO, device or socket where a file is expected (66).
        case notRegularFile
        /// A checkpoint's configuration, tokenizer, weights or index is wrong (78).
        case invalid
        /// A checkpoint names a file outside its folder (77).
        case refused
        /// Reading or writing failed, or a file changed underneath (74).
        case ioFailed
        /// Input data that is no checkpoint is damaged: a picture, a token file (65).
        case badInput
        /// An output cannot be created: permission, missing folder, exists already (73).
        case cannotCreate
    }

    package var kind: Kind
    /// A short dotted name that scripts may match, such as `model.shard`.
    package var code: String
    /// What happened.
    package var what: String
    /// Where: a file, and in it a tensor, a line, a byte. Nil when `what` says it already.
    package var place: String?
    /// What to try.
    package var remedy: String?

    package init(_ kind: Kind, _ code: String, _ what: String, at place: String? = nil, try remedy: String? = nil) {
        self.kind = kind
        self.code = code
        self.what = what
        self.place = place
        self.remedy = remedy
    }

    /// `what happened: where; what to try`
    package var message: String {
        var message = what
        if let place { message += ": " + place }
        if let remedy { message += "; " + remedy }
        return message
    }

    package var description: String { "error[\(code)]: \(message)" }

    /// The same trouble in a file that is the user's input and no part of a checkpoint: `invalid` becomes `badInput`.
    package var inInputFile: FormatError {
        var error = self
        if kind == .invalid { error.kind = .badInput }
        return error
    }

    /// The same trouble with a place where none is known yet.
    package func at(_ place: String) -> FormatError {
        var error = self
        error.place = error.place.map { "\(place), \($0)" } ?? place
        return error
    }
}
