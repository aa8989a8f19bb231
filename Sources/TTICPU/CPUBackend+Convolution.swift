internal import CTTIKernels
package import TTICore

/// A kernel as a matrix `[outputs, kernel height · kernel width · inputs]`: what a pixel sees, in the order of an image's
/// memory.
final class ConvolutionPanels {
    let whole: Panels
    /// The four kernels of an upsampled image's pixels, made when the first one comes; those of rounded rows are bfloat16.
    var phases: [ConvolutionPhase]?
    var roundedPhases: [ConvolutionPhase]?

    init(_ whole: Panels) { self.whole = whole }
}

extension CPUBackend {
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        precondition(convolution.shape.rank == 4, "a kernel \(convolution.shape)")
        let (outputs, inputs) = (convolution.shape[0], convolution.shape[1])
        let (height, width) = (convolution.shape[2], convolution.shape[3])
        let (taps, count) = (height * width, inputs * height * width)
        let dtype = weightType.besideMatrices
        let bytes = unsafe convolution.bytes?.baseAddress
        // Thirty-two outputs as a panel has them, the one that is turned, and all of them rounded.
        let panels = unsafe try pack(
            outputs, count, segments: height, as: dtype, scratch: count * (32 + 1 + 16)
        ) { first, rows, scratch in
            let (single, rounded) = unsafe (scratch + 32 * count, scratch + 33 * count)
            for row in 0..<rows {
                let target = unsafe scratch + row * count
                guard let bytes = unsafe bytes else {
                    unsafe target.update(repeating: 0, count: count)
                    continue
                }
                unsafe CPUBackend.widen(
                    bytes + (first + row) * count * convolution.dtype.byteCount, convolution.dtype, to: single,
                    count: count)
                for tap in 0..<taps {
                    for input in 0..<inputs { unsafe target[tap * inputs + input] = single[input * taps + tap] }
                }
            }
            guard dtype != .float32 else { return UnsafeRawPointer(scratch) }
            unsafe CPUBackend.convert(scratch, .float32, to: rounded, dtype, count: rows * count)
            return UnsafeRawPointer(rounded)
        }
        return PreparedConvolution(
            outputs: outputs, inputs: inputs, kernelHeight: height, kernelWidth: width,
            byteCount: outputs * count * dtype.byteCount, form: ConvolutionPanels(panels))
    }

    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        precondition(x.shape.rank == 4 && x.shape[3] == weight.inputs, "\(x.shape) convolved with \(weight.shape)")
        precondition(geometry.upsampling == 1 || geometry.upsampling == 2, "upsampling \(geometry.upsampling)")
        let (batch, height, width) = (x.shape[0], x.shape[1], x.shape[2])
        let size = geometry.outputSize(
            height: height, width: width, kernelHeight: weight.kernelHeight, kernelWidth: weight.kernelWidth)
        precondition(size.height > 0 && size.width > 0, "\(x.shape) convolved with \(weight.shape)")
        var shape = x.shape
        (shape[1], shape[2], shape[3]) = (size.height, size.width, weight.outputs)
        let y = allocate(shape, .float32)
        guard y.elementCount > 0 else { return y }
        let form = unsafe unsafeDowncast(weight.form, to: ConvolutionPanels.self)
        let product = unsafe product(x, form.whole, y, bias: bias, activation, adding: residual)
        let isRounded = roundsRows(form.whole, tokens: size.height * size.width)
        if weight.kernelHeight * weight.kernelWidth == 1 && geometry == ConvolutionGeometry() {
            unsafe multiply(product, panels: form.whole.count, rounded: isRounded)
            return y
        }
        let call = unsafe ctti_convolution(
            image: x.floats, height: height, width: width, channels: weight.inputs, kernel_height: weight.kernelHeight,
            kernel_width: weight.kernelWidth, output_height: size.height, output_width: size.width,
            stride: geometry.stride, top: geometry.top, left: geometry.left, bottom: geometry.bottom,
            right: geometry.right, upsampling: geometry.upsampling, output_row_stride: size.width * weight.outputs,
            product: product)
        if let m = unsafe isRounded ? nil : winogradTile(call) {
            unsafe convolveByWinograd(call, batch: batch, m: m, form.whole)
        } else if unsafe !isRounded && CPUBackend.gathersPatches(call, form.whole) {
            unsafe convolvePatches(call, batch: batch, form.whole)
        } else if geometry.upsampling == 2 && geometry.stride == 1,
            let phases = phases(of: weight, geometry, rounded: isRounded)
        {
            for phase in phases {
                let part = unsafe phase.part(of: call)
                guard unsafe part.output_height > 0 && part.output_width > 0 else { continue }
                unsafe convolve(
                    part, batch: batch, imageSize: y.elementCount / batch, phase.panels.count, rounded: isRounded)
            }
        } else {
            unsafe convolve(
                call, batch: batch, imageSize: y.elementCount / batch, form.whole.count, rounded: isRounded)
        }
        return y
    }

    /// Blocks of output rows: at least four for each thread, and the copy of what they see stays in the second-level cache.
    /// When there are too few rows, blocks of outputs too.
    /// - Parameter imageSize: floats from one image of the result to the next.
    private func convolve(_ call: ctti_convolution, batch: Int, imageSize: Int, _ panels: Int, rounded: Bool) {
        let height = unsafe call.output_height
        let wanted = 4 * pool.threadCount
        // Of rounded rows a small image is one block, cut up by outputs: its kernel is larger than it, and read once. In turns,
        // 1280 channels, one core, AMX: 2.2 times as fast at 8×8, 1.7 at 16×16.
        let isSmall = unsafe rounded && height * call.output_width <= 1024
        var block = isSmall ? height : max(1, min(height, batch * height / wanted))
        func scratchCount(_ rows: Int) -> Int {
            unsafe withUnsafePointer(to: call) { unsafe ctti_convolution_scratch($0, rows, rounded) }
        }
        while block > 1 && scratchCount(block) > (isSmall ? 256 << 10 : 128 << 10) { block -= 1 }
        let blocks = (height + block - 1) / block
        let panelBlocks = min(panels, max(1, wanted / (batch * blocks)))
        let scratch = scratchCount(block)
        let inputSize = unsafe call.height * call.width * call.channels
        let isa = isa
        unsafe pool.forEach(batch * blocks * panelBlocks, scratch: max(16, scratch)) { index, scratch in
            let (part, panel) = (index / panelBlocks, index % panelBlocks)
            let (entry, row) = (part / blocks, part % blocks * block)
            var call = unsafe call
            unsafe call.image += entry * inputSize
            unsafe call.product.y += entry * imageSize
            if let residual = unsafe call.product.residual {
                unsafe call.product.residual = residual + entry * imageSize
            }
            unsafe withUnsafePointer(to: call) {
                let (end, first) = (min(height, row + block), panels * panel / panelBlocks)
                let endPanel = panels * (panel + 1) / panelBlocks
                if rounded {
                    unsafe ctti_convolve_rounded(isa, $0, row, end, first, endPanel, scratch)
                } else {
                    unsafe ctti_convolve(isa, $0, row, end, first, endPanel, scratch)
                }
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
