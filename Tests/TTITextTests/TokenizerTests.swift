import TTIFormats
import TTIText
import Testing

@Suite("Tokenizers")
struct TokenizerTests {
    @Test(arguments: [
        (
            "a photo of an astronaut riding a horse on mars",
            [49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496, 49407]
        ),
        (
            "A painting of a squirrel eating a burger",
            [49406, 320, 3086, 539, 320, 14004, 4371, 320, 6548, 49407]
        ),
        ("dog", [49406, 1929, 49407]),
        ("", [49406, 49407]),
        (
            "Café déjà-vu, 3000 naïve 北京 😀 don't  STOP!!",
            [
                49406, 15304, 25466, 73, 21259, 268, 13230, 267, 274, 271, 271, 271, 1097, 35689, 563, 161, 234, 245,
                21078,
                361, 7334, 847, 713, 1691, 748, 49407,
            ]
        ),
    ])
    func `CLIP gives the published ids`(text: String, ids: [Int]) throws {
        #expect(try TokenizerUnderTest.load("clip").encode(text).ids == ids)
    }

    @Test func `a long prompt is cut as CLIP cuts, and the rest is told`() throws {
        let clip = try TokenizerUnderTest.load("clip")
        #expect(clip.maximumLength == 77 && clip.vocabularySize == 49408 && clip.endOfTextId == 49407)
        let words = Array(repeating: "dog", count: 75) + ["a", "red", "Cat", "sleeps"]
        let cut = clip.encode(words.joined(separator: " "), maximumLength: 77)
        #expect(cut.ids == [49406] + Array(repeating: 1929, count: 75) + [49407])
        #expect(cut.cutCount == 4 && cut.cutText == "a red cat sleeps")
        let fits = clip.encode(words.prefix(75).joined(separator: " "), maximumLength: 77)
        #expect(fits.ids == cut.ids && fits.cutCount == 0 && fits.cutText.isEmpty)
        #expect(clip.padded([49406, 1929, 49407], to: 6) == [49406, 1929, 49407, 49407, 49407, 49407])
    }

    @Test func `a long prompt is cut before the end token by SentencePiece`() throws {
        let tokenizer = try TokenizerUnderTest.load("scenes-ar")
        let whole = tokenizer.encode("a large red cube to the left of a small blue sphere")
        let cut = tokenizer.encode("a large red cube to the left of a small blue sphere", maximumLength: 5)
        #expect(whole.ids.count > 5 && whole.cutCount == 0)
        #expect(cut.ids == Array(whole.ids.prefix(4)) + [whole.ids.last])
        #expect(cut.cutCount == whole.ids.count - 5 && cut.cutText.hasSuffix("small blue sphere"))
    }

    @Test(arguments: [-1, 0, 1, 2])
    func `lengths with no room for the text keep what fits of the special tokens`(length: Int) throws {
        let encoded = try TokenizerUnderTest.load("clip").encode("dog", maximumLength: length)
        #expect(encoded.ids == Array([49406, 49407].prefix(max(0, length))) && encoded.cutCount == 1)
    }

    @Test(arguments: TokenizerUnderTest.names)
    func `plain prompts come back from their ids`(name: String) throws {
        let tokenizer = try TokenizerUnderTest.load(name)
        let text = "a red cube to the left of a blue sphere"
        #expect(tokenizer.decode(tokenizer.encode(text).ids).drop { $0 == " " } == text)
        #expect(tokenizer.piece(of: -1) == nil && tokenizer.piece(of: tokenizer.vocabularySize) == nil)
        #expect(tokenizer.decode([-5, Int.max, tokenizer.vocabularySize]).isEmpty)
    }

    @Test func `the padding token comes from the configuration`() throws {
        #expect(try TokenizerUnderTest.load("clip").paddingId == 49407)
        #expect(try TokenizerUnderTest.load("clip-padding").paddingId == 0)
        #expect(try TokenizerUnderTest.load("scenes-ar-t5").paddingId == 0)
        #expect(try TokenizerUnderTest.load("bart").paddingId == 1)
    }
}
