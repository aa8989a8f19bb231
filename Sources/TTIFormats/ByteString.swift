internal import Glibc

/// Text that is equal only to the same bytes.
///
/// Swift's `String` calls "é" and "e" + combining acute equal, and a dictionary merges them; in a vocabulary they are two
/// entries. Short texts need no memory of their own.
package struct ByteString: Sendable, Hashable, Comparable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The text. Comparing this with `==` compares characters, not bytes.
    package let string: String

    package init(_ string: String) { self.string = string }
    package init(stringLiteral value: String) { string = value }
    /// Bytes that are not UTF-8 are replaced by U+FFFD.
    package init(decoding bytes: some Collection<UInt8>) { string = String(decoding: bytes, as: UTF8.self) }

    package var utf8: String.UTF8View { string.utf8 }
    package var bytes: [UInt8] { Array(string.utf8) }
    package var isEmpty: Bool { string.isEmpty }
    package var description: String { string }

    package static func == (a: ByteString, b: ByteString) -> Bool {
        let (a, b) = (a.string.utf8, b.string.utf8)
        guard a.count == b.count else { return false }
        let areEqual = unsafe a.withContiguousStorageIfAvailable { a in
            unsafe b.withContiguousStorageIfAvailable { b in
                guard let start = a.baseAddress, let other = b.baseAddress else { return true }
                return unsafe memcmp(start, other, a.count) == 0
            }
        }
        return (areEqual ?? nil) ?? a.elementsEqual(b)
    }

    package static func < (a: ByteString, b: ByteString) -> Bool {
        a.string.utf8.lexicographicallyPrecedes(b.string.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        let contiguous: Void? = unsafe string.utf8.withContiguousStorageIfAvailable {
            unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0))
        }
        if contiguous == nil { for byte in string.utf8 { hasher.combine(byte) } }
        hasher.combine(0xff as UInt8)
    }
}
