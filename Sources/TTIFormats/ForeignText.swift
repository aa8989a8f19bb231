/// Text from a file, an argument or the system, in single quotes and safe to print on a terminal: control characters,
/// line separators and characters that change the direction of writing are escaped, and what is longer than `limit`
/// characters keeps its beginning and its end.
package func quoted(_ text: some StringProtocol, limit: Int = 120) -> String {
    "'" + harmless(text, limit: limit) + "'"
}

/// As `quoted(_:limit:)`, without the quotes.
package func harmless(_ text: some StringProtocol, limit: Int = 120) -> String {
    let scalars = text.unicodeScalars
    // Scalars are looked at from both ends, so that text of any length costs no more than what is shown.
    guard scalars.index(scalars.startIndex, offsetBy: limit + 1, limitedBy: scalars.endIndex) != nil else {
        return escaped(scalars)
    }
    return escaped(scalars.prefix(limit * 2 / 3)) + "…" + escaped(scalars.suffix(limit / 3))
}

private func escaped(_ scalars: some Sequence<Unicode.Scalar>) -> String {
    var result = String.UnicodeScalarView()
    for scalar in scalars {
        switch scalar {
        case "\n": result.append(contentsOf: "\\n".unicodeScalars)
        case "\r": result.append(contentsOf: "\\r".unicodeScalars)
        case "\t": result.append(contentsOf: "\\t".unicodeScalars)
        case _ where isDangerous(scalar):
            result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
        default: result.append(scalar)
        }
    }
    return String(result)
}

/// Whether a terminal may take the character as an instruction, or a reader be fooled by it.
package func isDangerous(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0...0x1f, 0x7f...0x9f: true  // C0, DEL, C1
    case 0x200b...0x200f, 0x2028...0x202e, 0x2060...0x206f: true  // zero width, separators, direction
    case 0x61c, 0xfeff, 0xfff9...0xfffb, 0xe0000...0xe007f: true
    default: false
    }
}
