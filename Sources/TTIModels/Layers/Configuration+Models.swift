import TTICore
package import TTIFormats

/// How large anything in a configuration can be: far above any model there is, and far below where sizes overflow. What is
/// within them still allocates nothing until a tensor of that shape has been found.
enum ModelLimits {
    static let layers = 0...1024
    static let widths = 1...65536
    static let mlpWidths = 1...1_048_576
    static let vocabularies = 1...2_097_152
    static let lengths = 1...1_048_576
    static let gridSides = 1...4096
    static let tokens = -1...Int(Int32.max)
}

extension Configuration {
    /// The small number inside a norm.
    func epsilon(_ field: String, default fallback: Double) throws(FormatError) -> Float {
        Float(try number(field, default: fallback, in: 0...1))
    }

    /// An activation by its name in transformers or diffusers.
    func activation(_ field: String, default fallback: String) throws(FormatError) -> Activation {
        let name = try string(field, default: fallback)
        guard let activation = Activation(name: name) else {
            throw error("'\(field)' is \(quoted(name)), not one of \(Activation.names)")
        }
        return activation
    }

    /// Checks that `count` heads divide a width.
    func check(heads count: Int, _ field: String, divide width: Int, _ widthField: String) throws(FormatError) {
        guard width % count == 0 else {
            throw error("'\(field)' is \(count) and does not divide '\(widthField)', which is \(width)")
        }
    }

    /// Checks that a field which changes the graph has the only value that is built.
    package func require(_ field: String, _ value: String) throws(FormatError) {
        let found = try string(field, default: value)
        guard found == value else { throw error("'\(field)' is \(quoted(found)); only '\(value)' is supported") }
    }

    /// The same of a field that is true or false.
    func require(_ field: String, _ value: Bool) throws(FormatError) {
        guard try bool(field, default: value) == value else {
            throw error("'\(field)' is \(!value); only \(value) is supported")
        }
    }
}
