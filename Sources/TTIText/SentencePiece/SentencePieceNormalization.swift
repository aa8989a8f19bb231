extension SentencePieceFile.Normalization {
    /// normalizer.cc, `Normalizer::Normalize`: the longest known prefix is replaced, runs of spaces become one, spaces
    /// become "▁", and one goes in front.
    ///
    /// - Parameter userDefined: pieces that are taken over as they are.
    func normalize(_ text: [UInt8], keeping userDefined: ByteTrie) -> [UInt8] {
        let space = escapesWhitespace ? Array("▁".utf8) : [UInt8(ascii: " ")]
        let blank = UInt8(ascii: " ")
        var start = 0
        if removesExtraWhitespace {
            while start < text.count {
                let (length, replacement) = prefix(of: text[start...], keeping: userDefined)
                guard replacement.elementsEqual([blank]) else { break }
                start += length
            }
        }
        guard start < text.count else { return [] }
        var result: [UInt8] = []
        result.reserveCapacity(text.count + text.count / 2)
        if addsDummyPrefix, !putsWhitespaceBehind { result.append(contentsOf: space) }
        var lastIsSpace = removesExtraWhitespace
        while start < text.count {
            let (length, whole) = prefix(of: text[start...], keeping: userDefined)
            start += length
            let replacement = lastIsSpace ? whole.drop { $0 == blank } : whole
            if let last = replacement.last {
                for byte in replacement {
                    if byte == blank { result.append(contentsOf: space) } else { result.append(byte) }
                }
                lastIsSpace = last == blank
            }
            if !removesExtraWhitespace { lastIsSpace = false }
        }
        if removesExtraWhitespace {
            while result.count >= space.count, result.suffix(space.count).elementsEqual(space) {
                result.removeLast(space.count)
            }
        }
        if addsDummyPrefix, putsWhitespaceBehind { result.append(contentsOf: space) }
        return result
    }

    /// How many bytes come next, and what they become.
    private func prefix(of text: ArraySlice<UInt8>, keeping userDefined: ByteTrie) -> (Int, ArraySlice<UInt8>) {
        if let match = userDefined.longestMatch(in: text, at: text.startIndex) {
            return (match.end - text.startIndex, text[text.startIndex..<match.end])
        }
        if let match = charsmap?.longestPrefix(of: text) { return match }
        var end = text.startIndex + 1
        while end < text.endIndex, text[end] & 0xc0 == 0x80 { end += 1 }
        return (end - text.startIndex, text[text.startIndex..<end])
    }
}
