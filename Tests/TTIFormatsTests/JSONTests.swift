import TTIFormats
import Testing

@Suite struct JSONTests {
    private func parse(_ text: String) throws -> JSON { try JSON(Array(text.utf8), file: "test.json") }

    @Test func `values are read as what they are`() throws {
        let json = try parse(
            #" {"a": 1, "b": [true, false, null, -2.5e3], "c": {"d": "x\ny\u00e9\ud83d\ude00\/"}, "e": ""} "#)
        #expect(json["a"]?.integer == 1)
        #expect(json["b"]?.array?.count == 4)
        #expect(json["b"]?.array?[0].bool == true)
        #expect(json["b"]?.array?[2].isNull == true)
        #expect(json["b"]?.array?[3].number == -2500)
        #expect(json["c"]?["d"]?.string == "x\nyé😀/")
        #expect(json["e"]?.string == "")
        #expect(json["f"] == nil)
        #expect(json.object?.map(\.key.string) == ["a", "b", "c", "e"])
    }

    @Test func `keys that Unicode calls equal stay apart`() throws {
        let json = try parse("{\"e\u{301}\": 1, \"\u{e9}\": 2}")
        #expect(json.object?.count == 2)
        #expect(json["\u{e9}"]?.integer == 2)
        #expect(json["e\u{301}"]?.integer == 1)
    }

    @Test(
        arguments: [
            ("1", 1, 1.0), ("-0", 0, -0.0), ("1.0", nil, 1), ("1e3", nil, 1000),
            ("9223372036854775807", Int.max, 0x1p63),
            ("9223372036854775808", nil, 0x1p63), ("1e400", nil, nil), ("0.1", nil, 0.1),
        ] as [(String, Int?, Double?)])
    func `numbers are integers only when written so`(text: String, integer: Int?, number: Double?) throws {
        let json = try parse(text)
        #expect(json.integer == integer)
        #expect(json.number == number)
    }

    @Test(arguments: [
        "", " ", "{", "[", "[1,]", "[1 2]", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "01", "-", "-01", "+1", ".5", "1.", "1.e3", "1e", "1e+", "0x10", "NaN", "Infinity", "-Infinity", "nul", "True",
        "tru", "\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\n\"",
        "\"\\ud800\\ud800\"", "\"\\udc00\"", "\"\n\"", "\"\t\"", "\"\u{0}\"", "[1]]", "1 1", "{}x", "// c\n1", "[1,,2]",
        "\u{feff}1", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "]", "}", ":", ",", "[}", "{]", "\u{0}", "1\u{0}",
    ])
    func `what RFC 8259 does not allow is refused`(text: String) {
        #expect { try parse(text) } throws: { error in
            let error = error as? FormatError
            return error?.kind == .invalid && error?.code == "json.syntax"
                && error?.place?.hasPrefix("test.json, line ") == true
        }
    }

    @Test(
        arguments: [
            [0x80], [0xc0, 0x80], [0xc1, 0xbf], [0xc3], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82],
            [0xf0, 0x80, 0x80, 0x80],
            [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xff], [0xe2, 0x28, 0xa1], [0xf0, 0x9f, 0x98, 0x28],
        ] as [[UInt8]])
    func `strings that are not UTF-8 are refused`(bytes: [UInt8]) {
        let quote = UInt8(ascii: "\"")
        #expect(throws: FormatError.self) { try JSON([quote] + bytes + [quote], file: "x") }
        #expect(throws: FormatError.self) {
            try JSON([quote, quote.advanced(by: 1), 0x5c, 0x6e] + bytes + [quote], file: "x")
        }
    }

    @Test func `every prefix of a document is refused`() throws {
        let text = Array(#"{"a": [1.5e3, "x\u00e9é😀", {"b": null}], "c": true}"#.utf8)
        _ = try JSON(text, file: "x")
        for count in 0..<text.count {
            #expect(throws: FormatError.self) { try JSON(Array(text[..<count]), file: "x") }
        }
    }

    @Test func `nesting is bounded and a million brackets do no harm`() throws {
        func nested(_ depth: Int) -> [UInt8] {
            [UInt8](repeating: UInt8(ascii: "["), count: depth) + [UInt8](repeating: UInt8(ascii: "]"), count: depth)
        }
        _ = try JSON(nested(32), file: "x")
        #expect(throws: FormatError.self) { try JSON(nested(33), file: "x") }
        #expect(throws: FormatError.self) { try JSON(nested(1_000_000), file: "x") }
        _ = try JSON(nested(100), file: "x", maximumDepth: 100)
    }

    @Test func `errors say line and column`() throws {
        do {
            _ = try parse("{\n  \"a\": 1,\n  \"a\": 2\n}")
            Issue.record("no error")
        } catch let error as FormatError {
            #expect(error.place == "test.json, line 3, column 7")
            #expect(error.what.contains("'a' twice"))
        }
    }

    @Test func `large objects find their members and refuse duplicates`() throws {
        let members = (0..<5000).map { "\"k\($0)\": \($0)" }
        let json = try parse("{" + members.joined(separator: ",") + "}")
        #expect(json["k0"]?.integer == 0)
        #expect(json["k8"]?.integer == 8)
        #expect(json["k4999"]?.integer == 4999)
        #expect(json["k5000"] == nil)
        for duplicate in [0, 7, 8, 9, 4999] {
            #expect(throws: FormatError.self) {
                try parse("{" + members.joined(separator: ",") + ",\"k\(duplicate)\": 0}")
            }
        }
    }

    @Test func `what is written reads back the same`() throws {
        let json: JSON = [
            "text": "quote \" back \\ line \n tab \t bell \u{7} é 😀 e\u{301}", "integer": -12, "number": 0.1,
            "whole": 3.0,
            "tiny": 1e-30, "huge": 1e30, "yes": true, "nothing": nil, "list": [1, [2], []], "object": ["a": [:]],
        ]
        #expect(try JSON(json.bytes(), file: "x") == json)
        #expect(try JSON(json.bytes(isPretty: true), file: "x") == json)
        let ascii = json.bytes(isASCII: true)
        #expect(ascii.allSatisfy { $0 < 0x80 })
        #expect(try JSON(ascii, file: "x") == json)
        #expect(JSON(3.0).text() == "3")
        #expect(JSON(Double.nan).text() == "null")
        #expect((["a": 1, "b": [true, nil]] as JSON).text() == #"{"a":1,"b":[true,null]}"#)
    }

    @Test func `text from outside is escaped and shortened in messages`() {
        #expect(quoted("a\u{1b}[31mb\n\u{202e}") == "'a\\u{1b}[31mb\\n\\u{202e}'")
        let long = quoted(String(repeating: "x", count: 10_000))
        #expect(long.unicodeScalars.count < 130)
    }
}
