internal import TTIFormats

/// The character map that a SentencePiece model carries (nmt_nfkc and its kin), compiled into a double-array trie
/// (darts-clone) and a pool of replacement texts that end with 0.
///
/// The blob is `trie size in bytes | trie units | replacements`, all little-endian. It comes from a file, so every unit
/// that can be reached is checked once when it is read, and every step is bounds-checked all the same.
struct PrecompiledCharsmap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]
    /// The length of the longest replacement in bytes: no text becomes longer than that many times itself.
    let growth: Int

    /// Throws `tokenizer.charsmap` when sizes or links do not hold.
    init(_ blob: ArraySlice<UInt8>, file: String) throws(FormatError) {
        func invalid(_ what: String) -> FormatError {
            FormatError(.invalid, "tokenizer.charsmap", "the precompiled character map \(what)", at: file)
        }
        func word(_ index: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(blob[blob.startIndex + index * 4 + $1]) << UInt32(8 * $1) }
        }
        guard blob.count >= 4 else { throw invalid("is shorter than its own header") }
        let byteCount = Int(word(0))
        guard byteCount % 4 == 0, byteCount > 0, byteCount <= blob.count - 4 else {
            throw invalid("says that its trie has \(byteCount) bytes, of \(blob.count - 4) there are")
        }
        units = (1...byteCount / 4).map(word)
        replacements = Array(blob.dropFirst(4 + byteCount))
        guard Array(String(decoding: replacements, as: UTF8.self).utf8) == replacements else {
            throw invalid("has replacements that are not UTF-8")
        }
        guard replacements.isEmpty || replacements.last == 0 else {
            throw invalid("has a last replacement without an end")
        }
        growth = max(1, replacements.split(separator: 0).map(\.count).max() ?? 1)
        guard growth <= TokenizerLimits.replacementLength else {
            throw invalid("has a replacement of \(growth) bytes; \(TokenizerLimits.replacementLength) are allowed")
        }
        guard linksHold() else { throw invalid("has a trie whose links or values lead outside of it") }
    }

    /// Visits every node once, however the units are linked, and checks the values at the ends.
    private func linksHold() -> Bool {
        var isVisited = Array(repeating: false, count: units.count)
        var pending = [Self.offset(units[0])]
        while let base = pending.popLast() {
            guard base < units.count else { return false }
            if isVisited[base] { continue }
            isVisited[base] = true
            for byte in 1...255 {
                let child = base ^ byte
                guard child < units.count, Self.label(units[child]) == UInt32(byte) else { continue }
                let childBase = child ^ Self.offset(units[child])
                if Self.hasLeaf(units[child]) {
                    guard childBase < units.count else { return false }
                    let value = Self.value(units[childBase])
                    guard value < replacements.count, replacements[value] & 0xc0 != 0x80 else { return false }
                }
                pending.append(childBase)
            }
        }
        return true
    }

    private static func hasLeaf(_ unit: UInt32) -> Bool { unit >> 8 & 1 == 1 }
    private static func value(_ unit: UInt32) -> Int { Int(unit & 0x7fff_ffff) }
    private static func label(_ unit: UInt32) -> UInt32 { unit & 0x8000_00ff }
    private static func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & 0x200) >> 6)) }

    /// The replacements of the prefixes of `text` that the map knows: the shortest and the longest, with their lengths.
    private func matches(_ text: ArraySlice<UInt8>) -> (
        shortest: (length: Int, value: Int), longest: (length: Int, value: Int)
    )? {
        var found: (shortest: (length: Int, value: Int), longest: (length: Int, value: Int))?
        var position = Self.offset(units[0])
        for (index, byte) in text.enumerated() {
            guard byte != 0 else { break }
            position ^= Int(byte)
            guard position < units.count, Self.label(units[position]) == UInt32(byte) else { break }
            let unit = units[position]
            position ^= Self.offset(unit)
            guard position < units.count else { break }
            if Self.hasLeaf(unit) {
                let match = (length: index + 1, value: Self.value(units[position]))
                found = (found?.shortest ?? match, match)
            }
        }
        return found
    }

    private func replacement(at value: Int) -> ArraySlice<UInt8> {
        guard value < replacements.count else { return [] }
        return replacements[value...].prefix { $0 != 0 }
    }

    /// The longest prefix that the map knows, as sentencepiece uses it; nil where it knows none.
    func longestPrefix(of text: ArraySlice<UInt8>) -> (length: Int, replacement: ArraySlice<UInt8>)? {
        matches(text).map { ($0.longest.length, replacement(at: $0.longest.value)) }
    }

    /// The replacement of the *shortest* known prefix, for the whole of `text`: what `tokenizers` does.
    func replacement(for text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        matches(text).map { replacement(at: $0.shortest.value) }
    }

    /// Normalizes as `tokenizers` does (normalizers/precompiled.rs): grapheme clusters of less than six bytes as a whole,
    /// and then all there is of a cluster after its first known character is gone; longer ones by characters.
    func normalize(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [UInt8] = []
        var view = String.UnicodeScalarView()
        view.append(contentsOf: text)
        for character in String(view) {
            let bytes = Array(character.utf8)
            if bytes.count < 6, let mapped = replacement(for: bytes[...]) {
                result.append(contentsOf: mapped)
                continue
            }
            for scalar in character.unicodeScalars {
                let bytes = Array(UTF8.encode(scalar) ?? .init())
                result.append(contentsOf: replacement(for: bytes[...]) ?? bytes[...])
            }
        }
        return Array(String(decoding: result, as: UTF8.self).unicodeScalars)
    }
}
