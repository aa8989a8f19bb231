internal import CTTICUDA
package import TTICore

/// A kernel as tiles.cu reads it.
private final class KernelRows {
    /// `[outputs, taps, channels up to whole pieces of 16 bytes]` in the type of activations.
    let elements: Tensor

    init(_ elements: Tensor) { self.elements = elements }
}

extension CUDABackend {
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        precondition(convolution.shape.rank == 4, "a kernel \(convolution.shape)")
        let (outputs, inputs) = (convolution.shape[0], convolution.shape[1])
        let (height, width) = (convolution.shape[2], convolution.shape[3])
        let taps = height * width
        let padded = (inputs + lanes - 1) / lanes * lanes
        let elements = try allocateOwned([outputs, taps, padded], activationType)
        write(kernel: convolution, to: elements)
        return PreparedConvolution(
            outputs: outputs, inputs: inputs, kernelHeight: height, kernelWidth: width,
            byteCount: outputs * inputs * taps * activationType.byteCount, form: KernelRows(elements))
    }

    /// Turns `[outputs, inputs, height, width]` into `[outputs, taps, padded inputs]`, some outputs at a time.
    private func write(kernel: HostTensor, to rows: Tensor) {
        guard let bytes = unsafe kernel.bytes, kernel.elementCount > 0 else { return }
        guard let from = CUDABackend.convertible[kernel.dtype] else {
            return write(kernel: HostTensor(kernel.floats(), kernel.shape), to: rows)
        }
        guard let to = CUDABackend.convertible[rows.dtype] else { preconditionFailure("a kernel in \(rows.dtype)") }
        let (inputs, taps, padded) = (kernel.shape[1], rows.shape[1], rows.shape[2])
        unsafe staging.send(bytes, rowBytes: inputs * taps * kernel.dtype.byteCount) { address, range in
            let offset = range.lowerBound * taps * padded * rows.dtype.byteCount
            launch(
                "pack_kernel", elements: range.count * taps * padded, each: lanes,
                tti_pack_kernel(
                    y: rows.device + UInt64(offset), x: UInt64(address), outputs: Int64(range.count),
                    channels: Int64(inputs), taps: Int64(taps), y_channels: Int64(padded), from: from, to: to))
        }
    }

    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        let kernel = [weight.outputs, weight.inputs, weight.kernelHeight, weight.kernelWidth]
        precondition(x.shape.rank == 4 && x.shape[3] == weight.inputs, "\(x.shape) convolved with \(kernel)")
        precondition(geometry.upsampling == 1 || geometry.upsampling == 2, "upsampling \(geometry.upsampling)")
        checkActivations(x)
        let (batch, height, width) = (x.shape[0], x.shape[1], x.shape[2])
        let size = geometry.outputSize(
            height: height, width: width, kernelHeight: weight.kernelHeight, kernelWidth: weight.kernelWidth)
        precondition(size.height > 0 && size.width > 0, "\(x.shape) convolved with \(kernel)")
        // The kernel's coordinates have 16 bits.
        precondition(
            max(size.height, size.width) * geometry.stride + max(weight.kernelHeight, weight.kernelWidth) < 1 << 15,
            "an image of \(x.shape)")
        let y = allocate([batch, size.height, size.width, weight.outputs], activationType)
        if let bias { precondition(bias.elementCount == weight.outputs, "bias \(bias.shape) to \(y.shape)") }
        if let residual {
            checkActivations(residual)
            precondition(residual.shape == y.shape, "residual \(residual.shape) to \(y.shape)")
        }
        guard y.elementCount > 0 else { return y }
        hold(y, of: [x] + (bias.map { [$0] } ?? []), adding: residual) { [weak self] y, statistics in
            self?.convolve(
                x, weight, bias: bias, geometry, activation, adding: residual, into: y, leaving: statistics)
        }
        return y
    }

    private func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        _ activation: Activation, adding residual: Tensor?, into y: Tensor, leaving statistics: PartialStatistics?
    ) {
        let (batch, height, width) = (x.shape[0], x.shape[1], x.shape[2])
        let (outputHeight, outputWidth) = (y.shape[1], y.shape[2])
        let form = unsafe unsafeDowncast(weight.form, to: KernelRows.self)
        if convolveOnHopper(
            x, weight, rows: form.elements, bias: bias, geometry, activation, adding: residual, into: y,
            leaving: statistics)
        {
            return
        }
        let (address, channels) = wholeRows(x, width: weight.inputs)
        let (channelPieces, taps) = (channels / lanes, weight.kernelHeight * weight.kernelWidth)
        // Pixels that are each seen once are rows of a matrix.
        let isMatrix = taps == 1 && geometry == ConvolutionGeometry()
        multiplyTiles(
            tti_tiles(
                y: y.device, x: address, weight: form.elements.device, joined: 0, bias: floatBias(bias),
                residual: residual.device,
                partial: 0, x_scales: 0, weight_scales: 0, weight_stride: Int64(taps * channelPieces * 16),
                rows: Int32(batch * outputHeight * outputWidth), outputs: Int32(weight.outputs),
                height: isMatrix ? 1 : Int32(height), width: isMatrix ? 1 : Int32(width),
                output_height: isMatrix ? 1 : Int32(outputHeight), output_width: isMatrix ? 1 : Int32(outputWidth),
                shift: Int32(geometry.upsampling - 1), kernel_width: Int32(weight.kernelWidth),
                stride: Int32(geometry.stride), top: Int32(geometry.top), left: Int32(geometry.left),
                channel_pieces: Int32(channelPieces), own_pieces: Int32(channelPieces),
                pieces: Int32(taps * channelPieces), splits: 1,
                activation: Int32(activation.rawValue)), rowsOfEntry: outputHeight * outputWidth)
    }

    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor {
        precondition(
            x.shape.rank == 4 && weight.shape.rank == 3 && x.shape.last == weight.shape.last
                && weight.shape[0] % 2 == 1 && weight.shape[1] % 2 == 1,
            "\(x.shape) with a kernel of \(weight.shape)")
        precondition(x.elementCount < 1 << 32, "an image of \(x.shape)")
        checkActivations(x)
        let y = allocate(x.shape, activationType)
        let isWhole = x.shape.last % lanes == 0 && (x.address | y.address | weight.address) % 16 == 0
        let is3x3 = weight.shape[0] == 3 && weight.shape[1] == 3
        launch(
            isWhole ? is3x3 ? "depthwise_3x3" : "depthwise" : "depthwise_any", elements: y.elementCount,
            each: isWhole ? lanes : 1,
            tti_depthwise(
                y: y.device, x: x.device, weight: weight.device, count: Int64(y.elementCount),
                height: Int32(x.shape[1]), width: Int32(x.shape[2]), channels: Int32(x.shape[3]),
                kernel_height: Int32(weight.shape[0]), kernel_width: Int32(weight.shape[1])))
        return y
    }
}
