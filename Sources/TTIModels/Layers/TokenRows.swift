package import TTICore
package import TTIFormats

/// The token ids of some texts, all of one length, and which of them are text rather than padding: what a text encoder is
/// given. Kept on the host, because the places that pooling reads depend on them.
package struct TokenRows: Sendable, Hashable {
    /// `[batch][tokens]`
    package let ids: [[Int32]]
    /// `[batch][tokens]`, false for padding that nothing may look at; nil masks nothing.
    package let mask: [[Bool]]?

    /// Traps when rows differ in length.
    package init(_ ids: [[Int32]], mask: [[Bool]]? = nil) {
        let length = ids.first?.count ?? 0
        precondition(length > 0 && ids.allSatisfy { $0.count == length }, "rows of tokens of one length")
        if let mask {
            precondition(mask.count == ids.count && mask.allSatisfy { $0.count == length }, "a mask for every token")
        }
        self.ids = ids
        self.mask = mask
    }

    /// The same rows with every token `id` masked.
    package func masking(_ id: Int) -> TokenRows {
        TokenRows(ids, mask: ids.map { row in row.map { $0 != Int32(truncatingIfNeeded: id) } })
    }

    package var batch: Int { ids.count }
    package var length: Int { ids[0].count }

    /// `[batch, tokens]` int32
    package var hostIds: HostTensor { HostTensor(ids.flatMap { $0 }, [batch, length]) }

    /// `[batch, tokens]` float32 as `AttentionMask.keyBias` has it; nil when nothing is masked.
    package var hostKeyBias: HostTensor? {
        guard let mask, mask.contains(where: { $0.contains(false) }) else { return nil }
        return HostTensor(mask.flatMap { row in row.map { $0 ? 0 : -Float.infinity } }, [batch, length])
    }

    /// Throws when there are too many tokens for a model, or an id that its table does not have.
    package func check(vocabularySize: Int, maximumLength: Int) throws(FormatError) {
        guard length <= maximumLength else {
            throw FormatError(
                .badInput, "input.length", "\(length) text tokens, but the model takes at most \(maximumLength)")
        }
        for row in ids {
            for id in row where id < 0 || Int(id) >= vocabularySize {
                throw FormatError(
                    .invalid, "model.vocabulary",
                    "the text has token id \(id), but the model's table has \(vocabularySize) rows",
                    try: "check that tokenizer and model belong together")
            }
        }
    }
}
