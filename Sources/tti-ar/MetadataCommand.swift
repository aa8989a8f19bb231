internal import TTI
internal import TTIFormats

/// `tti-ar metadata`: what a picture was made with.
enum MetadataCommand: Command {
    static let syntax = CommandSyntax(
        name: "metadata", operands: "FILE", operandCount: 1...1,
        summary: "What a picture was made with: a PNG, or JSON that tti-ar wrote.",
        options: [
            Option("--command", nil, "Print the command that makes it again."), CommonOptions.json, CommonOptions.quiet,
            CommonOptions.help,
        ])

    static func run(_ arguments: Arguments) throws {
        guard let path = arguments.operands.first else { throw usage("argument", "which file? tti-ar metadata FILE") }
        if arguments.values.isOn("command") {
            return try Output.line(StoredSettings.command(StoredSettings.metadata(path)))
        }
        let metadata: ImageMetadata
        do throws(TTIError) { metadata = try StoredSettings.metadata(path) } catch {
            // Pictures of other programs often carry the A1111 form alone.
            guard error.name == "input.metadata", let parameters = try foreignParameters(path) else { throw error }
            if arguments.values.isOn("json") { return try Output.json(["parameters": JSON(parameters)]) }
            return try print(parameters)
        }
        guard arguments.values.isOn("json") else {
            try print(metadata.parameters)
            var rows: [(String, String)] = []
            for (key, value) in metadata.json.object ?? JSONObject() where key != "prompt" && key != "negative" {
                rows.append((harmless(key.string, limit: 30), harmless(value.plainText ?? value.text(), limit: 200)))
            }
            return try Output.write(Array(("\n" + table(rows, indent: 0)).utf8))
        }
        var members = metadata.json.object ?? JSONObject()
        members.set(ByteString(ImageMetadata.parametersKeyword), JSON(metadata.parameters))
        try Output.json(.members(members))
    }

    private static func foreignParameters(_ path: String) throws(TTIError) -> String? {
        try translatingErrors {
            let bytes = try inputBytes(path, name: quoted(path), limit: PNG.byteLimit)
            guard bytes.first == 0x89 else { return nil }
            return try PNG.texts(bytes, name: quoted(path)).first { $0.keyword == ImageMetadata.parametersKeyword }?
                .text
        }
    }

    /// Line by line, so that what is in a file cannot command the terminal.
    private static func print(_ text: String) throws(TTIError) {
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            try Output.line(harmless(line, limit: .max / 4))
        }
    }
}
