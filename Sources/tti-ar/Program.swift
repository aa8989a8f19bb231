internal import CTTIVersion
internal import TTI
internal import TTIFormats

/// The version of the program, and the commit that it was built from.
let version = "0.1.0"
let commit: String = unsafe String(cString: ctti_commit())

/// The commands in the order in which the help lists them.
let commands: [any Command.Type] = [
    GenerateCommand.self, RunCommand.self, TokenizeCommand.self, InspectCommand.self, DevicesCommand.self,
    MetadataCommand.self, BenchCommand.self, CompareCommand.self, AnalyzeCommand.self,
]

/// Commands that the contract names and that are not written yet.
let laterCommands = ["batch", "worker"]

func start(_ arguments: [String]) throws {
    guard let first = arguments.first else {
        throw usage("command", "no command was given; 'tti-ar --help' lists them")
    }
    switch first {
    case "--version": try Output.line("tti-ar \(version) (\(commit))")
    case "--help", "-h": try Output.write(Array(overview().utf8))
    case "help":
        if arguments.count > 1 {
            try Output.write(Array(try command(arguments[1]).syntax.help.utf8))
        } else {
            try Output.write(Array(overview().utf8))
        }
    default:
        let command = try command(first)
        let parsed = try Arguments(Array(arguments.dropFirst()), for: command.syntax)
        if parsed.values.isOn("help") {
            try Output.write(Array(command.syntax.help.utf8))
        } else {
            try command.run(parsed)
        }
    }
}

func command(_ name: String) throws(TTIError) -> any Command.Type {
    if let command = commands.first(where: { $0.syntax.name == name }) { return command }
    if laterCommands.contains(name) {
        throw usage("command", "'tti-ar \(name)' is not written yet; 'tti-ar --help' lists what is")
    }
    var message = "there is no command \(quoted(name, limit: 60))"
    let names = commands.map { $0.syntax.name }
    if let nearest = nearestName(to: name, among: names) {
        message += "; did you mean 'tti-ar \(nearest)'?"
    } else if name.hasPrefix("-") {
        message += "; options come after the command: tti-ar generate \(harmless(name, limit: 40)) …"
    } else {
        message += "; to make an image: tti-ar generate \"a prompt\"; 'tti-ar --help' lists the commands"
    }
    throw usage("command", message)
}

func overview() -> String {
    var text = "usage: tti-ar COMMAND [options]\n\nMakes images from text with transformers over image tokens.\n\n"
    text += table(commands.map { ($0.syntax.name, $0.syntax.summary) })
    text +=
        "\n"
        + table([
            ("tti-ar COMMAND --help", "the options of a command"),
            ("tti-ar --version", "version and commit"),
        ])
    text += "\nFirst image: tti-ar generate \"a large red cube to the left of a small blue sphere\"\n"
    return text
}
