/// Unigram language model segmentation: of all ways to cut a text into pieces, the one whose scores add up to the most
/// (Kudo 2018, arXiv 1804.10959; `EncodeOptimized` in unigram_model.cc of sentencepiece 0.2.3, models/unigram of
/// `tokenizers`).
///
/// One pass over the bytes keeps the best path that ends at each place; time is text length × longest piece. The two
/// reference libraries add scores differently, and near ties show it, so both ways are here.
struct UnigramModel: SubwordModel {
    /// How scores are added along a path.
    enum Arithmetic: Sendable {
        /// In Double, as `tokenizers` does.
        case double
        /// In Float: sentencepiece.
        case float
    }

    /// What sentencepiece calls the kinds of pieces, as far as segmentation sees them.
    enum PieceKind: UInt8, Sendable {
        case normal
        /// Wins wherever it fits.
        case userDefined
        /// In the text never found: control, unknown, byte and unused pieces.
        case hidden
        /// Recognised, and then skipped over.
        case unused
    }

    let pieces: PieceTable
    private let scores: [Double]
    private let kinds: [PieceKind]
    private let trie: ByteTrie
    let unknownId: Int
    private let unknownScore: Double
    private let arithmetic: Arithmetic
    let fallsBackToBytes: Bool

    /// How much worse than the worst piece an unknown character is.
    private static let unknownPenalty = 10.0
    private static let resetThreshold = 100_000.0

    /// - Parameters:
    ///   - scores: one a piece, finite.
    ///   - kinds: one a piece.
    init(
        pieces: PieceTable, scores: [Double], kinds: [PieceKind], unknownId: Int, arithmetic: Arithmetic,
        fallsBackToBytes: Bool
    ) {
        self.pieces = pieces
        self.scores = scores
        self.kinds = kinds
        self.unknownId = unknownId
        self.arithmetic = arithmetic
        self.fallsBackToBytes = fallsBackToBytes
        var trie = ByteTrie()
        var worst = Double.infinity
        for id in 0..<pieces.count {
            if kinds[id] != .hidden { trie.insert(pieces.bytes(of: id), value: id) }
            if kinds[id] == .normal { worst = min(worst, scores[id]) }
        }
        self.trie = trie
        if worst == .infinity { worst = arithmetic == .float ? Double(Float.greatestFiniteMagnitude) : 0 }
        unknownScore =
            arithmetic == .float
            ? Double(Float(worst) - Float(Self.unknownPenalty)) : worst - Self.unknownPenalty
    }

    /// One piece of a segmentation: the bytes from `start` to the end of this piece.
    struct Segment {
        var id: Int
        var start: Int
        var end: Int
    }

    /// The best segmentation, unknown characters one by one.
    func segments(of text: [UInt8]) -> [Segment] {
        var bestScoreAt = Array(repeating: 0.0, count: text.count + 1)
        var startAt = Array(repeating: -1, count: text.count + 1)
        var idAt = Array(repeating: 0, count: text.count + 1)

        var frontier = 0

        func offer(_ id: Int, _ score: Double, from start: Int, to end: Int) {
            // A sum of two Floats, rounded from Double to Float, is their sum in Float.
            let sum = bestScoreAt[start] + score
            let candidate = arithmetic == .float ? Double(Float(sum)) : sum
            guard startAt[end] < 0 || candidate > bestScoreAt[end] else { return }
            bestScoreAt[end] = candidate
            startAt[end] = start
            idAt[end] = id
            frontier = max(frontier, end)
        }

        var start = 0
        while start < text.count {
            if arithmetic == .float, abs(bestScoreAt[start]) > Self.resetThreshold {
                // In a long text Floats grow too coarse to tell paths apart; sentencepiece then starts from 0 again.
                let offset = bestScoreAt[start]
                for end in start...frontier where end == start || startAt[end] >= 0 {
                    bestScoreAt[end] = Double(Float(bestScoreAt[end] - offset))
                }
            }
            var characterEnd = start + 1
            while characterEnd < text.count, text[characterEnd] & 0xc0 == 0x80 { characterEnd += 1 }
            var isCovered = false
            var node = ByteTrie.root
            var end = start
            while end < text.count, let next = trie.child(of: node, text[end]) {
                node = next
                end += 1
                guard let id = trie.value(at: node), kinds[id] != .unused else { continue }
                offer(id, score(of: id, length: end - start), from: start, to: end)
                if end == characterEnd { isCovered = true }
            }
            if !isCovered {
                offer(unknownId, unknownScore, from: start, to: characterEnd)
            }
            start = characterEnd
        }

        var segments: [Segment] = []
        var end = text.count
        while end > 0 {
            segments.append(Segment(id: idAt[end], start: startAt[end], end: end))
            end = startAt[end]
        }
        segments.reverse()
        return segments
    }

    /// A user-defined piece scores above every normal one, and the more the longer it is (`GetUserDefinedScore`).
    private func score(of id: Int, length: Int) -> Double {
        kinds[id] == .userDefined ? Double(Float(0.1 * Double(length - 1))) : scores[id]
    }

    /// As `tokenizers` does it: a run of unknown characters is one piece, looked up once more, then as bytes, then unknown.
    func appendIds(of text: [UInt8], to ids: inout [Int]) {
        let segments = segments(of: text)
        var index = 0
        while index < segments.count {
            let segment = segments[index]
            index += 1
            guard segment.id == unknownId else {
                ids.append(segment.id)
                continue
            }
            var end = segment.end
            while index < segments.count, segments[index].id == unknownId {
                end = segments[index].end
                index += 1
            }
            let run = text[segment.start..<end]
            if let known = pieces.id(of: run.span) {
                ids.append(known)
            } else if fallsBackToBytes, let bytes = ByteFallback.ids(of: run, in: pieces) {
                ids.append(contentsOf: bytes)
            } else {
                ids.append(unknownId)
            }
        }
    }
}
