internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor { preconditionFailure("not there yet") }
    package func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        preconditionFailure("not there yet")
    }
    package func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor {
        preconditionFailure("not there yet")
    }
    package func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid) {
        preconditionFailure("not there yet")
    }
    package func combine(_ output: Tensor, in state: DiffusionState) { preconditionFailure("not there yet") }
    package func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor { preconditionFailure("not there yet") }
}
