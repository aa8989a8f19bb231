/// Turns a prompt into the ids that a text encoder is given.
///
/// Ids are those of the reference libraries (transformers and tokenizers; sentencepiece where a checkpoint has nothing but
/// a `spiece.model`), special tokens included, padding not: `padded(_:to:)` adds it.
package protocol Tokenizer: Sendable {
    /// Ids run from 0 to this, exclusive.
    var vocabularySize: Int { get }
    /// What short texts are filled up with.
    var paddingId: Int { get }
    /// The token that ends every text, where there is one.
    var endOfTextId: Int? { get }
    /// How long the checkpoint says a text may be, special tokens included.
    var maximumLength: Int? { get }
    /// The ids that stand before and after every text.
    var specialIds: (before: [Int], after: [Int]) { get }

    /// The ids of a text alone, without the special tokens around it.
    func idsWithoutSpecials(of text: String) -> [Int]
    /// What an id stands for, as the vocabulary spells it (`dog</w>`, `▁dog`); nil when there is no such id.
    func piece(of id: Int) -> String?
    /// Text from ids. Bytes that make no UTF-8 become U+FFFD.
    func decode(_ ids: [Int], keepingSpecialTokens: Bool) -> String
}

/// A text as a model is given it.
package struct TokenizedText: Sendable, Hashable {
    /// Special tokens included, without padding.
    package var ids: [Int]
    /// The same as the vocabulary spells it, for display.
    package var pieces: [String]
    /// How many tokens were cut off to fit the length asked for.
    package var cutCount: Int
    /// What was cut off, in words; empty when nothing was.
    package var cutText: String

    package init(ids: [Int], pieces: [String], cutCount: Int = 0, cutText: String = "") {
        self.ids = ids
        self.pieces = pieces
        self.cutCount = cutCount
        self.cutText = cutText
    }
}

extension Tokenizer {
    /// The whole text, however long.
    package func encode(_ text: String) -> TokenizedText { encode(text, maximumLength: .max) }

    /// At most `maximumLength` ids, cut as the reference pipelines cut: the special tokens stay, the text's end goes.
    package func encode(_ text: String, maximumLength: Int) -> TokenizedText {
        let special = specialIds
        let all = idsWithoutSpecials(of: text)
        let room = max(0, maximumLength - special.before.count - special.after.count)
        let kept = all.prefix(room)
        let ids = Array((special.before + kept + special.after).prefix(max(0, maximumLength)))
        let cut = Array(all.dropFirst(room))
        return TokenizedText(
            ids: ids, pieces: ids.map { piece(of: $0) ?? "" }, cutCount: cut.count,
            cutText: cut.isEmpty ? "" : decode(cut, keepingSpecialTokens: true))
    }

    /// Filled up with `paddingId`; longer texts stay as they are.
    package func padded(_ ids: [Int], to length: Int) -> [Int] {
        ids + Array(repeating: paddingId, count: max(0, length - ids.count))
    }

    package func decode(_ ids: [Int]) -> String { decode(ids, keepingSpecialTokens: false) }
}
