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
    /// Normalizers, and pre-tokenizers, however deep in sequences.
    static let stepCount = 64
    /// How many times longer all normalizers together, or all pre-tokenizers, may make a text in the worst case. NFKC
    /// alone has 18.
    static let growth = 1024
    /// Special tokens around a text.
    static let specialCount = 64
    /// Bytes of one replacement of a character map; the longest known one has 33.
    static let replacementLength = 256
    /// Bytes of a tokenizer file.
    static let fileSize = 64 << 20
}
