internal import CTTIKernels
package import TTICore

/// A kernel as a matrix `[outputs, kernel height · kernel width · inputs]`: what a pixel sees, in the order of an image's
/// memory.
final class ConvolutionPanels {
    let whole: Panels
    /// The four kernels of an upsampled image's pixels, made when the first one comes; those of rounded rows are bfloat16.
    var phases: [ConvolutionPhase<Panels>]?
    var roundedPhases: [ConvolutionPhase<Panels>]?

    init(_ whole: Panels) { self.whole = whole }
}

extension CPUBackend {
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        precondition(convolution.shape.rank == 4, "a kernel \(convolution.shape)")
        let (outputs, inputs) = (convolution.shape[0], convolution.shape[1])
        let (height, width) = (convolution.shape[2], convolution.shape[3])
        let (taps, count) = (height * width, inputs * height * width)
        let bytes = unsafe convolution.bytes?.baseAddress
        // Thirty-two outputs as a panel has them, and the one that is turned.
        let turned = count * (32 + 1)
        func turn(_ first: Int, _ rows: Int, _ scratch: UnsafeMutablePointer<Float>) {
            let single = unsafe scratch + 32 * count
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
        }
        func prepared(_ dtype: DType, _ form: AnyObject) -> PreparedConvolution {
            PreparedConvolution(
                outputs: outputs, inputs: inputs, kernelHeight: height, kernelWidth: width,
                byteCount: outputs * count * dtype.byteCount, form: form)
        }
        let dtype = kernelType(outputs: outputs, inputs: inputs)
        if dtype == .int8 {
            let panels = unsafe try quantize(
                outputs, segments: height, depth: width * inputs, scratch: turned, rows: turn)
            return prepared(dtype, IntegerConvolutionPanels(panels))
        }
        let panels = unsafe try pack(
            outputs, count, segments: height, as: dtype, scratch: turned + 16 * count
        ) { first, rows, scratch in
            unsafe turn(first, rows, scratch)
            guard dtype != .float32 else { return UnsafeRawPointer(scratch) }
            let rounded = unsafe scratch + turned
            unsafe CPUBackend.convert(scratch, .float32, to: rounded, dtype, count: rows * count)
            return UnsafeRawPointer(rounded)
        }
        return prepared(dtype, ConvolutionPanels(panels))
    }

    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        convolve(x, weight, bias: bias, geometry, activation: activation, adding: residual, norm: nil)
    }

    /// - Parameter norm: of x, before anything else; only where rows are rounded or integers (`groupNormConvolve`).
    func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?, norm: ImageNorm?
    ) -> Tensor {
        precondition(
            x.shape.rank == 4 && x.shape[3] + (norm?.joined?.shape[3] ?? 0) == weight.inputs,
            "\(x.shape) convolved with \(weight.shape)")
        precondition(geometry.upsampling == 1 || geometry.upsampling == 2, "upsampling \(geometry.upsampling)")
        let (height, width) = (x.shape[1], x.shape[2])
        let size = geometry.outputSize(
            height: height, width: width, kernelHeight: weight.kernelHeight, kernelWidth: weight.kernelWidth)
        precondition(size.height > 0 && size.width > 0, "\(x.shape) convolved with \(weight.shape)")
        var shape = x.shape
        (shape[1], shape[2], shape[3]) = (size.height, size.width, weight.outputs)
        let y = allocate(shape, .float32)
        if y.elementCount > 0 {
            hold(
                .convolution(x, weight, bias: bias, geometry, activation, norm: norm), bias: bias, adding: residual,
                into: y)
        }
        return y
    }

    func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        _ activation: Activation, adding residual: Tensor?, norm: ImageNorm?, into y: Tensor
    ) {
        if let integers = weight.form as? IntegerConvolutionPanels {
            return convolveIntegers(
                x, weight, integers, bias: bias, geometry, activation, adding: residual, norm: norm, into: y)
        }
        let batch = x.shape[0]
        let form = unsafe unsafeDowncast(weight.form, to: ConvolutionPanels.self)
        let product = unsafe product(x, form.whole, y, bias: bias, activation, adding: residual)
        let isRounded = roundsRows(form.whole, tokens: y.shape[1] * y.shape[2])
        if weight.kernelHeight * weight.kernelWidth == 1 && geometry == ConvolutionGeometry() {
            return unsafe multiply(product, panels: form.whole.count, rounded: isRounded)
        }
        var call = unsafe ctti_convolution(x, weight, geometry, product, into: y)
        if let norm { unsafe call.norm = imageNorm(norm, of: x) }
        if let m = unsafe isRounded ? nil : winogradTile(call) {
            unsafe convolveByWinograd(call, batch: batch, m: m, form.whole)
        } else if unsafe !isRounded && CPUBackend.gathersPatches(call, form.whole) {
            unsafe convolvePatches(call, batch: batch, form.whole)
        } else if geometry.upsampling == 2 && geometry.stride == 1,
            let phases = phases(of: weight, geometry, rounded: isRounded)
        {
            for phase in phases {
                var part = unsafe phase.part(of: call)
                guard unsafe part.output_height > 0 && part.output_width > 0 else { continue }
                unsafe part.product.panels = UnsafeRawPointer(phase.panels.elements.pointer)
                unsafe part.product.wide = phase.panels.isWide
                unsafe convolve(
                    part, batch: batch, imageSize: y.elementCount / batch, phase.panels.count,
                    isRounded ? .rounded : .whole)
            }
        } else {
            unsafe convolve(
                call, batch: batch, imageSize: y.elementCount / batch, form.whole.count, isRounded ? .rounded : .whole)
        }
    }

    /// Whether rounded rows of so many pixels are one block, cut up by outputs: the kernel is larger than the image, and read once.
    /// In turns, 1280 channels, one core, AMX: 2.2 times as fast at 8×8, 1.7 at 16×16.
    static func isSmall(_ pixels: Int) -> Bool { pixels <= 1024 }

    /// In what a convolution multiplies.
    @unsafe enum ConvolutionOperands {
        case whole, rounded
        /// 8-bit integers; for each image its unit and how many of these 1 is.
        case integers(Int8Panels, scales: UnsafePointer<Float>)
    }

    /// Blocks of output rows: at least four for each thread, and the copy of what they see stays in the second-level cache.
    /// When there are too few rows, blocks of outputs too.
    /// - Parameter imageSize: floats from one image of the result to the next.
    func convolve(_ call: ctti_convolution, batch: Int, imageSize: Int, _ panels: Int, _ operands: ConvolutionOperands)
    {
        let height = unsafe call.output_height
        var isWhole = false
        if case .whole = unsafe operands { isWhole = true }
        let wanted = 4 * pool.threadCount
        let isSmall = unsafe !isWhole && CPUBackend.isSmall(height * call.output_width)
        var block = isSmall ? height : max(1, min(height, batch * height / wanted))
        func scratchCount(_ rows: Int) -> Int {
            unsafe withUnsafePointer(to: call) { call in
                switch unsafe operands {
                case .whole: unsafe ctti_convolution_scratch(call, rows, false)
                case .rounded: unsafe ctti_convolution_scratch(call, rows, true)
                case .integers: unsafe ctti_convolution_int8_scratch(call, rows)
                }
            }
        }
        // A norm is done again for each row that two blocks see, and for each block of outputs: so the former are tall, however
        // many threads there are, and there is one of the latter.
        let hasNorm = unsafe call.norm.mean != nil
        if hasNorm { block = max(block, min(height, 4)) }
        while block > 1 && scratchCount(block) > (isSmall || hasNorm ? 256 << 10 : 128 << 10) { block -= 1 }
        let blocks = (height + block - 1) / block
        let panelBlocks = hasNorm ? 1 : min(panels, max(1, wanted / (batch * blocks)))
        let scratch = scratchCount(block)
        let inputSize = unsafe call.height * call.width * (call.channels - call.norm.joined_channels)
        let joinedSize = unsafe call.height * call.width * call.norm.joined_channels
        let isa = isa
        unsafe pool.forEach(batch * blocks * panelBlocks, scratch: max(16, scratch)) { index, scratch in
            let (part, panel) = (index / panelBlocks, index % panelBlocks)
            let (entry, row) = (part / blocks, part % blocks * block)
            var call = unsafe call
            unsafe call.image += entry * inputSize
            if unsafe call.norm.mean != nil {
                unsafe call.norm.mean += entry * 2 * call.channels
                unsafe call.norm.scale += entry * 2 * call.channels
                if let joined = unsafe call.norm.joined { unsafe call.norm.joined = joined + entry * joinedSize }
            }
            unsafe call.product.y += entry * imageSize
            if let residual = unsafe call.product.residual {
                unsafe call.product.residual = residual + entry * imageSize
            }
            unsafe withUnsafePointer(to: call) {
                let (end, first) = (min(height, row + block), panels * panel / panelBlocks)
                let endPanel = panels * (panel + 1) / panelBlocks
                switch unsafe operands {
                case .whole: unsafe ctti_convolve(isa, $0, row, end, first, endPanel, scratch)
                case .rounded: unsafe ctti_convolve_rounded(isa, $0, row, end, first, endPanel, scratch)
                case .integers(let kernel, let scales):
                    var kernel = unsafe ctti_int8_kernel(
                        panels: kernel.elements.pointer.assumingMemoryBound(to: Int8.self),
                        scales: kernel.scales.floats, zeros: kernel.zeros.integers, x_scale: scales[2 * entry],
                        x_inverse: scales[2 * entry + 1])
                    unsafe ctti_convolve_int8(isa, $0, &kernel, row, end, first, endPanel, scratch)
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

extension ctti_convolution {
    /// All of x.
    init(
        _ x: Tensor, _ weight: PreparedConvolution, _ geometry: ConvolutionGeometry, _ product: ctti_product,
        into y: Tensor
    ) {
        unsafe self.init(
            image: x.floats, height: x.shape[1], width: x.shape[2], channels: weight.inputs,
            kernel_height: weight.kernelHeight, kernel_width: weight.kernelWidth, output_height: y.shape[1],
            output_width: y.shape[2], stride: geometry.stride, top: geometry.top, left: geometry.left,
            bottom: geometry.bottom, right: geometry.right, upsampling: geometry.upsampling,
            output_row_stride: y.shape[2] * weight.outputs, norm: ctti_image_norm(), product: product)
    }
}
