internal import TTIFormats

/// A SentencePiece model: `spiece.model` and its kin (sentencepiece_model.proto).
struct SentencePieceFile {
    enum PieceType: UInt64 {
        case normal = 1
        case unknown, control, userDefined, unused, byte
    }

    enum ModelType: UInt64 {
        case unigram = 1
        case bytePair, word, character
    }

    struct Piece {
        var text: ArraySlice<UInt8>
        var score: Float = 0
        var type = PieceType.normal
    }

    /// normalizer_spec: what happens to text before it is cut.
    struct Normalization {
        var charsmap: PrecompiledCharsmap?
        /// What the character map was read from, for the Hugging Face pipeline.
        var addsDummyPrefix = true
        var removesExtraWhitespace = true
        var escapesWhitespace = true
        /// trainer_spec.treat_whitespace_as_suffix.
        var putsWhitespaceBehind = false
    }

    let file: String
    private(set) var pieces: [Piece] = []
    private(set) var modelType = ModelType.unigram
    private(set) var normalization = Normalization()
    private(set) var fallsBackToBytes = false
    /// The id of the unknown piece.
    private(set) var unknownId = 0
    /// trainer_spec's ids for the ends of a text and for padding; nil where there are none.
    private(set) var beginId: Int?
    private(set) var endId: Int?
    private(set) var paddingId: Int?

    /// Throws kind `invalid` for everything that sentencepiece itself refuses, and for scores that are not numbers.
    init(_ bytes: [UInt8], file: String) throws(FormatError) {
        self.file = file
        // Defaults of the proto.
        beginId = 1
        endId = 2
        var reader = ProtobufReader(bytes[...], file: file)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let message)): try readPiece(message)
            case (2, .bytes(let message)): try readTrainer(message)
            case (3, .bytes(let message)): try readNormalizer(message)
            case (1, _), (2, _), (3, _): throw invalid("field \(field.number) is not a message")
            default: continue
            }
        }
        try checkPieces()
    }

    private func invalid(_ what: String) -> FormatError {
        FormatError(.invalid, "tokenizer.sentencepiece", "the SentencePiece model is invalid: \(what)", at: file)
    }

    private mutating func readPiece(_ message: ArraySlice<UInt8>) throws(FormatError) {
        guard pieces.count < TokenizerLimits.vocabularySize else {
            throw invalid("it has more than \(TokenizerLimits.vocabularySize) pieces")
        }
        var piece = Piece(text: [])
        var reader = ProtobufReader(message, file: file)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let text)): piece.text = text
            case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
            case (3, .varint(let value)):
                guard let type = PieceType(rawValue: value) else {
                    throw invalid("piece \(pieces.count) has the type \(value)")
                }
                piece.type = type
            case (1, _), (2, _), (3, _):
                throw invalid("piece \(pieces.count) has a field \(field.number) of another wire type")
            default: continue
            }
        }
        guard !piece.text.isEmpty, piece.text.count <= TokenizerLimits.pieceLength else {
            throw invalid("piece \(pieces.count) has \(piece.text.count) bytes")
        }
        guard !piece.text.contains(0) || piece.type == .unused else { throw invalid("piece \(pieces.count) has a NUL") }
        guard piece.score.isFinite else { throw invalid("piece \(pieces.count) has the score \(piece.score)") }
        pieces.append(piece)
    }

    private mutating func readTrainer(_ message: ArraySlice<UInt8>) throws(FormatError) {
        var reader = ProtobufReader(message, file: file)
        while let field = try reader.next() {
            guard case .varint(let value) = field.value else { continue }
            switch field.number {
            case 3:
                guard let type = ModelType(rawValue: value) else { throw invalid("its model type is \(value)") }
                modelType = type
            case 24: normalization.putsWhitespaceBehind = value != 0
            case 35: fallsBackToBytes = value != 0
            case 41: beginId = Self.id(value)
            case 42: endId = Self.id(value)
            case 43: paddingId = Self.id(value)
            default: continue
            }
        }
    }

    /// An int32 on the wire; negative ones stand for none.
    private static func id(_ value: UInt64) -> Int? {
        let id = Int32(truncatingIfNeeded: value)
        return id < 0 ? nil : Int(id)
    }

    private mutating func readNormalizer(_ message: ArraySlice<UInt8>) throws(FormatError) {
        var reader = ProtobufReader(message, file: file)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (2, .bytes(let blob)):
                normalization.charsmap = blob.isEmpty ? nil : try PrecompiledCharsmap(blob, file: file)
            case (3, .varint(let value)): normalization.addsDummyPrefix = value != 0
            case (4, .varint(let value)): normalization.removesExtraWhitespace = value != 0
            case (5, .varint(let value)): normalization.escapesWhitespace = value != 0
            default: continue
            }
        }
    }

    /// What `ModelInterface::InitializePieces` asks for.
    private mutating func checkPieces() throws(FormatError) {
        guard !pieces.isEmpty else { throw invalid("it has no pieces") }
        guard modelType == .unigram || modelType == .bytePair else {
            throw invalid("it cuts into \(modelType == .word ? "words" : "characters"); unigram and bpe are supported")
        }
        var unknown: Int?
        var found = Set<ArraySlice<UInt8>>(minimumCapacity: pieces.count)
        var bytesFound = Set<UInt8>()
        for (id, piece) in pieces.enumerated() {
            let text = String(decoding: piece.text, as: UTF8.self)
            guard Array(text.utf8)[...] == piece.text else { throw invalid("piece \(id) is not UTF-8") }
            guard found.insert(piece.text).inserted else {
                throw invalid("the piece \(quoted(text, limit: 40)) is there twice")
            }
            if piece.type == .unknown {
                guard unknown == nil else { throw invalid("it has two unknown pieces, \(unknown ?? 0) and \(id)") }
                unknown = id
            }
            if piece.type == .byte {
                guard fallsBackToBytes, let byte = ByteFallback.byte(piece.text) else {
                    throw invalid("the byte piece \(quoted(text, limit: 40)) is out of place")
                }
                bytesFound.insert(byte)
            }
        }
        guard let unknown else { throw invalid("it has no unknown piece") }
        guard !fallsBackToBytes || bytesFound.count == 256 else {
            throw invalid("it falls back to bytes, but has \(bytesFound.count) of the 256 byte pieces")
        }
        unknownId = unknown
        for (name, id) in [("bos", beginId), ("eos", endId), ("pad", paddingId)] {
            // The proto's defaults stand there even when the vocabulary is smaller than they are.
            guard let id, id >= pieces.count else { continue }
            if id > 2 { throw invalid("its \(name)_id is \(id), of \(pieces.count) pieces") }
        }
        if let id = beginId, id >= pieces.count || pieces[id].type != .control { beginId = nil }
        if let id = endId, id >= pieces.count || pieces[id].type != .control { endId = nil }
        if let id = paddingId, id >= pieces.count { paddingId = nil }
    }
}
