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

    /// Rows that somebody makes something else of: `body` gets `count` of them from `first` on, normed, a row at a time.
    /// - Parameters:
    ///   - x: rows of `width` numbers, `stride` apart; they are read as they are without a norm, all at once.
    ///   - cost: of a row beside its norm, in reads and writes of an element.
    func forNormedRows(
        _ x: UnsafePointer<Float>, stride: Int, rows: Int, width: Int, _ norm: NormParameters?, cost: Int,
        _ body: (_ first: Int, _ count: Int, _ x: UnsafePointer<Float>) -> Void
    ) {
        guard let norm else {
            return forRows(rows, cost: cost) { range in
                unsafe body(range.lowerBound, range.count, x + range.lowerBound * stride)
            }
        }
        let (weight, bias, kernels) = unsafe (norm.weight?.floats, norm.bias?.floats, ctti_norm(isa)!)
        unsafe forRows(rows, cost: cost + 3 * width, scratch: width) { range, normed in
            for row in range {
                unsafe kernels.pointee.rows(
                    normed, x + row * stride, 1, width, norm.kind == .rms, norm.epsilon, weight, bias, nil)
                unsafe body(row, 1, normed)
            }
        }
    }

    func checkNorm(_ x: Tensor, _ parameters: NormParameters) {
        let width = x.shape.last
        precondition(
            parameters.weight?.elementCount ?? width == width && parameters.bias?.elementCount ?? width == width,
            "norm of \(x.shape) with \(parameters.weight?.elementCount ?? width) weights")
    }

    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        let (batch, channels) = (x.shape[0], x.shape.last)
        let result = allocate(x.shape, .float32)
        let pixels = x.elementCount / max(1, batch * channels)
        let (out, source, shift) = unsafe (result.floats, x.floats, parameters.bias.floats)
        let factors = unsafe factors(of: parameters, for: x)
        let kernels = unsafe ctti_norm(isa)!
        forEachChunk(batch, PixelChunks(pixels: pixels, channels: channels), channels) { image, _, range in
            let first = (image * pixels + range.lowerBound) * channels
            let factor = unsafe factors + image * 2 * channels
            unsafe kernels.pointee.channel_affine(
                out + first, source + first, range.count, channels, factor, factor + channels, shift,
                Int32(activation.rawValue))
        }
        return result
    }

    /// What a group norm makes of x: (x - mean) · scale + the norm's bias.
    /// - Parameter findsRanges: whether the least and the largest number of every channel are wanted, too.
    /// - Returns: `[batch][mean, scale][channels]`, then ranges `[batch][least, largest][channels]`, then room for as much as one
    ///   image has of these, until the next group norm.
    func factors(
        of parameters: GroupNormParameters, for x: Tensor, findsRanges: Bool = false
    ) -> UnsafeMutablePointer<Float> {
        let (batch, channels, groups) = (x.shape[0], x.shape.last, parameters.groups)
        precondition(
            channels % groups == 0 && parameters.weight.elementCount == channels
                && parameters.bias.elementCount == channels,
            "\(groups) groups of \(x.shape), weights \(parameters.weight.shape)")
        let pixels = x.elementCount / max(1, batch * channels)
        let chunks = PixelChunks(pixels: pixels, channels: channels)
        let (source, weight) = unsafe (x.floats, parameters.weight.floats)
        let factors = unsafe CPUBackend.floats((2 * batch + 1) * 2 * channels, of: &normFactors)
        let kernels = unsafe ctti_norm(isa)!
        let momentCount = batch * chunks.count * 2 * channels
        unsafe withScratch((findsRanges ? 2 : 1) * momentCount + 4 * channels) { moments in
            // [batch][chunks][2][channels] and [batch][2][chunks][channels]
            let extremes = unsafe moments + momentCount
            let doubles = unsafe UnsafeMutableRawPointer(findsRanges ? extremes + momentCount : extremes)
                .assumingMemoryBound(to: Double.self)
            forEachChunk(batch, chunks, channels) { image, chunk, range in
                let own = unsafe moments + (image * chunks.count + chunk) * 2 * channels
                let pixel = unsafe source + (image * pixels + range.lowerBound) * channels
                unsafe kernels.pointee.channel_moments(own, own + channels, pixel, range.count, channels)
                guard findsRanges else { return }
                let least = unsafe extremes + (image * 2 * chunks.count + chunk) * channels
                unsafe kernels.pointee.channel_ranges(
                    least, least + chunks.count * channels, pixel, range.count, channels)
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
