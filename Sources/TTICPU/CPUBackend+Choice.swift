package import TTICore

extension CPUBackend {
    package func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor { notYet() }
    package func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor { notYet() }
    package func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor { notYet() }
    package func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid) { notYet() }
    package func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor { notYet() }
}
