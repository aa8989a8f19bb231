/// What a device can do to us: thrown at the border (load, read, synchronize), never inside a forward pass.
package struct DeviceError: Error, CustomStringConvertible, Sendable {
    package enum Kind: Sendable {
        /// The device, its driver or a library is not there.
        case unavailable
        /// Not enough memory, on the host or on the device.
        case outOfMemory
        /// The device stopped answering; nothing on it can be trusted any more.
        case lost
        /// A sampling or guidance step met a number that is not finite.
        case notANumber
    }

    package let kind: Kind
    /// One sentence: what happened, where, and what to try.
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
