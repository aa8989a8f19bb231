internal import TTI
internal import TTIFormats

/// `tti-ar tokenize`: a text as the model is given it.
enum TokenizeCommand: Command {
    static let syntax = CommandSyntax(
        name: "tokenize", operands: "[TEXT]", operandCount: 0...1,
        summary:
            "The ids of a text, as the model is given them: special tokens included, without padding, cut as the pipeline cuts.",
        options: [
            Option(
                "-m, --checkpoint, --model", "DIR|NAME",
                "The pipeline's folder, a tokenizer's own, or the name of a checkpoint (scenes-masked)."),
            CommonOptions.json, CommonOptions.quiet, CommonOptions.help,
        ],
        notes: ["Without TEXT, one text a line of standard input. A text that begins with a dash goes after '--'."])

    static func run(_ arguments: Arguments) throws {
        let values = arguments.values
        let source = try values.path("checkpoint").map { CheckpointSource.named($0) } ?? .demo(.parallel)
        let tokenizer = try PromptTokenizer(source.folder())
        for (number, text) in try texts(arguments).enumerated() {
            guard text.utf8.count <= PromptsFile.promptByteLimit else {
                throw TTIError(.invalidInput, "input.prompt", "the text has over 1 MiB: line \(number + 1)")
            }
            let tokens = tokenizer.encode(text)
            if tokens.cutCount > 0 {
                Diagnostics.warning(
                    "the text is too long for this checkpoint: its last \(tokens.cutCount) tokens are cut, "
                        + quoted(tokens.cutText, limit: 90))
            }
            if values.isOn("json") {
                try Output.json([
                    "ids": .list(tokens.ids.map { JSON($0) }), "pieces": .list(tokens.pieces.map { JSON($0) }),
                    "truncated_tokens": JSON(tokens.cutCount),
                ])
            } else {
                try Output.line(tokens.ids.map(String.init).joined(separator: " "))
            }
        }
    }

    private static func texts(_ arguments: Arguments) throws(TTIError) -> [String] {
        if let text = arguments.operands.first { return [text] }
        let bytes = try inputBytes("-", name: "standard input", limit: 1 << 30)
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        var texts: [String] = []
        for (index, line) in lines.enumerated() {
            guard let text = String(validating: line, as: UTF8.self) else {
                throw TTIError(
                    .invalidInput, "input.encoding", "the text is not UTF-8: standard input, line \(index + 1)")
            }
            texts.append(text)
        }
        return texts
    }
}
