package import TTICore

extension CPUBackend {
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution { notYet() }
    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor { notYet() }
    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor { notYet() }
}
