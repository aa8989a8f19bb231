internal import CTTIKernels
package import TTICore

extension CPUBackend {
    /// As a matrix `[outputs, kernel height · kernel width · inputs]`: what a pixel sees, in the order of an image's memory.
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        precondition(convolution.shape.rank == 4, "a kernel \(convolution.shape)")
        let (outputs, inputs) = (convolution.shape[0], convolution.shape[1])
        let (height, width) = (convolution.shape[2], convolution.shape[3])
        let (taps, count) = (height * width, inputs * height * width)
        var turned = [Float](repeating: 0, count: outputs * count)
        if let bytes = unsafe convolution.bytes?.baseAddress {
            unsafe turned.withUnsafeMutableBufferPointer { turned in
                unsafe pool.forEach(outputs, scratch: count) { output, scratch in
                    unsafe CPUBackend.widen(
                        bytes + output * count * convolution.dtype.byteCount, convolution.dtype, to: scratch,
                        count: count)
                    for tap in 0..<taps {
                        for input in 0..<inputs {
                            unsafe turned[output * count + tap * inputs + input] = scratch[input * taps + tap]
                        }
                    }
                }
            }
        }
        let matrix = try prepare(matrix: HostTensor(turned, [outputs, count]))
        return PreparedConvolution(
            outputs: outputs, inputs: inputs, kernelHeight: height, kernelWidth: width, byteCount: matrix.byteCount,
            form: matrix.form)
    }

    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        precondition(
            x.shape.rank == 4 && x.shape[3] == weight.inputs,
            "\(x.shape) convolved with [\(weight.outputs), \(weight.inputs), \(weight.kernelHeight), \(weight.kernelWidth)]"
        )
        precondition(geometry.upsampling == 1 || geometry.upsampling == 2, "upsampling \(geometry.upsampling)")
        let (batch, height, width) = (x.shape[0], x.shape[1], x.shape[2])
        let size = geometry.outputSize(
            height: height, width: width, kernelHeight: weight.kernelHeight, kernelWidth: weight.kernelWidth)
        precondition(
            size.height > 0 && size.width > 0, "\(x.shape) under \(weight.kernelHeight)×\(weight.kernelWidth)")
        let y = allocate([batch, size.height, size.width, weight.outputs], .float32)
        guard y.elementCount > 0 else { return y }
        let depth = weight.kernelHeight * weight.kernelWidth * weight.inputs
        let panels = (weight.outputs + 31) / 32
        let product = unsafe product(x, weight.form, inputs: depth, y, bias: bias, activation, adding: residual)
        if weight.kernelHeight * weight.kernelWidth == 1 && geometry == ConvolutionGeometry() {
            unsafe multiply(product, panels: panels)
            return y
        }
        let call = unsafe ctti_convolution(
            image: x.floats, height: height, width: width, channels: weight.inputs, kernel_height: weight.kernelHeight,
            kernel_width: weight.kernelWidth, output_height: size.height, output_width: size.width,
            stride: geometry.stride, top: geometry.top, left: geometry.left, bottom: geometry.bottom,
            right: geometry.right, upsampling: geometry.upsampling, product: product)
        unsafe convolve(call, batch: batch, panels: panels)
        return y
    }

    /// Blocks of output rows: at least four for each thread, and the copy of what they see stays in the second-level cache.
    /// When there are too few rows, blocks of outputs too.
    private func convolve(_ call: ctti_convolution, batch: Int, panels: Int) {
        let height = unsafe call.output_height
        let wanted = 4 * pool.threadCount
        var block = max(1, min(height, batch * height / wanted))
        unsafe withUnsafePointer(to: call) {
            while unsafe block > 1 && ctti_convolution_scratch($0, block) > 128 << 10 { block -= 1 }
        }
        let blocks = (height + block - 1) / block
        let panelBlocks = min(panels, max(1, wanted / (batch * blocks)))
        let scratch = unsafe withUnsafePointer(to: call) { unsafe ctti_convolution_scratch($0, block) }
        let (inputSize, outputSize) = unsafe (
            call.height * call.width * call.channels, height * call.output_width * call.product.outputs
        )
        let isa = isa
        unsafe pool.forEach(batch * blocks * panelBlocks, scratch: max(16, scratch)) { index, scratch in
            let (part, panel) = (index / panelBlocks, index % panelBlocks)
            let (entry, row) = (part / blocks, part % blocks * block)
            var call = unsafe call
            unsafe call.image += entry * inputSize
            unsafe call.product.y += entry * outputSize
            if let residual = unsafe call.product.residual {
                unsafe call.product.residual = residual + entry * outputSize
            }
            unsafe withUnsafePointer(to: call) {
                unsafe ctti_convolve(
                    isa, $0, row, min(height, row + block), panels * panel / panelBlocks,
                    panels * (panel + 1) / panelBlocks, scratch)
            }
        }
    }

    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor {
        precondition(
            x.shape.rank == 4 && weight.shape.rank == 3 && weight.shape[2] == x.shape[3] && weight.shape[0] % 2 == 1
                && weight.shape[1] % 2 == 1, "\(x.shape) convolved depthwise with \(weight.shape)")
        let y = allocate(x.shape, .float32)
        guard y.elementCount > 0 else { return y }
        let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
        let (source, target, taps) = unsafe (x.floats, y.floats, weight.floats)
        let (kernelHeight, kernelWidth) = (weight.shape[0], weight.shape[1])
        let isa = isa
        pool.forEach(x.shape[0] * height) { index in
            let (entry, row) = (index / height, index % height)
            let call = unsafe ctti_depthwise(
                image: source + entry * height * width * channels, weight: taps,
                y: target + entry * height * width * channels, height: height, width: width, channels: channels,
                kernel_height: kernelHeight, kernel_width: kernelWidth)
            unsafe withUnsafePointer(to: call) { unsafe ctti_convolve_depthwise(isa, $0, row, row + 1) }
        }
        return y
    }
}
