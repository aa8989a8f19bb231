extension Unicode.Scalar {
    /// Adds the lowercase form, character by character as the reference has it: no final sigma, no language.
    func appendLowercase(to text: inout [Unicode.Scalar]) {
        switch value {
        case 0x41...0x5a: text.append(Unicode.Scalar(UInt8(value) | 0x20))
        case 0..<0x80: text.append(self)
        case 0x130:  // İ, the only one that becomes two: i with a dot above
            text.append("i")
            text.append("\u{307}")
        default: text.append(UnicodeTables.lowercaseRuns[value].flatMap { Unicode.Scalar($0) } ?? self)
        }
    }
}
