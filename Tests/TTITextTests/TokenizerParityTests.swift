import TTIFormats
import TTIText
import Testing

@Suite("Tokenizer parity")
struct TokenizerParityTests {
    @Test(arguments: TokenizerUnderTest.names, ["chosen", "random-1", "random-2"])
    func `ids are those of the reference library`(name: String, part: String) throws {
        try compare(name, try TokenizerFixture(TokenizerUnderTest.fixture(name), part: part), part: part)
    }

    /// The long comparison: `make_tokenizer_fixtures.py --many` writes the folder.
    @Test(.enabled(if: environment("TTI_TOKENIZER_FIXTURES") != nil), arguments: TokenizerUnderTest.names)
    func `ids are those of the reference library on many random texts`(name: String) throws {
        let folder = environment("TTI_TOKENIZER_FIXTURES") ?? ""
        let parts = folderContents(folder).filter { $0.hasPrefix("texts-") }.map { String($0.dropFirst(6).dropLast(5)) }
        for part in parts {
            try compare(
                name, try TokenizerFixture(TokenizerUnderTest.fixture(name), part: part, folder: folder), part: part)
        }
    }

    private func compare(_ name: String, _ fixture: TokenizerFixture, part: String) throws {
        let tokenizer = try TokenizerUnderTest.load(name)
        #expect(fixture.texts.count == fixture.ids.count && fixture.texts.count > 500)
        var wrong: [String] = []
        for (text, ids) in zip(fixture.texts, fixture.ids) {
            let encoded = tokenizer.encode(text)
            if encoded.ids != ids {
                let expected = ids.map { tokenizer.piece(of: $0) ?? "?" }
                wrong.append("\(harmless(text, limit: 60)): \(encoded.ids) \(encoded.pieces), not \(ids) \(expected)")
            }
            #expect(encoded.cutCount == 0 && encoded.pieces.count == encoded.ids.count)
        }
        #expect(
            wrong.isEmpty,
            "\(name) \(part): \(wrong.count) of \(fixture.texts.count) differ: \(wrong.prefix(6).joined(separator: "\n"))"
        )
    }
}
