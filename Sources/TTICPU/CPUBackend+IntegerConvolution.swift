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
        _ geometry: ConvolutionGeometry, _ activation: Activation, adding residual: Tensor?, into y: Tensor
    ) {
        if weight.kernelHeight * weight.kernelWidth == 1 && geometry == ConvolutionGeometry() {
            return multiply(x, form.whole, into: y, bias: bias, activation, adding: residual)
        }
        let batch = x.shape[0]
        let product = unsafe product(x, nil, y, bias: bias, activation, adding: residual)
        let call = unsafe ctti_convolution(x, weight, geometry, product, into: y)
        unsafe withScratch(batch * (IntegerConvolution.partsOfImage + 2)) { scratch in
            let scales = unsafe scratch + batch * IntegerConvolution.partsOfImage
            unsafe findScales(of: x, parts: scratch, into: scales)
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
            unsafe scales[2 * entry] = ctti_int8_scale(Float(bitPattern: largest))
            unsafe scales[2 * entry + 1] = ctti_int8_inverse(Float(bitPattern: largest))
        }
    }
}

private enum IntegerConvolution {
    /// Of which the largest magnitude is found one by one.
    static let partsOfImage = 16
}
