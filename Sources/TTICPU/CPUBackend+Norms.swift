internal import CTTIKernels
package import TTICore

extension CPUBackend {
    package func norm(_ x: Tensor, _ parameters: NormParameters) -> Tensor {
        checkNorm(x, parameters)
        let result = allocate(x.shape, .float32)
        let (out, source) = unsafe (result.floats, x.floats)
        let (weight, bias) = unsafe (parameters.weight?.floats, parameters.bias?.floats)
        let kernels = unsafe ctti_norm(isa)!
        let width = x.shape.last
        forRows(x.rowCount, cost: 3 * width) { range in
            unsafe kernels.pointee.rows(
                out + range.lowerBound * width, source + range.lowerBound * width, range.count, width,
                parameters.kind == .rms, parameters.epsilon, weight, bias, nil)
        }
        return result
    }

    package func normModulate(_ x: Tensor, _ parameters: NormParameters, _ modulation: Tensor) -> Tensor {
        checkNorm(x, parameters)
        let result = allocate(x.shape, .float32)
        let (out, source) = unsafe (result.floats, x.floats)
        let (weight, bias) = unsafe (parameters.weight?.floats, parameters.bias?.floats)
        let kernels = unsafe ctti_norm(isa)!
        let width = x.shape.last
        unsafe forModulatedRows(x, modulation) { rows, scale in
            unsafe kernels.pointee.rows(
                out + rows.lowerBound * width, source + rows.lowerBound * width, rows.count, width,
                parameters.kind == .rms, parameters.epsilon, weight, bias, scale)
        }
        return result
    }

