internal import CTTIAlternatives
internal import TTICPU
internal import TTICore

extension Alternatives {
    /// Tokens, heads, head width: self-attention of Stable Diffusion's UNet at 512² from outside in, of its VAE.
    private static let attentions = [(4096, 8, 40), (1024, 8, 80), (256, 8, 160), (64, 8, 160), (4096, 1, 512)]

    var attentionCases: [(String, () throws -> Comparison)] {
        Self.attentions.map { tokens, heads, width in
            let name = "softmax: attention \(tokens) over \(tokens), \(heads) heads of \(width)"
            return (name, { attention(name, tokens, heads, width) })
        }
    }

    private func attention(_ name: String, _ tokens: Int, _ heads: Int, _ width: Int) -> Comparison {
        let all = heads * width
        let parts = (0..<3).map { part in numbers(tokens * all, part).map { $0 * 4 } }
        let operands = parts.map { backend.upload(HostTensor($0, [1, tokens, all])) }
        let scale = 1 / Float(width).squareRoot()
        func ours(_ form: AttentionForm) -> Way {
            Way(name: form == .flash ? "flash" : "eager, three operations") {
                backend.attentionForm = form
                return backend.attention(
                    operands[0].columns, operands[1].columns, operands[2].columns, heads: heads, scale: scale,
                    mask: .none)
            }
        }
        var expected: [(index: Int, value: Double)] = []
        for query in stride(from: 1, to: tokens, by: tokens / 8) {
            let weights = (0..<tokens).map { key in
                (0..<width).reduce(0.0) { $0 + Double(parts[0][query * all + $1]) * Double(parts[1][key * all + $1]) }
                    * Double(scale)
            }
            let largest = weights.max() ?? 0
            let powers = weights.map { exponential($0 - largest) }
            let sum = powers.reduce(0, +)
            for column in 0..<width {
                let value = (0..<tokens).reduce(0.0) { $0 + powers[$1] * Double(parts[2][$1 * all + column]) } / sum
                expected.append((query * all + column, value))
            }
        }
        return Comparison(
            name: name, ways: [ours(.flash), ours(.eager), partial(operands, heads, width, scale)], expected: expected)
    }

    /// Three kernels over all heads: scores; maxima and sums; values, with exponentials as scores are read.
    private func partial(_ operands: [Tensor], _ heads: Int, _ width: Int, _ scale: Float) -> Way {
        Way(name: "partially fused") {
            let (tokens, all) = (operands[0].shape[1], heads * width)
            let panel = (width + 31) / 32 * 32
            let y = backend.allocate([1, tokens, all], .float32)
            let panels = backend.allocate([heads, 2, tokens, panel], .float32)
            let scores = backend.allocate([heads, tokens, tokens], .float32)
            let sums = backend.allocate([heads, tokens, 2], .float32)
            func call(_ head: Int) -> ctti_partial_attention {
                unsafe ctti_partial_attention(
                    q: operands[0].elements + head * width, k: operands[1].elements + head * width,
                    v: operands[2].elements + head * width, stride: all, queries: tokens, keys: tokens, width: width,
                    scale: scale, key_panels: panels.elements + 2 * head * tokens * panel,
                    value_panels: panels.elements + (2 * head + 1) * tokens * panel,
                    scores: scores.elements + head * tokens * tokens, sums: sums.elements + 2 * head * tokens,
                    out: y.elements + head * width)
            }
            backend.pool.forEach(heads) { head in
                unsafe withUnsafePointer(to: call(head)) { unsafe ctti_partial_pack($0) }
            }
            // 48 queries, as flash attention's tasks.
            let blocks = (tokens + 47) / 48
            for kernel in 0..<3 {
                backend.pool.forEach(heads * blocks) { index in
                    let (first, end) = (index % blocks * 48, min(tokens, (index % blocks + 1) * 48))
                    unsafe withUnsafePointer(to: call(index / blocks)) { call in
                        switch kernel {
                        case 0: unsafe ctti_partial_scores(call, first, end)
                        case 1: unsafe ctti_partial_sums(call, first, end)
                        default: unsafe ctti_partial_values(call, first, end)
                        }
                    }
                }
            }
            return y
        }
    }
}
