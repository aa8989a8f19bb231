package import TTICore

extension CPUBackend {
    package func add(_ x: Tensor, _ y: Tensor) -> Tensor { notYet() }
    package func activate(_ x: Tensor, _ activation: Activation) -> Tensor { notYet() }
    package func gate(_ x: Tensor, _ activation: Activation, _ order: GateOrder) -> Tensor { notYet() }
    package func modulate(_ x: Tensor, _ modulation: Tensor) -> Tensor { notYet() }
    package func concatenate(_ parts: [Tensor], axis: Int) -> Tensor { notYet() }
    package func gather(_ x: Tensor, _ indices: Tensor) -> Tensor { notYet() }
    package func depthToSpace(_ x: Tensor) -> Tensor { notYet() }
    package func increment(in counter: Tensor) { notYet() }
}
