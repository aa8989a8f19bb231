package import TTICore

extension CPUBackend {
    package func prepare(matrix: HostTensor) throws(DeviceError) -> PreparedMatrix { notYet() }
    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor { notYet() }
    package func embed(_ ids: Tensor, _ table: Tensor) -> Tensor { notYet() }
}

func notYet() -> Never { fatalError("not written yet") }
