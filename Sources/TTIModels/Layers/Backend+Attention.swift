import TTICore

extension Backend {
    /// Attention of a sequence to itself, scaled by 1/√(head width).
    /// - Parameter qkv: `[batch, tokens, 3 · width]`: queries, keys, values side by side.
    /// - Returns: `[batch, tokens, width]`
    func selfAttention(_ qkv: Tensor, heads: Int, mask: AttentionMask = .none) -> Tensor {
        let q = qkv.columns(0, of: 3)
        return attention(
            q, qkv.columns(1, of: 3), qkv.columns(2, of: 3), heads: heads, scale: attentionScale(q.count / heads),
            mask: mask)
    }

    /// Attention to another sequence, scaled by 1/√(head width).
    /// - Parameters:
    ///   - q: `[batch, tokens, width]`
    ///   - keysValues: `[key batch, keys, 2 · width]`: keys and values side by side; the key batch divides the batch.
    /// - Returns: `[batch, tokens, width]`
    func crossAttention(_ q: Tensor, _ keysValues: Tensor, heads: Int, mask: AttentionMask = .none) -> Tensor {
        attention(
            q.columns, keysValues.columns(0, of: 2), keysValues.columns(1, of: 2), heads: heads,
            scale: attentionScale(q.shape.last / heads), mask: mask)
    }
}

/// 1/√(head width)
func attentionScale(_ headWidth: Int) -> Float { 1 / Float(headWidth).squareRoot() }
