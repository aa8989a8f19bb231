package import TTICore

extension CPUBackend {
    package func norm(_ x: Tensor, _ parameters: NormParameters) -> Tensor { notYet() }
    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor { notYet() }
    package func globalResponseNorm(_ x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor { notYet() }
}
