internal import CTTIKernels
import TTICore

/// One of the four kernels that an upsampled image's pixels see in the image itself.
///
/// When every pixel stands for 2×2, output pixel (2y + v, 2x + u) of a 3×3 kernel sees only 2×2 different pixels: for each
/// (v, u), the phase, the taps that meet in a pixel are summed beforehand. That takes 4/9 of the multiply-adds, and the image
/// is read at its own size. The sums are held in float32, in which those of bfloat16 weights are all but exact; for
/// rounded rows they are rounded to bfloat16 once more, and sums of 8-bit integers to such integers.
struct ConvolutionPhase<Kernel> {
    let panels: Kernel
    let geometry: ConvolutionGeometry
    let vertical: PhaseAxis
    let horizontal: PhaseAxis

    /// The same convolution, for this phase's pixels only; its panels are the caller's to set.
    func part(of call: ctti_convolution) -> ctti_convolution {
        var part = unsafe call
        let outputs = unsafe call.product.outputs
        unsafe part.kernel_height = vertical.size
        unsafe part.kernel_width = horizontal.size
        unsafe part.output_height = (call.output_height - vertical.phase + 1) / 2
        unsafe part.output_width = (call.output_width - horizontal.phase + 1) / 2
        unsafe part.top = vertical.before
        unsafe part.left = horizontal.before
        unsafe part.bottom = max(0, part.output_height - 1 + vertical.size - vertical.before - call.height)
        unsafe part.right = max(0, part.output_width - 1 + horizontal.size - horizontal.before - call.width)
        unsafe part.upsampling = 1
        unsafe part.output_row_stride = 2 * call.output_row_stride
        let place = unsafe vertical.phase * call.output_row_stride + horizontal.phase * outputs
        unsafe part.product.y += place
        if let residual = unsafe part.product.residual { unsafe part.product.residual = residual + place }
        unsafe part.product.output_stride = 2 * outputs
        return unsafe part
    }
}

/// Which pixels the taps of one axis meet in, for the output pixels 2i + phase.
struct PhaseAxis {
    let phase: Int
    /// The pixel of each tap, counted from the first one that is seen.
    let pixels: [Int]
    /// How many pixels before pixel i the first one lies.
    let before: Int

    init(phase: Int, taps: Int, padding: Int) {
        self.phase = phase
        // Tap t meets upsampled pixel 2i + phase - padding + t; shifting rounds down.
        let offsets = (0..<taps).map { (phase - padding + $0) >> 1 }
        before = -offsets[0]
        pixels = offsets.map { $0 - offsets[0] }
    }

    var size: Int { pixels[pixels.count - 1] + 1 }
}

extension PreparedConvolution {
    /// Taps that meet in a pixel, added: of a matrix `[outputs, taps · inputs]` to `[outputs, pixels · inputs]`.
    fileprivate func summedTaps<Number: AdditiveArithmetic>(
        _ rows: [Number], _ vertical: PhaseAxis, _ horizontal: PhaseAxis
    ) -> [Number] {
        let count = vertical.size * horizontal.size * inputs
        var sums = [Number](repeating: .zero, count: outputs * count)
        for output in 0..<outputs {
            for (ky, y) in vertical.pixels.enumerated() {
                for (kx, x) in horizontal.pixels.enumerated() {
                    let source = ((output * kernelHeight + ky) * kernelWidth + kx) * inputs
                    let target = output * count + (y * horizontal.size + x) * inputs
                    for input in 0..<inputs { sums[target + input] += rows[source + input] }
                }
            }
        }
        return sums
    }

    /// The four phases, in the order of their pixels; nil when there is no memory for one.
    fileprivate func phases<Number: AdditiveArithmetic, Kernel>(
        _ rows: [Number], _ geometry: ConvolutionGeometry, pack: (_ sums: [Number], _ segments: Int) -> Kernel?
    ) -> [ConvolutionPhase<Kernel>]? {
        var phases: [ConvolutionPhase<Kernel>] = []
        for v in 0...1 {
            for u in 0...1 {
                let vertical = PhaseAxis(phase: v, taps: kernelHeight, padding: geometry.top)
                let horizontal = PhaseAxis(phase: u, taps: kernelWidth, padding: geometry.left)
                guard let panels = pack(summedTaps(rows, vertical, horizontal), vertical.size) else { return nil }
                phases.append(
                    ConvolutionPhase(panels: panels, geometry: geometry, vertical: vertical, horizontal: horizontal))
            }
        }
        return phases
    }
}

extension CPUBackend {
    /// The phases of a kernel; nil when there is no memory for them.
    func phases(
        of weight: PreparedConvolution, _ geometry: ConvolutionGeometry, rounded: Bool
    ) -> [ConvolutionPhase<Panels>]? {
        let form = unsafe unsafeDowncast(weight.form, to: ConvolutionPanels.self)
        let made = rounded ? form.roundedPhases : form.phases
        if let made, made[0].geometry == geometry { return made }
        let phases = weight.phases(unpacked(form.whole), geometry) { sums, segments in
            let matrix = HostTensor(sums, [weight.outputs, sums.count / weight.outputs])
            return try? pack(matrix, segments: segments, as: rounded ? .bfloat16 : .float32)
        }
        if rounded { form.roundedPhases = phases } else { form.phases = phases }
        return phases
    }

    /// The same of a kernel in integers, whose sums are in units of its own.
    func phases(
        of weight: PreparedConvolution, _ form: IntegerConvolutionPanels, _ geometry: ConvolutionGeometry
    ) -> [ConvolutionPhase<Int8Panels>]? {
        if let made = form.phases, made[0].geometry == geometry { return made }
        form.phases = weight.phases(unpacked(form.whole), geometry) { sums, segments in
            let inputs = sums.count / weight.outputs
            let panels = unsafe try? quantize(
                weight.outputs, segments: segments, depth: inputs / segments, scratch: 32 * inputs
            ) { first, count, scratch in
                for index in 0..<count * inputs { unsafe scratch[index] = Float(sums[first * inputs + index]) }
            }
            guard let panels else { return nil }
            let (scales, units) = unsafe (panels.scales.floats, form.whole.scales.floats)
            for output in 0..<weight.outputs { unsafe scales[output] *= units[output] }
            return panels
        }
        return form.phases
    }

    /// The matrix `[outputs, inputs]` that was packed.
    private func unpacked(_ panels: Panels) -> [Float] {
        let (outputs, inputs) = (panels.outputs, panels.inputs)
        return unsafe [Float](unsafeUninitializedCapacity: outputs * inputs) { target, initialized in
            for panel in 0..<panels.count {
                unsafe ctti_unpack(
                    target.baseAddress!, panels.elements.pointer, panels.isWide, outputs, panels.segments, panels.depth,
                    panel)
            }
            initialized = outputs * inputs
        }
    }

    /// The same in units of each output.
    private func unpacked(_ panels: Int8Panels) -> [Int32] {
        let (outputs, inputs) = (panels.outputs, panels.inputs)
        let integers = unsafe [Int8](unsafeUninitializedCapacity: outputs * inputs) { target, initialized in
            for panel in 0..<panels.count {
                unsafe ctti_unpack_int8(
                    target.baseAddress!, panels.elements.pointer.assumingMemoryBound(to: Int8.self), outputs,
                    panels.segments, panels.depth, panel)
            }
            initialized = outputs * inputs
        }
        return integers.map { Int32($0) }
    }
}
