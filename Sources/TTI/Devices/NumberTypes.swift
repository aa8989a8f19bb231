internal import TTIAccounting
package import TTICore

/// In what a backend holds its numbers.
package struct NumberTypes: Sendable, Hashable {
    package let weights: DType
    /// Keys and values.
    package let cache: DType
    package let activations: DType
    /// Of convolutions between many channels.
    package let kernels: DType

    init(weights: DType, cache: DType, activations: DType, kernels: DType) {
        (self.weights, self.cache, self.activations, self.kernels) = (weights, cache, activations, kernels)
    }

    package init(_ backend: any Backend) {
        self.init(
            weights: backend.weightType, cache: backend.cacheType, activations: backend.activationType,
            kernels: backend.kernelType)
    }
}

extension AccountingBackend {
    /// One that counts what a backend with these types would take.
    convenience init(_ types: NumberTypes, attention: AttentionForm = .flash) {
        self.init(
            weightType: types.weights, cacheType: types.cache, activationType: types.activations,
            kernelType: types.kernels)
        attentionForm = attention
    }
}
