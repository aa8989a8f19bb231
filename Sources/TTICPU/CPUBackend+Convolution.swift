internal import COpenBLAS
internal import CTTIKernels
package import TTICore

extension CPUBackend {
    /// As `[outputs, kernel height, kernel width, inputs]` float32, the order in which patches are gathered. bfloat16 weights
    /// are rounded and then held wide: convolutions are bound by arithmetic, and their weights are few.
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        precondition(convolution.shape.rank == 4, "a kernel \(convolution.shape)")
        let (outputs, inputs) = (convolution.shape[0], convolution.shape[1])
        let (height, width) = (convolution.shape[2], convolution.shape[3])
        let taps = height * width
        let rows = try allocateOwned([outputs, taps * inputs], .float32)
        let prepared = PreparedConvolution(
            outputs: outputs, inputs: inputs, kernelHeight: height, kernelWidth: width, byteCount: rows.byteCount,
            form: RowMatrix(rows))
        let (target, count) = unsafe (rows.floats, inputs * taps)
        let rounding = weightType == .bfloat16
        guard let source = unsafe convolution.bytes?.baseAddress, count > 0 else { return prepared }
        unsafe pool.forEach(outputs, scratch: count) { output, scratch in
            unsafe CPUBackend.widen(
                source + output * count * convolution.dtype.byteCount, convolution.dtype, to: scratch, count: count)
            for tap in 0..<taps {
                for input in 0..<inputs {
                    let value = unsafe scratch[input * taps + tap]
                    unsafe target[output * count + tap * inputs + input] = rounding ? BFloat16(value).float : value
                }
            }
        }
        return prepared
    }

    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        let kernel = unsafe unsafeDowncast(weight.form, to: RowMatrix.self)
        precondition(
            x.shape.rank == 4 && x.shape[3] == weight.inputs, "\(x.shape) convolved with \(weight.inputs) channels")
        precondition(geometry.upsampling == 1 || geometry.upsampling == 2, "upsampling \(geometry.upsampling)")
        let (batch, height, width) = (x.shape[0], x.shape[1], x.shape[2])
        let size = geometry.outputSize(
            height: height, width: width, kernelHeight: weight.kernelHeight, kernelWidth: weight.kernelWidth)
        precondition(
            size.height > 0 && size.width > 0, "\(x.shape) under \(weight.kernelHeight)×\(weight.kernelWidth)")
        let y = allocate([batch, size.height, size.width, weight.outputs], .float32)
        precondition(bias.map { $0.shape.elementCount == weight.outputs } ?? true, "bias \(bias!.shape) to \(y.shape)")
        precondition(residual.map { $0.shape == y.shape } ?? true, "residual \(residual!.shape) to \(y.shape)")
        guard y.elementCount > 0 else { return y }
        let (pixels, outputs) = (size.height * size.width, weight.outputs)
        let patchSize = weight.kernelHeight * weight.kernelWidth * weight.inputs
        let isPlain =
            weight.kernelHeight == 1 && weight.kernelWidth == 1 && geometry == ConvolutionGeometry()
        let patches = unsafe ctti_patches(
            image: x.floats, height: height, width: width, channels: weight.inputs,
            kernel_height: weight.kernelHeight, kernel_width: weight.kernelWidth, output_width: size.width,
            stride: geometry.stride, top: geometry.top, left: geometry.left, upsampling: geometry.upsampling)
        let call = unsafe ctti_linear(
            x: x.floats, weight: kernel.rows.pointer, bias: bias.map { unsafe UnsafePointer($0.floats) },
            residual: residual.map { unsafe UnsafePointer($0.floats) }, y: y.floats, rows: batch * pixels,
            inputs: patchSize, outputs: outputs, activation: activation.kernel)
        let kernels = unsafe ctti_linear_kernels_for(isa).pointee
        CPUBackend.useOneThreadInBLAS
        // Blocks of one image's pixels whose patches stay in the cache of the core that multiplies them.
        let block = min(pixels, max(32, min(256, (96 << 10) / patchSize & ~15)))
        let blocks = (pixels + block - 1) / block
        unsafe pool.forEach(batch * blocks, scratch: isPlain ? 16 : block * patchSize) { index, scratch in
            let (entry, firstPixel) = (index / blocks, index % blocks * block)
            let count = min(block, pixels - firstPixel)
            let first = entry * pixels + firstPixel
            var rows = unsafe call.x + first * patchSize
            if !isPlain {
                var patches = unsafe patches
                unsafe patches.image += entry * height * width * weight.inputs
                unsafe withUnsafePointer(to: patches) {
                    unsafe ctti_gather_patches($0, firstPixel, firstPixel + count, scratch)
                }
                unsafe rows = UnsafePointer(scratch)
            }
            if outputs < 8 {
                var part = unsafe call
                unsafe part.x = rows
                unsafe part.y += first * outputs
                unsafe part.residual = part.residual.map { unsafe $0 + first * outputs }
                unsafe part.rows = count
                unsafe withUnsafePointer(to: part) { unsafe kernels.rows_float32($0, 0, outputs) }
                return
            }
            unsafe cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasTrans, blasint(count), blasint(outputs), blasint(patchSize), 1, rows,
                blasint(patchSize), call.weight.assumingMemoryBound(to: Float.self), blasint(patchSize), 0,
                call.y + first * outputs, blasint(outputs))
            unsafe withUnsafePointer(to: call) { unsafe kernels.finish($0, first, first + count, 0, outputs) }
        }
        return y
    }

    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor {
        precondition(
            x.shape.rank == 4 && weight.shape.rank == 3 && weight.shape[2] == x.shape[3] && weight.shape[0] % 2 == 1
                && weight.shape[1] % 2 == 1, "\(x.shape) convolved depthwise with \(weight.shape)")
        let y = allocate(x.shape, .float32)
        let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
        guard y.elementCount > 0 else { return y }
        let kernels = unsafe ctti_convolution_kernels_for(isa).pointee
        let (source, target, taps) = unsafe (x.floats, y.floats, weight.floats)
        let (kernelHeight, kernelWidth) = (weight.shape[0], weight.shape[1])
        pool.forEach(x.shape[0] * height) { index in
            let (entry, row) = (index / height, index % height)
            let call = unsafe ctti_depthwise(
                image: source + entry * height * width * channels, weight: taps,
                y: target + entry * height * width * channels, height: height, width: width, channels: channels,
                kernel_height: kernelHeight, kernel_width: kernelWidth)
            unsafe withUnsafePointer(to: call) { unsafe kernels.depthwise($0, row, row + 1) }
        }
        return y
    }
}
