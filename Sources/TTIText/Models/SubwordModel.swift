/// Cuts a pre-tokenized piece of text into ids of its vocabulary.
protocol SubwordModel: Sendable {
    var pieces: PieceTable { get }
    /// Adds the ids of a piece of UTF-8 text.
    func appendIds(of text: [UInt8], to ids: inout [Int])
}

/// Bounds that no tokenizer in use comes near, and that no file may pass.
enum TokenizerLimits {
    /// Pieces of a vocabulary, and merges.
    static let vocabularySize = 1 << 21
    /// UTF-8 bytes of one piece.
    static let pieceLength = 4096
    /// Bytes of a tokenizer file.
    static let fileSize = 64 << 20
}
