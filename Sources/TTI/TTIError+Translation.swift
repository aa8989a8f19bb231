internal import TTICore
internal import TTIFormats
internal import TTIGeneration

extension TTIError {
    /// What a room below threw, as the one public error.
    package init(translating error: any Error) {
        switch error {
        case let error as TTIError: self = error
        case let error as FormatError: self.init(Code(error.kind), error.code, error.message)
        case let error as DeviceError: self.init(error)
        case let error as SettingsError:
            self.init(error.isBadInput ? .invalidInput : .usage, error.name, error.description)
        default: self.init(.internalFault, "internal", "\(error)")
        }
    }

    private init(_ error: DeviceError) {
        switch error.kind {
        case .unavailable: self.init(.unavailable, "device.unavailable", error.description)
        case .outOfMemory: self.init(.outOfMemory, "device.memory", error.description)
        case .lost: self.init(.deviceLost, "device.lost", error.description)
        case .notANumber: self.init(.notANumber, "numerics.not-finite", error.description)
        }
    }
}

extension TTIError.Code {
    fileprivate init(_ kind: FormatError.Kind) {
        switch kind {
        case .missingPath, .unreadable, .notRegularFile: self = .missingInput
        case .invalid: self = .invalidCheckpoint
        case .refused: self = .refused
        case .ioFailed: self = .inputOutput
        case .badInput: self = .invalidInput
        case .cannotCreate: self = .cannotCreate
        }
    }
}

/// Runs `body`, and turns what the rooms below throw into the one public error.
package func translatingErrors<Result>(_ body: () throws -> Result) throws(TTIError) -> Result {
    do { return try body() } catch { throw TTIError(translating: error) }
}
