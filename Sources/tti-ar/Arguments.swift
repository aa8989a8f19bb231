internal import Glibc
internal import TTI
internal import TTIFormats

/// What a command line says: the value of each option by its name, and what stands without an option.
struct Arguments {
    var values = OptionValues()
    var operands: [String] = []

    /// Reads a command line by the usual rules: `--name value`, `--name=value`, `-n value`, `-nvalue`; `--` ends the
    /// options; `-` alone is a value; of an option given twice the last one counts.
    ///
    /// - Throws: `TTIError` of code usage: an unknown option, a missing value, too many arguments.
    init(_ arguments: [String], for syntax: CommandSyntax) throws(TTIError) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                operands += rest
                break
            }
            if argument == "-" || !argument.utf8.starts(with: "-".utf8) {
                operands.append(argument)
                continue
            }
            let (option, spelling, attached) = try Self.option(argument, syntax)
            guard option.value != nil else {
                if attached != nil { throw usage("option", "\(spelling) takes no value") }
                values[option.name] = "true"
                continue
            }
            if let attached {
                values[option.name] = attached
            } else if let next = rest.popFirst() {
                if let known = Self.known(next, syntax) {
                    throw usage(
                        "missing-value",
                        "\(spelling) has no value: \(known) is an option; write \(spelling)=\(known) if it is meant")
                }
                values[option.name] = next
            } else {
                throw usage("missing-value", "\(spelling) needs a value: \(option.value ?? "")")
            }
        }
        guard values["help"] == nil else { return }
        if operands.count > syntax.operandCount.upperBound {
            let extra = quoted(operands[syntax.operandCount.upperBound], limit: 60)
            throw usage(
                "argument",
                "what is \(extra) for? 'tti-ar \(syntax.name)' takes \(syntax.operandsText); put quotes around "
                    + "text with spaces")
        }
    }

    private static func option(
        _ argument: String, _ syntax: CommandSyntax
    ) throws(TTIError) -> (Option, spelling: String, attached: String?) {
        if argument.hasPrefix("--") {
            let body = argument.dropFirst(2)
            // By scalars: what follows the sign may begin with a mark that combines with it.
            let sign = body.unicodeScalars.firstIndex(of: "=")
            let name = body[..<(sign ?? body.endIndex)]
            let attached = sign.map { String(body.unicodeScalars[$0...].dropFirst()) }
            if let option = syntax.option(named: name) { return (option, "--" + name, attached) }
            var message = "'tti-ar \(syntax.name)' has no option \(quoted("--" + name, limit: 60))"
            let names = syntax.options.flatMap { [$0.name] + $0.aliases }
            if let nearest = nearestName(to: String(name), among: names) {
                message += "; did you mean --\(nearest)?"
            } else {
                message += "; 'tti-ar \(syntax.name) --help' lists them"
            }
            throw usage("option", message)
        }
        let body = argument.dropFirst()
        // `-seed` is meant as `--seed`, not as `-s eed`.
        let isLongName = body.count > 2 && syntax.option(named: body) != nil
        if !isLongName, let letter = body.first, let option = syntax.option(short: letter) {
            var attached: String?
            if body.count > 1 {
                let value = body.dropFirst()
                attached = String(value.first == "=" ? value.dropFirst() : value)
            }
            return (option, "-\(letter)", attached)
        }
        var message = "'tti-ar \(syntax.name)' has no option \(quoted(argument, limit: 60))"
        let nearest =
            syntax.option(named: body)
            ?? nearestName(to: String(body), among: syntax.options.map(\.name))
            .flatMap { syntax.option(named: $0) }
        if let nearest { message += "; did you mean --\(nearest.name)?" }
        message += "; a text that begins with a dash goes after '--'"
        throw usage("option", message)
    }

    /// The argument when it is an option of this command, not a value that happens to begin with a dash.
    private static func known(_ argument: String, _ syntax: CommandSyntax) -> String? {
        if argument.hasPrefix("--") {
            return syntax.option(named: argument.dropFirst(2).prefix { $0 != "=" }).map { "--" + $0.name }
        }
        guard argument.count == 2, argument.hasPrefix("-"), let letter = argument.last else { return nil }
        return syntax.option(short: letter).map { _ in argument }
    }
}

extension CommandSyntax {
    /// How many arguments without an option there may be, in words.
    fileprivate var operandsText: String {
        switch operandCount.upperBound {
        case 0: "no argument without an option"
        case 1: "one, \(operands)"
        default: "at most \(operandCount.upperBound)"
        }
    }
}

/// An error in how the command was called.
func usage(_ name: String, _ message: String) -> TTIError { TTIError(.usage, "usage." + name, message) }

/// The arguments of this process, without its name.
///
/// - Throws: `TTIError` of code invalidInput when one is not UTF-8, rather than to change what was asked for.
func processArguments() throws(TTIError) -> [String] {
    var arguments: [String] = []
    for index in 1..<max(1, Int(CommandLine.argc)) {
        guard let pointer = unsafe CommandLine.unsafeArgv[index] else { break }
        let bytes = unsafe UnsafeRawBufferPointer(start: pointer, count: strlen(pointer))
        guard let text = unsafe String(validating: bytes, as: UTF8.self) else {
            let shown = unsafe String(decoding: bytes, as: UTF8.self)
            throw TTIError(
                .invalidInput, "input.encoding",
                "argument \(index) is not UTF-8: \(quoted(shown, limit: 60)); a prompt or a path has to be")
        }
        arguments.append(text)
    }
    return arguments
}
