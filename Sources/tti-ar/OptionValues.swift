internal import TTI
internal import TTIFormats

/// Options by name, with their values as they were written, wherever that was: on the command line, in a line of a
/// prompts file, in a picture's metadata.
struct OptionValues {
    private var values: [String: String] = [:]
    /// Where each value stands that is not from the command line.
    private var placeFromName: [String: String] = [:]
    /// Where values that are set from now on stand, when that is not the command line: `'prompts.txt', line 3`.
    var place: String?

    subscript(name: String) -> String? {
        get { values[name] }
        set {
            values[name] = newValue
            placeFromName[name] = newValue == nil ? nil : place
        }
    }

    /// Where a value stands; nil: on the command line, or nowhere.
    func place(of name: String) -> String? { placeFromName[name] }

    var names: [String] { values.keys.sorted() }

    /// These values where there are any, else those.
    func over(_ others: OptionValues) -> OptionValues {
        var merged = self
        for (name, value) in others.values where values[name] == nil {
            merged.values[name] = value
            merged.placeFromName[name] = others.placeFromName[name]
        }
        return merged
    }

    /// Whether a switch is on.
    func isOn(_ name: String) -> Bool { values[name] == "true" }

    /// An integer, written with digits only.
    func integer(_ name: String, in range: ClosedRange<Int>) throws(TTIError) -> Int? {
        guard let text = values[name] else { return nil }
        guard isDecimal(text, allowsPoint: false) else { throw fault(name, text, "is no whole number") }
        guard let value = Int(text), range.contains(value) else {
            throw fault(name, text, "is out of range: \(words(range.lowerBound, range.upperBound))")
        }
        return value
    }

    /// A finite number.
    func number(_ name: String, in range: ClosedRange<Double>) throws(TTIError) -> Float? {
        guard let text = values[name] else { return nil }
        guard isDecimal(text, allowsPoint: true), let value = Double(text) else {
            throw fault(name, text, "is no number")
        }
        guard range.contains(value) else {
            throw fault(name, text, "is out of range: \(shortest(range.lowerBound)) to \(shortest(range.upperBound))")
        }
        return Float(value)
    }

    /// A 64-bit seed; nil when there is none or it is -1, which asks for a random one.
    func seed(_ name: String) throws(TTIError) -> UInt64? {
        guard let text = values[name], text != "-1" else { return nil }
        guard isDecimal(text, allowsPoint: false) else { throw fault(name, text, "is no whole number") }
        guard let value = UInt64(text) else {
            throw fault(name, text, "is out of range: 0 to \(UInt64.max), or -1 for a random one")
        }
        return value
    }

    /// One of a few words.
    func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String, _: Choice.Type, synonyms: [String: Choice] = [:]
    ) throws(TTIError) -> Choice? where Choice.RawValue == String {
        guard let text = values[name] else { return nil }
        if let choice = Choice(rawValue: text) ?? synonyms[text] { return choice }
        let words = Choice.allCases.map(\.rawValue)
        throw fault(name, text, "is none of \(words.joined(separator: ", "))" + suggestion(text, words))
    }

    /// A path or another text that may not be empty.
    func path(_ name: String) throws(TTIError) -> String? {
        guard let text = values[name] else { return nil }
        if text.isEmpty { throw fault(name, text, "is no path") }
        if text.utf8.contains(0) { throw fault(name, text, "has a NUL character in it") }
        return text
    }

    /// What is wrong with a value, said where it stands.
    func fault(_ name: String, _ value: String, _ what: String) -> TTIError {
        guard let place = placeFromName[name] else {
            return usage("value", "--\(name) \(quoted(value, limit: 60)) \(what)")
        }
        return TTIError(.invalidInput, "input.settings", "\(name) \(quoted(value, limit: 60)) \(what): \(place)")
    }

    /// What is wrong with the options together, said where they stand.
    func conflict(_ what: String) -> TTIError {
        guard let place else { return usage("option", what) }
        return TTIError(.invalidInput, "input.settings", "\(what): \(place)")
    }
}

private func suggestion(_ text: String, _ words: [String]) -> String {
    nearestName(to: text, among: words).map { "; did you mean \($0)?" } ?? ""
}

private func words(_ lower: Int, _ upper: Int) -> String {
    upper == .max ? "\(lower) or more" : "\(lower) to \(upper)"
}

/// A number without a needless ".0".
func shortest(_ value: Double) -> String {
    let text = value.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}

/// Whether text is a decimal number and nothing more: Swift's own reading also takes "nan" and "0x1p3".
private func isDecimal(_ text: String, allowsPoint: Bool) -> Bool {
    var body = text.utf8[...]
    if body.first == UInt8(ascii: "-") || body.first == UInt8(ascii: "+") { body = body.dropFirst() }
    let isDigit = { (byte: UInt8) in (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    guard allowsPoint else { return !body.isEmpty && body.allSatisfy(isDigit) }
    return body.contains(where: isDigit) && body.allSatisfy { isDigit($0) || "eE.+-".utf8.contains($0) }
}
