internal import TTI
internal import TTIFormats

// Errors that say where an item, or a setting that does not fit, is from.
extension GenerateItem {
    /// An error of this item, which says where the item stands when there are several.
    func located(_ error: TTIError) -> TTIError {
        guard let place else { return error }
        // A setting that this checkpoint cannot do is, in a file, bad input.
        let code = error.code == .usage ? .invalidInput : error.code
        return TTIError(code, error.name, "\(error.message): \(place)")
    }

    private static let remedy = "give prompt and options without --from"

    /// The checkpoint makes images in another way than the mode says.
    func wrongMode(_ mode: GenerationMode, _ outline: CheckpointOutline) -> TTIError {
        func stored(_ option: String) -> String { origin.map { $0.has(option) ? ", stored in \($0.file)," : "" } ?? "" }
        let (ofCheckpoint, ofMode) = (stored("checkpoint"), stored("mode"))
        let remedy =
            switch (ofCheckpoint.isEmpty, ofMode.isEmpty) {
            case (true, true): "leave --mode out, or choose another checkpoint"
            case (false, true): "leave --mode out, or \(Self.remedy)"
            case (true, false): "leave -m out, or \(Self.remedy)"
            case (false, false): "name the checkpoint that made the picture with -m"
            }
        return TTIError(
            .usage, "usage.mode",
            "the checkpoint \(quoted(outline.name))\(ofCheckpoint) makes images by --mode \(outline.mode.rawValue), not by "
                + "--mode \(mode.rawValue)\(ofMode.dropLast()); \(remedy)")
    }

    /// The error of a check, with the file that the tokens, or a setting of another mode, are from.
    func withSource(_ error: TTIError) -> TTIError {
        if error.name == "input.tokens", let path = settings.initialTokensPath {
            return TTIError(error.code, error.name, "\(error.message): \(quoted(path))")
        }
        // Such a message begins with the option's name.
        let option = error.message.prefix { $0 != " " }
        guard error.name == "usage.mode", let origin, origin.has(String(option)) else { return error }
        let rest = error.message.dropFirst(option.count)
        return TTIError(
            error.code, error.name,
            "\(option), stored in \(origin.file) by --mode \(origin.mode),\(rest); leave -m and --mode out, or \(Self.remedy)"
        )
    }
}
