internal import CTTIKernels
internal import TTICore

/// A kernel in 8-bit integers, each output's with a scale of its own.
final class IntegerConvolutionPanels {
    let whole: Int8Panels
    /// The four kernels of an upsampled image's pixels, made when the first one comes.
    var phases: [ConvolutionPhase<Int8Panels>]?

    init(_ whole: Int8Panels) { self.whole = whole }
}

// With int8 weights, convolutions between many channels are products of integers where tiles do these twice as fast as
// bfloat16. All of an image has one scale, so that its pixels can be added up whatever tap they are seen by; a kernel of one
// tap takes each pixel as a row of its own.
extension CPUBackend {
    func convolveIntegers(
        _ x: Tensor, _ weight: PreparedConvolution, _ form: IntegerConvolutionPanels, bias: Tensor?,
        _ geometry: ConvolutionGeometry, _ activation: Activation, adding residual: Tensor?, norm: ImageNorm?,
        into y: Tensor
    ) {
        if weight.kernelHeight * weight.kernelWidth == 1 && geometry == ConvolutionGeometry() {
            return multiply(x, form.whole, into: y, bias: bias, activation, adding: residual)
        }
        let batch = x.shape[0]
        let product = unsafe product(x, nil, y, bias: bias, activation, adding: residual)
        var call = unsafe ctti_convolution(x, weight, geometry, product, into: y)
        if let norm { unsafe call.norm = imageNorm(norm, of: x, findsRanges: true) }
        unsafe withScratch(batch * (IntegerConvolution.partsOfImage + 2)) { scratch in
            let scales = unsafe scratch + batch * IntegerConvolution.partsOfImage
            if norm != nil {
                unsafe findScales(of: call.norm, channels: weight.inputs, batch, into: scales)
            } else {
                unsafe findScales(of: x, parts: scratch, into: scales)
            }
            func convolve(_ call: ctti_convolution, _ panels: Int8Panels) {
                guard unsafe call.output_height > 0 && call.output_width > 0 else { return }
                unsafe self.convolve(
                    call, batch: batch, imageSize: y.elementCount / batch, panels.count,
                    .integers(panels, scales: scales))
            }
            if geometry.upsampling == 2 && geometry.stride == 1, let phases = phases(of: weight, form, geometry) {
                for phase in phases { unsafe convolve(phase.part(of: call), phase.panels) }
            } else {
                unsafe convolve(call, form.whole)
            }
        }
    }

    /// For each image what a unit stands for, and how many units 1 is.
    private func findScales(
        of x: Tensor, parts: UnsafeMutablePointer<Float>, into scales: UnsafeMutablePointer<Float>
    ) {
        let (batch, partCount) = (x.shape[0], IntegerConvolution.partsOfImage)
        let count = x.elementCount / batch
        let (source, isa) = unsafe (x.floats, isa)
        pool.forEach(batch * partCount) { index in
            let (entry, part) = index.quotientAndRemainder(dividingBy: partCount)
            let (first, end) = (count * part / partCount, count * (part + 1) / partCount)
            unsafe parts[index] = ctti_largest(isa, source + entry * count + first, end - first)
        }
        for entry in 0..<batch {
            // Bits of magnitudes are in their order, and what is not finite comes last.
            var largest: UInt32 = 0
            for part in 0..<partCount { unsafe largest = max(largest, parts[entry * partCount + part].bitPattern) }
            unsafe setScale(Float(bitPattern: largest), in: scales + 2 * entry)
        }
    }

    /// The same of what a norm makes of the images.
    private func findScales(
        of norm: ctti_image_norm, channels: Int, _ batch: Int, into scales: UnsafeMutablePointer<Float>
    ) {
        var norm = unsafe norm
        // Behind the norms of all images (`factors`).
        var ranges = unsafe UnsafeMutablePointer(mutating: norm.mean!) + batch * 2 * channels
        let ends = unsafe ranges + batch * 2 * channels
        for entry in 0..<batch {
            unsafe setScale(largest(of: norm, ranges: ranges, ends: ends, channels: channels), in: scales + 2 * entry)
            unsafe norm.mean += 2 * channels
            unsafe norm.scale += 2 * channels
            unsafe ranges += 2 * channels
        }
    }

    private func setScale(_ largest: Float, in scales: UnsafeMutablePointer<Float>) {
        unsafe scales[0] = ctti_int8_scale(largest)
        unsafe scales[1] = ctti_int8_inverse(largest)
    }
}

private enum IntegerConvolution {
    /// Of which the largest magnitude is found one by one.
    static let partsOfImage = 16
}
