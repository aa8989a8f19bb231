/// Byte-pair encoding with ranked merges, as in the `tokenizers` library (models/bpe).
///
/// A word starts as its characters; as long as any adjacent pair is in the table, the pair of the lowest rank, leftmost
/// first, becomes one piece. A heap of candidates makes that n log n for a word of n characters, however long.
struct BytePairModel: SubwordModel {
    /// What the model's file says besides the vocabulary and the merges.
    struct Options: Sendable {
        var unknownId: Int?
        /// Stands after the last character of a word: `</w>`.
        var endOfWordSuffix: [UInt8] = []
        /// Stands before every character of a word but the first: `##`.
        var continuingPrefix: [UInt8] = []
        var fusesUnknown = false
        /// Unknown characters become `<0x41>`, a piece a byte.
        var fallsBackToBytes = false
        /// A word that is a piece itself is not cut.
        var ignoresMerges = false
    }

    let pieces: PieceTable
    private let merges: MergeTable
    private let options: Options
    /// The ids of characters below U+0144, where a byte-level alphabet ends: within a word, and at its end; -1 for none.
    private let idFromCharacter: [Int32]
    private let idFromLastCharacter: [Int32]

    init(pieces: PieceTable, merges: MergeTable, options: Options) {
        self.pieces = pieces
        self.merges = merges
        self.options = options
        func ids(suffix: [UInt8]) -> [Int32] {
            (0..<0x144).map { value in
                Unicode.Scalar(value as UInt32).map { Array(String($0).utf8) }
                    .flatMap { pieces.id(of: $0 + suffix) }.map(Int32.init) ?? -1
            }
        }
        idFromCharacter = ids(suffix: [])
        idFromLastCharacter = options.endOfWordSuffix.isEmpty ? idFromCharacter : ids(suffix: options.endOfWordSuffix)
    }

    func appendIds(of text: [UInt8], to ids: inout [Int]) {
        if options.ignoresMerges, let whole = pieces.id(of: text) {
            ids.append(whole)
            return
        }
        var word = MergingWord(symbols(of: text))
        word.mergeAll(merges)
        ids.append(contentsOf: word.ids)
    }

    /// The characters of a word as ids, unknown ones replaced.
    private func symbols(of text: [UInt8]) -> [Int] {
        var symbols: [Int] = []
        symbols.reserveCapacity(text.count)
        var lastIsUnknown = false
        var key: [UInt8] = []
        var start = 0
        while start < text.count {
            var end = start + 1
            while end < text.count, text[end] & 0xc0 == 0x80 { end += 1 }
            if options.continuingPrefix.isEmpty, let character = smallCharacter(text[start..<end]) {
                let id = (end == text.count ? idFromLastCharacter : idFromCharacter)[character]
                if id >= 0 {
                    symbols.append(Int(id))
                    lastIsUnknown = false
                    start = end
                    continue
                }
            }
            key.removeAll(keepingCapacity: true)
            if start > 0 { key.append(contentsOf: options.continuingPrefix) }
            key.append(contentsOf: text[start..<end])
            if end == text.count { key.append(contentsOf: options.endOfWordSuffix) }
            start = end
            if let id = pieces.id(of: key) {
                symbols.append(id)
                lastIsUnknown = false
            } else if options.fallsBackToBytes, let bytes = ByteFallback.ids(of: key[...], in: pieces) {
                symbols.append(contentsOf: bytes)
                lastIsUnknown = false
            } else if let unknown = options.unknownId {
                if !(lastIsUnknown && options.fusesUnknown) { symbols.append(unknown) }
                lastIsUnknown = true
            }
        }
        return symbols
    }
}

/// The code point of a character that has a place in the tables; nil for others.
private func smallCharacter(_ utf8: ArraySlice<UInt8>) -> Int? {
    let first = Int(utf8[utf8.startIndex])
    if utf8.count == 1 { return first }
    guard utf8.count == 2 else { return nil }
    let value = (first & 0x1f) << 6 | Int(utf8[utf8.startIndex + 1] & 0x3f)
    return value < 0x144 ? value : nil
}

