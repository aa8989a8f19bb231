internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor { preconditionFailure("not there yet") }
    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) {
        preconditionFailure("not there yet")
    }
    package func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor { preconditionFailure("not there yet") }
}
