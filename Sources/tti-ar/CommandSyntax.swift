internal import TTIFormats

/// One option: how it is written, and what `--help` says of it.
struct Option: Sendable {
    /// Without the dashes: `top-k`.
    let name: String
    let short: Character?
    /// Other spellings that are understood.
    let aliases: [String]
    /// What stands for the value in the help; nil: the option takes none.
    let value: String?
    let help: String

    /// - Parameters:
    ///   - names: `-o, --output, --another`: short form, name, aliases.
    ///   - value: what stands for the value; nil for a switch.
    init(_ names: String, _ value: String? = nil, _ help: String) {
        var short: Character?
        var long: [String] = []
        for name in names.split(separator: ",") {
            let bare = name.drop { $0 == " " }
            if bare.hasPrefix("--") {
                long.append(String(bare.dropFirst(2)))
            } else {
                short = bare.last
            }
        }
        self.short = short
        name = long[0]
        aliases = Array(long.dropFirst())
        self.value = value
        self.help = help
    }

    /// `-o, --output PATH`
    var heading: String {
        let front = short.map { "-\($0), " } ?? "    "
        return front + "--" + name + (value.map { " " + $0 } ?? "")
    }
}

/// What a command understands.
struct CommandSyntax: Sendable {
    let name: String
    /// What follows the options: `[PROMPT]`; empty when nothing does.
    let operands: String
    /// How many arguments may stand without an option.
    let operandCount: ClosedRange<Int>
    let summary: String
    let options: [Option]
    /// Paragraphs below the table.
    var notes: [String] = []

    func option(named name: some StringProtocol) -> Option? {
        options.first { $0.name == name || $0.aliases.contains { $0 == name } }
    }

    func option(short: Character) -> Option? { options.first { $0.short == short } }

    /// What `--help` prints.
    var help: String {
        var text = "usage: tti-ar \(name)"
        if !operands.isEmpty { text += " " + operands }
        text += " [options]\n\n" + wrapped(summary, indent: 0, width: 100) + "\n\n"
        text += table(options.map { ($0.heading, $0.help) })
        for note in notes { text += "\n" + wrapped(note, indent: 0, width: 100) + "\n" }
        return text
    }
}

/// Two aligned columns, the second one wrapped.
func table(_ rows: [(String, String)], indent: Int = 2) -> String {
    let column = min(38, (rows.map { $0.0.count }.max() ?? 0) + indent + 2)
    var text = ""
    for (head, body) in rows {
        let front = String(repeating: " ", count: indent) + head
        let paragraph = wrapped(body, indent: column, width: 110)
        if front.count + 2 <= column {
            text += padRight(front, column) + paragraph.dropFirst(column) + "\n"
        } else {
            text += front + "\n" + paragraph + "\n"
        }
    }
    return text
}

/// Text in lines of at most `width` characters, each after `indent` spaces.
func wrapped(_ text: String, indent: Int, width: Int) -> String {
    let margin = String(repeating: " ", count: indent)
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
        if !line.isEmpty, indent + line.count + 1 + word.count > width {
            lines.append(margin + line)
            line = ""
        }
        line += line.isEmpty ? String(word) : " " + word
    }
    lines.append(margin + line)
    return lines.joined(separator: "\n")
}

/// The known name that is nearest to what was typed; nil when none is near.
func nearestName(to typed: String, among names: [String]) -> String? {
    let limit = max(1, min(3, typed.count / 3))
    var best: (name: String, distance: Int)?
    for name in names {
        let distance = name.hasPrefix(typed) && typed.count >= 3 ? 1 : editDistance(typed, name)
        if distance <= limit, distance < best?.distance ?? .max { best = (name, distance) }
    }
    return best?.name
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
func editDistance(_ first: String, _ second: String) -> Int {
    let a = Array(first.utf8.prefix(64))
    let b = Array(second.utf8.prefix(64))
    var rows = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
    for i in 0...a.count { rows[i][0] = i }
    for j in 0...b.count { rows[0][j] = j }
    for i in 0..<a.count {
        for j in 0..<b.count {
            var cost = min(rows[i][j + 1] + 1, rows[i + 1][j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, rows[i - 1][j - 1] + 1) }
            rows[i + 1][j + 1] = cost
        }
    }
    return rows[a.count][b.count]
}
