/// Byte-pair encoding as sentencepiece does it (bpe_model.cc): the pair whose joined piece scores best is merged first,
/// the leftmost of equals; user-defined pieces are never cut or joined.
struct SentencePieceMerges: Sendable {
    private let pieces: PieceTable
    private let scores: [Float]
    private let kinds: [UnigramModel.PieceKind]
    private let userDefined: ByteTrie
    private let unknownId: Int

    init(
        pieces: PieceTable, scores: [Float], kinds: [UnigramModel.PieceKind], userDefined: ByteTrie, unknownId: Int
    ) {
        self.pieces = pieces
        self.scores = scores
        self.kinds = kinds
        self.userDefined = userDefined
        self.unknownId = unknownId
    }

    private struct Symbol {
        var start: Int
        var end: Int
        var previous: Int
        var next: Int
        var isFrozen: Bool
    }

    private struct Candidate {
        var left: Int
        var right: Int
        var score: Float
        /// Bytes of the joined piece; tells whether the candidate is out of date.
        var length: Int

        func isBefore(_ other: Candidate) -> Bool {
            score > other.score || (score == other.score && left < other.left)
        }
    }

    func segments(of text: [UInt8]) -> [UnigramModel.Segment] {
        var symbols: [Symbol] = []
        var start = 0
        while start < text.count {
            var end = start + 1
            while end < text.count, text[end] & 0xc0 == 0x80 { end += 1 }
            let frozen = userDefined.longestMatch(in: text[...], at: start)
            if let frozen { end = frozen.end }
            symbols.append(
                Symbol(
                    start: start, end: end, previous: symbols.count - 1, next: symbols.count + 1,
                    isFrozen: frozen != nil))
            start = end
        }
        var heap: [Candidate] = []
        // Unused pieces may be merged through; they are cut again at the end.
        var parts: [ArraySlice<UInt8>: (Int, Int)] = [:]

        func propose(_ left: Int, _ right: Int) {
            guard left >= 0, right < symbols.count, !symbols[left].isFrozen, !symbols[right].isFrozen else { return }
            let joined = text[symbols[left].start..<symbols[right].end]
            guard let id = pieces.id(of: joined.span), kinds[id] != .hidden else { return }
            heap.append(Candidate(left: left, right: right, score: scores[id], length: joined.count))
            var child = heap.count - 1
            while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
                heap.swapAt(child, (child - 1) / 2)
                child = (child - 1) / 2
            }
            if kinds[id] == .unused {
                parts[joined] = (symbols[left].end - symbols[left].start, symbols[right].end - symbols[right].start)
            }
        }

        for left in 0..<max(0, symbols.count - 1) { propose(left, left + 1) }
        while let top = heap.first {
            let last = heap.removeLast()
            if !heap.isEmpty {
                heap[0] = last
                var parent = 0
                while true {
                    var best = parent
                    for child in [2 * parent + 1, 2 * parent + 2]
                    where child < heap.count && heap[child].isBefore(heap[best]) {
                        best = child
                    }
                    if best == parent { break }
                    heap.swapAt(parent, best)
                    parent = best
                }
            }
            let (left, right) = (symbols[top.left], symbols[top.right])
            // A symbol that was merged away is empty.
            guard left.end > left.start, right.end > right.start, right.end - left.start == top.length else { continue }
            symbols[top.left].end = right.end
            symbols[top.left].next = right.next
            if right.next < symbols.count { symbols[right.next].previous = top.left }
            symbols[top.right].end = right.start
            propose(symbols[top.left].previous, top.left)
            propose(top.left, symbols[top.left].next)
        }

        var segments: [UnigramModel.Segment] = []
        func append(_ range: Range<Int>) {
            var pending = [range]
            while let range = pending.popLast() {
                let id = pieces.id(of: text[range].span).flatMap { kinds[$0] == .hidden ? nil : $0 } ?? unknownId
                if id != unknownId, kinds[id] == .unused, let (left, _) = parts[text[range]] {
                    pending.append(range.lowerBound + left..<range.upperBound)
                    pending.append(range.lowerBound..<range.lowerBound + left)
                } else {
                    segments.append(UnigramModel.Segment(id: id, start: range.lowerBound, end: range.upperBound))
                }
            }
        }
        var index = 0
        while index < symbols.count {
            append(symbols[index].start..<symbols[index].end)
            index = symbols[index].next
        }
        return segments
    }
}
