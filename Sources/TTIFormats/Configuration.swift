/// The fields of a configuration file, each read with its default and its check on the same line.
///
/// Unknown fields are left alone. A field that is absent or null takes the default, because newer files write every field
/// and null for the unset ones. Every error names the file, the field and what is there.
package struct Configuration: Sendable {
    package let json: JSON
    /// The file, in quotes, and the place in it.
    package let place: String

    /// Throws when the JSON is not an object.
    package init(_ json: JSON, file: String) throws(FormatError) {
        self.json = json
        place = quoted(file)
        guard json.object != nil else {
            throw FormatError(
                .invalid, "model.config", "the configuration is \(json.kindName), not an object", at: place)
        }
    }

    private init(_ json: JSON, place: String) {
        self.json = json
        self.place = place
    }

    /// Whether the field is there and not null.
    package func contains(_ field: String) -> Bool { value(field) != nil }

    private func value(_ field: String) -> JSON? {
        guard let value = json[field], !value.isNull else { return nil }
        return value
    }

    /// An error about a field of this file.
    package func error(_ what: String, try remedy: String? = nil) -> FormatError {
        FormatError(.invalid, "model.config", what, at: place, try: remedy)
    }

    private func error(_ field: String, is value: JSON?, not wanted: String) -> FormatError {
        error("'\(field)' is \(value?.kindName ?? "missing"), not \(wanted)")
    }

    /// An integer in a range; throws when it is absent and has no default.
    package func integer(
        _ field: String, default fallback: Int? = nil, in range: ClosedRange<Int>
    ) throws(FormatError) -> Int {
        guard let value = value(field) else {
            guard let fallback else { throw error(field, is: nil, not: "an integer") }
            return fallback
        }
        guard let integer = value.integer else { throw error(field, is: value, not: "an integer") }
        guard range.contains(integer) else {
            throw error("'\(field)' is \(integer), not in \(range.lowerBound)…\(range.upperBound)")
        }
        return integer
    }

    /// An integer in a range, nil when it is absent.
    package func integerIfPresent(_ field: String, in range: ClosedRange<Int>) throws(FormatError) -> Int? {
        value(field) == nil ? nil : try integer(field, in: range)
    }

    /// A finite number; throws when it is absent and has no default.
    package func number(
        _ field: String, default fallback: Double? = nil,
        in range: ClosedRange<Double> = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
    ) throws(FormatError) -> Double {
        guard let value = value(field) else {
            guard let fallback else { throw error(field, is: nil, not: "a number") }
            return fallback
        }
        guard let number = value.number else { throw error(field, is: value, not: "a number") }
        guard range.contains(number) else {
            throw error("'\(field)' is \(number), not in \(range.lowerBound)…\(range.upperBound)")
        }
        return number
    }

    /// True or false; throws when it is absent and has no default.
    package func bool(_ field: String, default fallback: Bool? = nil) throws(FormatError) -> Bool {
        guard let value = value(field) else {
            guard let fallback else { throw error(field, is: nil, not: "true or false") }
            return fallback
        }
        guard let bool = value.bool else { throw error(field, is: value, not: "true or false") }
        return bool
    }

    /// A string; throws when it is absent and has no default.
    package func string(_ field: String, default fallback: String? = nil) throws(FormatError) -> String {
        guard let value = value(field) else {
            guard let fallback else { throw error(field, is: nil, not: "a string") }
            return fallback
        }
        guard let string = value.string else { throw error(field, is: value, not: "a string") }
        return string
    }

    /// One of the strings that a `String` enumeration knows; the error lists them.
    package func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ field: String, default fallback: Choice? = nil
    ) throws(FormatError) -> Choice {
        let known = Choice.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
        guard let value = value(field) else {
            guard let fallback else { throw error(field, is: nil, not: "one of \(known)") }
            return fallback
        }
        guard let string = value.string, let choice = Choice(rawValue: string) else {
            throw error(field, is: value, not: "one of \(known)")
        }
        return choice
    }

    /// A list of integers in a range; throws when it is absent and has no default.
    package func integers(
        _ field: String, default fallback: [Int]? = nil, count: ClosedRange<Int>, in range: ClosedRange<Int>
    ) throws(FormatError) -> [Int] {
        guard let value = value(field) else {
            guard let fallback else { throw error(field, is: nil, not: "a list of integers") }
            return fallback
        }
        guard let elements = value.array else { throw error(field, is: value, not: "a list of integers") }
        guard count.contains(elements.count) else {
            throw error("'\(field)' has \(elements.count) elements, not \(count.lowerBound)…\(count.upperBound)")
        }
        var integers: [Int] = []
        for element in elements {
            guard let integer = element.integer, range.contains(integer) else {
                throw error(
                    "'\(field)' has \(element.kindName), not integers in \(range.lowerBound)…\(range.upperBound)")
            }
            integers.append(integer)
        }
        return integers
    }

    /// A list of strings; throws when it is absent and has no default.
    package func strings(_ field: String, default fallback: [String]? = nil) throws(FormatError) -> [String] {
        guard let value = value(field) else {
            guard let fallback else { throw error(field, is: nil, not: "a list of strings") }
            return fallback
        }
        var strings: [String] = []
        for element in value.array ?? [value] {
            guard value.array != nil, let string = element.string else {
                throw error(field, is: value, not: "a list of strings")
            }
            strings.append(string)
        }
        return strings
    }

    /// The fields of an object inside this one, nil when it is absent.
    package func section(_ field: String) throws(FormatError) -> Configuration? {
        guard let value = value(field) else { return nil }
        guard value.object != nil else { throw error(field, is: value, not: "an object") }
        return Configuration(value, place: "\(place), '\(field)'")
    }
}
