internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        preconditionFailure("not there yet")
    }
    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor { preconditionFailure("not there yet") }
    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor { preconditionFailure("not there yet") }
}