    func checkNorm(_ x: Tensor, _ parameters: NormParameters) {
        let width = x.shape.last
        precondition(
            parameters.weight?.elementCount ?? width == width && parameters.bias?.elementCount ?? width == width,
            "norm of \(x.shape) with \(parameters.weight?.elementCount ?? width) weights")
    }

    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        groupNorm(x, beside: nil, parameters, activation: activation)
    }

    package func joinedGroupNorm(
        _ x: Tensor, _ other: Tensor, _ parameters: GroupNormParameters, activation: Activation
    ) -> Tensor {
        precondition(x.shape.replacingLast(1) == other.shape.replacingLast(1), "\(x.shape) beside \(other.shape)")
        return groupNorm(x, beside: other, parameters, activation: activation)
    }

    /// - Parameter other: an image whose channels come behind those of x.
    func groupNorm(
        _ x: Tensor, beside other: Tensor?, _ parameters: GroupNormParameters, activation: Activation
    ) -> Tensor {
        let (batch, width) = (x.shape[0], x.shape.last)
        let channels = width + (other?.shape.last ?? 0)
        let result = allocate(x.shape.replacingLast(channels), .float32)
        let pixels = x.elementCount / max(1, batch * width)
        let (out, source, shift) = unsafe (result.floats, x.floats, parameters.bias.floats)
        let factors = unsafe factors(of: parameters, for: x, beside: other)
        let call = unsafe ctti_image_norm(
            mean: factors, scale: factors + channels, shift: shift, activation: Int32(activation.rawValue),
            joined: other.map { unsafe UnsafePointer($0.floats) }, joined_channels: channels - width)
        let isa = isa
        forEachChunk(batch, PixelChunks(pixels: pixels, channels: channels), channels) { image, _, range in
            var call = unsafe call
            unsafe call.mean += image * 2 * channels
            unsafe call.scale += image * 2 * channels
            let first = image * pixels + range.lowerBound
            unsafe ctti_norm_pixels(isa, &call, out + first * channels, source, first, range.count, channels)
        }
        return result
    }

    /// What a group norm makes of x: (x - mean) · scale + the norm's bias.
    /// - Parameters:
    ///   - other: an image whose channels come behind those of x.
    ///   - findsRanges: whether the least and the largest number of every channel are wanted, too.
    /// - Returns: `[batch][mean, scale][channels]`, then ranges `[batch][least, largest][channels]`, then room for as much as one
    ///   image has of these, until the next group norm.
    func factors(
        of parameters: GroupNormParameters, for x: Tensor, beside other: Tensor? = nil, findsRanges: Bool = false
    ) -> UnsafeMutablePointer<Float> {
        let (batch, width, groups) = (x.shape[0], x.shape.last, parameters.groups)
        let channels = width + (other?.shape.last ?? 0)
        precondition(
            channels % groups == 0 && parameters.weight.elementCount == channels
                && parameters.bias.elementCount == channels,
            "\(groups) groups of \(channels) channels, weights \(parameters.weight.shape)")
        let pixels = x.elementCount / max(1, batch * width)
        let chunks = PixelChunks(pixels: pixels, channels: channels)
        let weight = unsafe parameters.weight.floats
        let factors = unsafe CPUBackend.floats((2 * batch + 1) * 2 * channels, of: &normFactors)
        let kernels = unsafe ctti_norm(isa)!
        let momentCount = batch * chunks.count * 2 * channels
        unsafe withScratch((findsRanges ? 2 : 1) * momentCount + 4 * channels) { moments in
            // [batch][chunks][2][channels] and [batch][2][chunks][channels]
            let extremes = unsafe moments + momentCount
            let doubles = unsafe UnsafeMutableRawPointer(findsRanges ? extremes + momentCount : extremes)
                .assumingMemoryBound(to: Double.self)
            forEachChunk(batch, chunks, channels) { image, chunk, range in
                // Of channels from `first` on, which an image of its own has.
                func measure(_ source: Tensor, _ first: Int) {
                    let own = unsafe moments + (image * chunks.count + chunk) * 2 * channels + first
                    let width = source.shape.last
                    let pixel = unsafe source.floats + (image * pixels + range.lowerBound) * width
                    unsafe kernels.pointee.channel_moments(own, own + channels, pixel, range.count, width)
                    guard findsRanges else { return }
                    let least = unsafe extremes + (image * 2 * chunks.count + chunk) * channels + first
                    unsafe kernels.pointee.channel_ranges(
                        least, least + chunks.count * channels, pixel, range.count, width)
                }
                measure(x, 0)
                if let other { measure(other, width) }
            }
            for image in 0..<batch {
                let factor = unsafe factors + image * 2 * channels
                unsafe kernels.pointee.combine_moments(
                    doubles, doubles + channels, moments + image * chunks.count * 2 * channels, pixels,
                    chunks.pixelsEach, channels)
                unsafe joinGroups(doubles, of: channels / groups, pixels: pixels, weight, parameters, into: factor)
                guard findsRanges else { continue }
                for side in 0..<2 {
                    // Of the least ones only the least is kept, of the largest ones the largest.
                    let own = unsafe factors + (2 * (batch + image) + side) * channels
                    let other = unsafe moments + image * chunks.count * 2 * channels
                    unsafe kernels.pointee.channel_ranges(
                        side == 0 ? own : other, side == 0 ? other : own,
                        extremes + (image * 2 + side) * chunks.count * channels, chunks.count, channels)
                }
            }
        }
        return unsafe factors
    }

    /// An image's means and scales of channels from their moments, group by group.
    private func joinGroups(
        _ moments: UnsafeMutablePointer<Double>, of width: Int, pixels: Int, _ weight: UnsafePointer<Float>,
        _ parameters: GroupNormParameters, into factor: UnsafeMutablePointer<Float>
    ) {
        let channels = width * parameters.groups
        for group in 0..<parameters.groups {
            let range = group * width..<(group + 1) * width
            let mean = range.reduce(0) { unsafe $0 + moments[$1] } / Double(width)
            var variance = 0.0
            for channel in range {
                let offset = unsafe moments[channel] - mean
                unsafe variance += moments[channels + channel] / Double(pixels) + offset * offset
            }
            let scale = 1 / (variance / Double(width) + Double(parameters.epsilon)).squareRoot()
            for channel in range {
                unsafe factor[channel] = Float(mean)
                unsafe factor[channels + channel] = Float(scale * Double(weight[channel]))
            }
        }
    }

    package func globalResponseNorm(_ x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor {
        let (batch, channels) = (x.shape[0], x.shape.last)
        precondition(
            gamma.elementCount == channels && beta.elementCount == channels,
            "\(x.shape) with gamma \(gamma.shape), beta \(beta.shape)")
        let result = allocate(x.shape, .float32)
        let pixels = x.elementCount / max(1, batch * channels)
        let chunks = PixelChunks(pixels: pixels, channels: channels)
        let (out, source) = unsafe (result.floats, x.floats)
        let (gammas, betas) = unsafe (gamma.floats, beta.floats)
        let kernels = unsafe ctti_norm(isa)!
        let squareCount = batch * chunks.count * channels
        unsafe withScratch(squareCount + (batch + 3) * channels) { memory in
            let sums = unsafe UnsafeMutableRawPointer(memory).assumingMemoryBound(to: Double.self)
            let squares = unsafe memory + 2 * channels
            let factors = unsafe squares + squareCount
            let zeros = unsafe factors + batch * channels
            unsafe zeros.update(repeating: 0, count: channels)
            forEachChunk(batch, chunks, channels) { image, chunk, range in
                unsafe kernels.pointee.channel_squares(
                    squares + (image * chunks.count + chunk) * channels,
                    source + (image * pixels + range.lowerBound) * channels, range.count, channels)
            }
            for image in 0..<batch {
                let factor = unsafe factors + image * channels
                unsafe kernels.pointee.sum_chunks(
                    sums, squares + image * chunks.count * channels, chunks.count, channels)
                let total = (0..<channels).reduce(0) { unsafe $0 + sums[$1].squareRoot() }
                // gamma · x · n + x = x · (gamma · n + 1).
                let perMean = 1 / (total / Double(channels) + 1e-6)
                for channel in 0..<channels {
                    unsafe factor[channel] = Float(Double(gammas[channel]) * sums[channel].squareRoot() * perMean + 1)
                }
            }
            forEachChunk(batch, chunks, channels) { image, _, range in
                let first = (image * pixels + range.lowerBound) * channels
                unsafe kernels.pointee.channel_affine(
                    out + first, source + first, range.count, channels, zeros, factors + image * channels, betas,
                    Int32(Activation.identity.rawValue))
            }
        }
        return result
    }

    private func forEachChunk(
        _ batch: Int, _ chunks: PixelChunks, _ channels: Int, _ body: (Int, Int, Range<Int>) -> Void
    ) {
        forRows(batch * chunks.count, cost: 2 * chunks.pixelsEach * channels) { range in
            for index in range {
                let (image, chunk) = index.quotientAndRemainder(dividingBy: chunks.count)
                body(image, chunk, chunks.range(chunk))
            }
        }
    }
}

/// An image's pixels in pieces that stay in the first cache while their mean and their squares are summed. Follows from
/// the shape alone, so that sums do not depend on the threads.
private struct PixelChunks {
    let pixels: Int
    let pixelsEach: Int
    let count: Int

    init(pixels: Int, channels: Int) {
        self.pixels = pixels
        pixelsEach = max(16, 8192 / max(1, channels))
        count = (pixels + pixelsEach - 1) / pixelsEach
    }

    func range(_ chunk: Int) -> Range<Int> { chunk * pixelsEach..<min(pixels, (chunk + 1) * pixelsEach) }
}
