internal import CTTIKernels
package import TTICore

/// A group norm that is done while an image is copied.
struct ImageNorm {
    let parameters: GroupNormParameters
    let activation: Activation
    /// An image whose channels come behind those of the other.
    var joined: Tensor?
}

// A group norm that only a convolution reads is done while the convolution copies what its pixels see, as bfloat16 or as
// integers: its result is never written. The image is then read once for the norm's moments and once for the copy, where it
// was read and written twice. The bits are those of two operations, but for an image in int8 whose norm ends in SiLU and has no
// magnitude above 0.28: its scale is that of SiLU's least value.
extension CPUBackend {
    package func groupNormConvolve(
        _ x: Tensor, _ norm: GroupNormParameters, activation: Activation, _ weight: PreparedConvolution, bias: Tensor?,
        _ geometry: ConvolutionGeometry, adding residual: Tensor?
    ) -> Tensor {
        convolve(x, ImageNorm(parameters: norm, activation: activation), weight, bias: bias, geometry, adding: residual)
    }

    /// Two images are joined by their norm, whether it is done in the copy or before.
    package func joinedGroupNormConvolve(
        _ x: Tensor, _ other: Tensor, _ norm: GroupNormParameters, activation: Activation,
        _ weight: PreparedConvolution,
        bias: Tensor?, _ geometry: ConvolutionGeometry
    ) -> Tensor {
        precondition(
            x.shape.replacingLast(1) == other.shape.replacingLast(1), "\(x.shape) beside \(other.shape)")
        let norm = ImageNorm(parameters: norm, activation: activation, joined: other)
        return convolve(x, norm, weight, bias: bias, geometry, adding: nil)
    }

    private func convolve(
        _ x: Tensor, _ norm: ImageNorm, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        adding residual: Tensor?
    ) -> Tensor {
        if normsWhileCopying(x, weight, geometry, norm.activation) {
            return convolve(
                x, weight, bias: bias, geometry, activation: .identity, adding: residual, norm: norm)
        }
        let image = groupNorm(x, beside: norm.joined, norm.parameters, activation: norm.activation)
        return convolve(image, weight, bias: bias, geometry, activation: .identity, adding: residual)
    }

    /// Whether the copy has few more rows than there are: small images are copied for each part of the outputs, and stay in a
    /// cache. By one image, never by the batch or the threads.
    private func normsWhileCopying(
        _ x: Tensor, _ weight: PreparedConvolution, _ geometry: ConvolutionGeometry, _ activation: Activation
    ) -> Bool {
        guard x.shape.rank == 4, weight.kernelHeight * weight.kernelWidth > 1, geometry.upsampling == 1 else {
            return false
        }
        let size = geometry.outputSize(
            height: x.shape[1], width: x.shape[2], kernelHeight: weight.kernelHeight, kernelWidth: weight.kernelWidth)
        guard size.height > 0, size.width > 0, !CPUBackend.isSmall(size.height * size.width) else { return false }
        // Of other functions the largest value is not at an end (`largest`).
        if weight.form is IntegerConvolutionPanels {
            return activation == .identity || activation == .relu || activation == .silu
        }
        guard let form = weight.form as? ConvolutionPanels else { return false }
        return roundsRows(form.whole, tokens: size.height * size.width)
    }

    /// The norm as x's first image has it; the other images' factors follow.
    func imageNorm(_ norm: ImageNorm, of x: Tensor, findsRanges: Bool = false) -> ctti_image_norm {
        let factors = unsafe factors(of: norm.parameters, for: x, beside: norm.joined, findsRanges: findsRanges)
        return unsafe ctti_image_norm(
            mean: factors, scale: factors + x.shape.last + (norm.joined?.shape.last ?? 0),
            shift: norm.parameters.bias.floats, activation: Int32(norm.activation.rawValue),
            joined: norm.joined.map { unsafe UnsafePointer($0.floats) }, joined_channels: norm.joined?.shape.last ?? 0)
    }

    /// The largest magnitude of an image's norm, from the ranges of its channels; not finite when a number is not.
    /// - Parameters:
    ///   - ranges: `[least, largest][channels]`
    ///   - ends: room for as much.
    func largest(
        of norm: ctti_image_norm, ranges: UnsafePointer<Float>, ends: UnsafeMutablePointer<Float>, channels: Int
    ) -> Float {
        let affine = unsafe ctti_norm(isa)!.pointee.channel_affine!
        func findEnds(_ activation: Int32) {
            unsafe affine(ends, ranges, 2, channels, norm.mean, norm.scale, norm.shift, activation)
        }
        // SiLU falls to its least value, and rises from there; the other functions rise.
        let (leastAt, least): (Float, Float) = (-1.2784645, 0.27846455)
        var meetsLeast = false
        if unsafe norm.activation == Int32(Activation.silu.rawValue) {
            findEnds(Int32(Activation.identity.rawValue))
            for channel in 0..<channels {
                let (a, b) = unsafe (ends[channel], ends[channels + channel])
                if min(a, b) < leastAt && leastAt < max(a, b) { meetsLeast = true }
            }
        }
        unsafe findEnds(norm.activation)
        let largest = unsafe ctti_largest(isa, ends, 2 * channels)
        // By bits, so that what is not a number stays the largest.
        return meetsLeast ? Float(bitPattern: max(largest.bitPattern, least.bitPattern)) : largest
    }
}
