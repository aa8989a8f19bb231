internal import TTI
internal import TTIFormats

/// `tti-ar generate`: prompts to pictures.
enum GenerateCommand: Command {
    static func run(_ arguments: Arguments) throws {
        let options = try withOperand(arguments)
        let stored = try options.path("from").map { path throws(TTIError) in
            try StoredSettings.read(path, given: options)
        }
        // Each is checked by itself first, so that an error is said where it stands.
        _ = try GenerateSettings(options)
        if let stored, options["image"] == nil { _ = try GenerateSettings(stored) }
        let merged = stored.map { options.over($0) } ?? options
        _ = try merged.device()
        let precision = try merged.precision()
        let attention = try merged.attention()
        let items = try items(options, stored, merged)
        let device = try merged.chosenDevice()
        if options.isOn("dry-run") {
            for item in items {
                try DryRun(item, device: device, precision: precision, attention: attention).print(
                    asJSON: options.isOn("json"))
            }
            return
        }
        var run = GenerateRun(
            items: items, device: device, precision: precision, attention: attention, isJSON: options.isOn("json"),
            progress: Progress(isQuiet: options.isOn("quiet")))
        try run.start()
    }

    /// The operand is the prompt.
    private static func withOperand(_ arguments: Arguments) throws(TTIError) -> OptionValues {
        var values = arguments.values
        guard let operand = arguments.operands.first else { return values }
        if values["prompt"] != nil {
            throw usage("argument", "there are two prompts: \(quoted(operand, limit: 40)) and that of --prompt")
        }
        values["prompt"] = operand
        return values
    }

    /// - Parameters:
    ///   - given: the command line.
    ///   - stored: what `--from` says.
    ///   - options: the command line over that.
    private static func items(
        _ given: OptionValues, _ stored: OptionValues?, _ options: OptionValues
    ) throws -> [GenerateItem] {
        if let path = try options.path("prompts") {
            if given["prompt"] != nil { throw usage("argument", "there are a prompt and --prompts; give one of them") }
            return try manyItems(path, stored, options)
        }
        guard var prompt = options["prompt"] else {
            throw usage("prompt", "no prompt was given: tti-ar generate \"a large red cube\"; or --prompts FILE")
        }
        if prompt == "-" { prompt = try promptFromStandardInput() }
        let settings = try GenerateSettings(options)
        let item = try GenerateItem(
            id: "1", place: nil, settings: settings, origin: stored.map { StoredOrigin($0, in: options) },
            prompt: prompt,
            isOneOfMany: false)
        if item.output.isStandardOutput {
            if settings.request.count > 1 {
                throw usage(
                    "output",
                    "standard output takes one image, --count asks for \(settings.request.count); give -o a folder")
            }
            if options.isOn("json") {
                throw usage("output", "--json and the image of '-o -' cannot both be on standard output")
            }
        }
        try checkNames([item])
        return [item]
    }

    private static func manyItems(
        _ path: String, _ stored: OptionValues?, _ options: OptionValues
    ) throws -> [GenerateItem] {
        let lines = try PromptsFile.lines(path: path, syntax: syntax)
        var items: [GenerateItem] = []
        for line in lines {
            let values = line.values.over(options)
            let settings = try GenerateSettings(values)
            let item = try GenerateItem(
                id: line.id, place: line.values.place, settings: settings,
                origin: stored.map { StoredOrigin($0, in: values) }, prompt: values["prompt"] ?? "",
                isOneOfMany: lines.count > 1)
            if item.output.isStandardOutput {
                throw usage("output", "the images of a prompts file cannot go to standard output; give -o a folder")
            }
            items.append(item)
        }
        try checkNames(items)
        return items
    }

    /// Throws when two images would be written to one file.
    private static func checkNames(_ items: [GenerateItem]) throws(TTIError) {
        var firstFromPath: [String: Int] = [:]
        var imageCount = 0
        var modes: [GenerateItem.CheckpointKey: GenerationMode] = [:]
        for item in items {
            imageCount += item.settings.request.count
            let suffix = item.output.existing == .suffix
            let mode = try mode(of: item, &modes)
            let paths = suffix ? [] : item.paths(mode: mode)
            let saved = [item.savedTokensPath(mode: mode), item.savedLatentsPath(mode: mode)].compactMap { $0 }
            for path in paths + saved {
                if firstFromPath.updateValue(imageCount, forKey: withoutIdleParts(path)) != nil {
                    throw usage(
                        "output",
                        "several images would be written to \(quoted(path)); put {id}, {seed} or {index} into its name, "
                            + "or give a folder")
                }
            }
        }
    }

    /// How an item's images will be made, which the checkpoint says when nobody else does; asked only where names have it.
    private static func mode(
        of item: GenerateItem, _ known: inout [GenerateItem.CheckpointKey: GenerationMode]
    ) throws(TTIError) -> GenerationMode {
        if let mode = item.settings.mode ?? known[item.checkpoint] { return mode }
        guard item.settings.checkpoint != nil, item.namesHaveMode else { return .parallel }
        let (source, variant) = (item.checkpoint.source, item.checkpoint.variant)
        do throws(TTIError) {
            let mode = try source.mode(variant: variant)
            known[item.checkpoint] = mode
            return mode
        } catch { throw item.located(error) }
    }

    /// A path without what leads nowhere: `./a//b` is `a/b`.
    private static func withoutIdleParts(_ path: String) -> String {
        let parts = path.split(separator: "/").filter { $0 != "." }
        return (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
    }

    private static func promptFromStandardInput() throws(TTIError) -> String {
        var bytes = try inputBytes("-", name: "standard input", limit: PromptsFile.promptByteLimit)
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw TTIError(.invalidInput, "input.encoding", "the prompt on standard input is not UTF-8")
        }
        return text
    }
}
