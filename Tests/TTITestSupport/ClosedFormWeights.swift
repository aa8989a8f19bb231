package import TTICore

/// Weights that a formula gives, so that a golden number needs no file (research note "golden numbers with closed-form
/// weights"): u(n, i) = ((7919 · i + 104729 · n + 12345) mod 10007) / 10007 - ½, for element i of the n-th tensor by name.
package enum ClosedFormWeights {
    /// u(n, i).
    package static func value(_ tensor: Int, _ element: Int) -> Double {
        Double((7919 * element + 104729 * tensor + 12345) % 10007) / 10007 - 0.5
    }

    /// An input: 2 · u(n, i), in binary64.
    package static func input(_ shape: Shape, _ tensor: Int) -> HostTensor {
        HostTensor((0..<shape.elementCount).map { 2 * value(tensor, $0) }, shape)
    }

    /// Every tensor of a state dictionary, in binary64. Names are sorted by their bytes; `position_ids` are left out, and not
    /// counted. gamma and beta: ½u; other vectors: 1 + 0.2u when they are weights, else 0.2u; everything larger: u.
    package static func tensors(_ shapes: [String: Shape]) -> [String: HostTensor] {
        let names = shapes.keys.filter { !$0.hasSuffix("position_ids") }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        var tensors: [String: HostTensor] = [:]
        for (number, name) in names.enumerated() {
            guard let shape = shapes[name] else { continue }
            let isResponseNorm = name.hasSuffix("gamma") || name.hasSuffix("beta")
            let values = (0..<shape.elementCount).map { element in
                let u = value(number, element)
                if isResponseNorm { return 0.5 * u }
                if shape.rank > 1 { return u }
                return name.hasSuffix(".weight") ? 1 + 0.2 * u : 0.2 * u
            }
            tensors[name] = HostTensor(values, shape)
        }
        return tensors
    }

    /// A tensor as float32, matrices and kernels in the range in which PyTorch begins, ±1/√inputs: with larger ones a tiny network
    /// is chaotic, and a comparison of many layers or steps compares roundings.
    package static func calm(_ tensor: HostTensor) -> HostTensor {
        let inputs = Double(tensor.elementCount / tensor.shape[0])
        let factor = tensor.shape.rank > 1 ? 2 / inputs.squareRoot() : 1
        return HostTensor(tensor.doubles().map { Float($0 * factor) }, tensor.shape)
    }
}
