import TTICore

extension Activation {
    /// What transformers' ACT2FN and diffusers' get_activation call them.
    private static let fromName: [(name: String, activation: Activation)] = [
        ("gelu", .gelu), ("gelu_new", .geluTanh), ("gelu_pytorch_tanh", .geluTanh), ("gelu_fast", .geluTanh),
        ("quick_gelu", .quickGelu), ("relu", .relu), ("silu", .silu), ("swish", .silu),
    ]

    /// Nil when the name is not known.
    init?(name: String) {
        guard let entry = Activation.fromName.first(where: { $0.name == name }) else { return nil }
        self = entry.activation
    }

    /// All known names, for errors.
    static var names: String { fromName.map(\.name).joined(separator: ", ") }
}
