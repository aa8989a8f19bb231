internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func prepare(matrix: HostTensor) throws(DeviceError) -> PreparedMatrix {
        preconditionFailure("not there yet")
    }
    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor { preconditionFailure("not there yet") }
}
