package import TTICore

extension CPUBackend {
    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor { notYet() }
    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) { notYet() }
    package func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor { notYet() }
}
