internal import TTIFormats

/// Puts pieces that come with ids, in any order, into a table; ids have to be 0, 1, 2 … once each, where added tokens fill
/// what the vocabulary leaves out.
struct VocabularyBuilder {
    private let file: String
    private var entries: [(piece: [UInt8], id: Int)] = []

    init(file: String) { self.file = file }

    private func invalid(_ what: String) -> FormatError {
        FormatError(.invalid, "tokenizer.vocabulary", what, at: file)
    }

    mutating func add(_ piece: ByteString, idText: String) throws(FormatError) {
        guard let id = Int(idText), id >= 0, id < TokenizerLimits.vocabularySize else {
            throw invalid(
                "the piece \(quoted(piece.string, limit: 40)) has the id \(harmless(idText, limit: 30)), "
                    + "not a whole number below \(TokenizerLimits.vocabularySize)")
        }
        guard piece.utf8.count <= TokenizerLimits.pieceLength else {
            throw invalid(
                "the piece with id \(id) has \(piece.utf8.count) bytes; \(TokenizerLimits.pieceLength) are allowed")
        }
        entries.append((piece.bytes, id))
    }

    /// The table. Pieces of `addedTokens` whose ids lie beyond the vocabulary are not in it.
    consuming func table(addedTokens: [AddedTokens.Token]) throws(FormatError) -> PieceTable {
        guard !entries.isEmpty else { throw invalid("the vocabulary is empty") }
        let addedIds = Set(addedTokens.map(\.id))
        // No file's number sizes an array: there are at most as many ids as entries and added tokens.
        let bound = entries.count + addedIds.count
        var indexFromId = Array(repeating: -1, count: bound)
        var highest = -1
        for (index, entry) in entries.enumerated() {
            guard entry.id < bound else {
                throw invalid(
                    "the piece \(quoted(String(decoding: entry.piece, as: UTF8.self), limit: 40)) has the id \(entry.id), "
                        + "but there are only \(bound) pieces")
            }
            guard indexFromId[entry.id] < 0 else { throw invalid("two pieces have the id \(entry.id)") }
            indexFromId[entry.id] = index
            highest = max(highest, entry.id)
        }
        var table = PieceTable(expectedCount: highest + 1)
        for id in 0...highest {
            guard indexFromId[id] >= 0 else {
                guard addedIds.contains(id) else { throw invalid("no piece has the id \(id)") }
                table.appendUnfindable([])
                continue
            }
            guard table.append(entries[indexFromId[id]].piece) != nil else {
                throw invalid(
                    "two pieces are \(quoted(String(decoding: entries[indexFromId[id]].piece, as: UTF8.self), limit: 40))"
                )
            }
        }
        return table
    }
}

/// The merges of a byte-pair model, from pairs of pieces in the order of their ranks.
struct MergeBuilder {
    private let pieces: PieceTable
    private let continuingPrefix: Int
    private let file: String
    private var merged: [UInt8] = []
    private(set) var merges: MergeTable
    private var rank = 0

    /// - Parameter continuingPrefix: how many bytes the right piece loses when it is joined.
    init(pieces: PieceTable, expectedCount: Int, continuingPrefix: Int = 0, file: String) {
        self.pieces = pieces
        self.continuingPrefix = continuingPrefix
        self.file = file
        merges = MergeTable(expectedCount: min(expectedCount, TokenizerLimits.vocabularySize))
    }

    mutating func add(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) throws(FormatError) {
        guard rank < TokenizerLimits.vocabularySize else {
            throw FormatError(
                .invalid, "tokenizer.merges", "there are more than \(TokenizerLimits.vocabularySize) merges", at: file)
        }
        guard left.count + right.count <= 2 * TokenizerLimits.pieceLength else { throw unknown(left + right) }
        guard let leftId = pieces.id(of: left.span) else { throw unknown(left) }
        guard let rightId = pieces.id(of: right.span) else { throw unknown(right) }
        merged.removeAll(keepingCapacity: true)
        merged.append(contentsOf: left)
        merged.append(contentsOf: right.dropFirst(continuingPrefix))
        guard let id = pieces.id(of: merged) else { throw unknown(merged[...]) }
        merges.set(leftId, rightId, MergeTable.Merge(rank: rank, id: id))
        rank += 1
    }

    private func unknown(_ piece: ArraySlice<UInt8>) -> FormatError {
        let text = quoted(String(decoding: piece, as: UTF8.self), limit: 40)
        return FormatError(
            .invalid, "tokenizer.merges",
            "merge \(rank + 1) needs the piece \(text), which the vocabulary does not have",
            at: file)
    }
}
