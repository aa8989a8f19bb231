internal import Glibc
internal import TTI
internal import TTIFormats

/// One entry of a prompts file: options by name, over those of the command line.
struct PromptLine {
    /// The line's own name, or its number.
    let id: String
    let values: OptionValues
}

/// A prompts file: one prompt a line, or a JSON object a line whose keys are options of `generate`.
enum PromptsFile {
    static let promptByteLimit = 1 << 20
    private static let fileByteLimit = 1 << 30

    /// Reads and checks every line before any work starts.
    ///
    /// - Throws: `TTIError` of code invalidInput with the line's number; missingInput when there is no such file.
    static func lines(path: String, syntax: CommandSyntax) throws(TTIError) -> [PromptLine] {
        let name = path == "-" ? "standard input" : quoted(path)
        let bytes = try inputBytes(path, name: name, limit: fileByteLimit)
        var lines: [PromptLine] = []
        var lineFromID: [ByteString: Int] = [:]
        var number = 0
        let start = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
        for var line in bytes[start...].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
            let place = "\(name), line \(number)"
            guard line.count <= promptByteLimit else {
                throw TTIError(.invalidInput, "input.prompts", "a line has over 1 MiB: \(place)")
            }
            guard let text = String(validating: line, as: UTF8.self) else {
                throw TTIError(
                    .invalidInput, "input.encoding", "the line is not UTF-8: \(place), byte \(firstBad(line))")
            }
            if text.allSatisfy({ $0 == " " || $0 == "\t" }) { continue }
            let entry = try entry(text, number: number, place: place, syntax)
            if let before = lineFromID.updateValue(number, forKey: ByteString(entry.id)) {
                throw TTIError(
                    .invalidInput, "input.prompts", "the id \(quoted(entry.id)) is that of line \(before) too: \(place)"
                )
            }
            lines.append(entry)
        }
        if lines.isEmpty { throw TTIError(.invalidInput, "input.prompts", "there is no prompt in \(name)") }
        return lines
    }

    private static func entry(
        _ text: String, number: Int, place: String, _ syntax: CommandSyntax
    ) throws(TTIError) -> PromptLine {
        var values = OptionValues()
        values.place = place
        guard text.drop(while: { $0 == " " || $0 == "\t" }).first == "{" else {
            values["prompt"] = text
            return PromptLine(id: String(number), values: values)
        }
        let object: JSONObject
        do {
            let json = try JSON(Array(text.utf8), file: place)
            object = json.object ?? JSONObject()
        } catch { throw TTIError(.invalidInput, "input.prompts", "\(error.what): \(place)") }
        var id = String(number)
        for (key, value) in object {
            if key == "id" || key == "custom_id" {
                id = value.plainText ?? ""
                try check(id: id, place)
                continue
            }
            let name = String(key.string.map { $0 == "_" ? "-" : $0 })
            guard let option = syntax.option(named: name), !GenerateCommand.wholeCommandOptions.contains(option.name)
            else {
                let names = syntax.options.map(\.name).filter { !GenerateCommand.wholeCommandOptions.contains($0) }
                let nearest = nearestName(to: name, among: names).map { "; did you mean \(quoted($0))?" } ?? ""
                throw TTIError(
                    .invalidInput, "input.prompts",
                    "the key \(quoted(key.string)) is no option of an image: \(place)\(nearest)")
            }
            guard !value.isNull else { continue }
            let takesText = ["prompt", "negative"].contains(option.name)
            guard let text = takesText ? value.string : value.plainText else {
                throw TTIError(
                    .invalidInput, "input.prompts", "\(quoted(key.string)) is \(value.kindName): \(place)")
            }
            values[option.name] = text
        }
        guard values["prompt"] != nil else {
            throw TTIError(.invalidInput, "input.prompts", "the line has no \"prompt\": \(place)")
        }
        return PromptLine(id: id, values: values)
    }

    /// An id may become part of a file's name.
    private static func check(id: String, _ place: String) throws(TTIError) {
        guard !id.isEmpty, id.utf8.count <= 200, id != ".", id != "..", !id.utf8.contains(UInt8(ascii: "/")),
            !id.unicodeScalars.contains(where: isDangerous)
        else {
            throw TTIError(
                .invalidInput, "input.prompts",
                "the id \(quoted(id, limit: 40)) cannot be part of a file's name (1 to 200 bytes, no slash): \(place)")
        }
    }

    /// The number of the first byte that is not UTF-8, counted from 1.
    private static func firstBad(_ line: some Collection<UInt8>) -> Int {
        var parser = Unicode.UTF8.ForwardParser()
        var bytes = line.makeIterator()
        var position = 1
        while case .valid(let scalar) = parser.parseScalar(from: &bytes) { position += scalar.count }
        return position
    }
}

/// All bytes of a file that the user named, or of standard input for `-`.
func inputBytes(_ path: String, name: String, limit: Int) throws(TTIError) -> [UInt8] {
    do {
        if path == "-" { return try readToEnd(descriptor: STDIN_FILENO, name: name, limit: limit) }
        return try readFile(path, limit: limit)
    } catch { throw TTIError(translating: error.inInputFile) }
}