/// The pieces `<0x00>` … `<0xFF>` that stand for the bytes of what the vocabulary lacks.
enum ByteFallback {
    static func piece(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return Array("<0x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)], UInt8(ascii: ">")]
    }

    /// The byte that a piece stands for.
    static func byte(_ piece: ArraySlice<UInt8>) -> UInt8? {
        guard piece.count == 6, piece.starts(with: "<0x".utf8), piece.last == UInt8(ascii: ">") else { return nil }
        let digits = piece.dropFirst(3).prefix(2)
        guard digits.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x41 && $0 <= 0x46) }) else { return nil }
        return UInt8(hexadecimal(digits))
    }

    /// Nil where a byte has no piece.
    static func ids(of text: ArraySlice<UInt8>, in pieces: PieceTable) -> [Int]? {
        var ids: [Int] = []
        for byte in text {
            guard let id = pieces.id(of: piece(byte)) else { return nil }
            ids.append(id)
        }
        return ids
    }
}

/// A word while its pairs are merged: a linked list of symbols and a heap of the merges that are possible.
private struct MergingWord {
    private struct Candidate {
        /// rank << 32 | position: what comes first is the smallest.
        var order: UInt64
        var id: Int32
    }

    private var symbol: [Int]
    private var previous: [Int]
    private var next: [Int]
    private var heap: [Candidate] = []

    init(_ symbols: [Int]) {
        symbol = symbols
        previous = Array(-1..<symbols.count - 1)
        next = Array(1..<symbols.count + 1)
    }

    /// A symbol that was merged into its left neighbour is -1.
    var ids: [Int] { symbol.filter { $0 >= 0 } }

    mutating func mergeAll(_ merges: MergeTable) {
        guard symbol.count > 1 else { return }
        for position in 0..<symbol.count - 1 {
            if let candidate = candidate(position, merges) { heap.append(candidate) }
        }
        for parent in stride(from: heap.count / 2 - 1, through: 0, by: -1) { sink(parent) }
        while let top = heap.first {
            removeFirst()
            let position = Int(top.order & 0xffff_ffff)
            let left = symbol[position]
            let right = next[position]
            // Out of date: the left symbol is gone, or the pair has become another one.
            guard left >= 0, right < symbol.count, let merge = merges[left, symbol[right]], merge.id == Int(top.id)
            else { continue }
            symbol[position] = merge.id
            symbol[right] = -1
            next[position] = next[right]
            if next[right] < symbol.count { previous[next[right]] = position }
            if previous[position] >= 0 { propose(previous[position], merges) }
            propose(position, merges)
        }
    }

    /// The merge of the pair that begins at a position.
    private func candidate(_ position: Int, _ merges: MergeTable) -> Candidate? {
        let right = next[position]
        guard right < symbol.count, let merge = merges[symbol[position], symbol[right]] else { return nil }
        return Candidate(order: UInt64(merge.rank) << 32 | UInt64(position), id: Int32(merge.id))
    }

    private mutating func propose(_ position: Int, _ merges: MergeTable) {
        guard let candidate = candidate(position, merges) else { return }
        heap.append(candidate)
        var child = heap.count - 1
        while child > 0, candidate.order < heap[(child - 1) / 2].order {
            heap[child] = heap[(child - 1) / 2]
            child = (child - 1) / 2
        }
        heap[child] = candidate
    }

    private mutating func removeFirst() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        sink(0)
    }

    private mutating func sink(_ start: Int) {
        let candidate = heap[start]
        var parent = start
        while 2 * parent + 1 < heap.count {
            var child = 2 * parent + 1
            if child + 1 < heap.count, heap[child + 1].order < heap[child].order { child += 1 }
            guard heap[child].order < candidate.order else { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = candidate
    }
}
