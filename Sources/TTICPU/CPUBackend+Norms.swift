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

    private func checkNorm(_ x: Tensor, _ parameters: NormParameters) {
        let width = x.shape.last
        precondition(
            parameters.weight?.elementCount ?? width == width && parameters.bias?.elementCount ?? width == width,
            "norm of \(x.shape) with \(parameters.weight?.elementCount ?? width) weights")
    }

    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        let (batch, channels) = (x.shape[0], x.shape.last)
        let groups = parameters.groups
        precondition(
            channels % groups == 0 && parameters.weight.elementCount == channels
                && parameters.bias.elementCount == channels,
            "\(groups) groups of \(x.shape), weights \(parameters.weight.shape)")
        let result = allocate(x.shape, .float32)
        let pixels = x.elementCount / max(1, batch * channels)
        let chunks = PixelChunks(pixels: pixels, channels: channels)
        let (out, source) = unsafe (result.floats, x.floats)
        let (weight, bias) = unsafe (parameters.weight.floats, parameters.bias.floats)
        let kernels = unsafe ctti_norm(isa)!
        unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: batch * (chunks.count + 1) * 2 * channels) {
            let moments = $0.baseAddress!
            let factors = unsafe moments + batch * chunks.count * 2 * channels
            forEachChunk(batch, chunks, channels) { image, chunk, range in
                let own = unsafe moments + (image * chunks.count + chunk) * 2 * channels
                unsafe kernels.pointee.channel_moments(
                    own, own + channels, source + (image * pixels + range.lowerBound) * channels, range.count, channels)
            }
            for image in 0..<batch {
                let own = unsafe moments + image * chunks.count * 2 * channels
                let factor = unsafe factors + image * 2 * channels
                unsafe combineMoments(own, chunks, channels: channels, groups: groups) { group, mean, variance in
                    let scale = 1 / (variance + Double(parameters.epsilon)).squareRoot()
                    for channel in group * (channels / groups)..<(group + 1) * (channels / groups) {
                        unsafe factor[channel] = Float(mean)
                        unsafe factor[channels + channel] = Float(scale * Double(weight[channel]))
                    }
                }
            }
            forEachChunk(batch, chunks, channels) { image, _, range in
                let first = (image * pixels + range.lowerBound) * channels
                let factor = unsafe factors + image * 2 * channels
                unsafe kernels.pointee.channel_affine(
                    out + first, source + first, range.count, channels, factor, factor + channels, bias,
                    Int32(activation.rawValue))
            }
        }
        return result
    }

    /// The mean and variance of every group from those of its channels in every chunk (Chan, Golub, LeVeque 1979), in
    /// double precision and in a fixed order.
    private func combineMoments(
        _ moments: UnsafeMutablePointer<Float>, _ chunks: PixelChunks, channels: Int, groups: Int,
        _ body: (Int, Double, Double) -> Void
    ) {
        let groupWidth = channels / groups
        for group in 0..<groups {
            var (sum, count) = (0.0, 0.0)
            for chunk in 0..<chunks.count {
                let weight = Double(chunks.range(chunk).count)
                for channel in group * groupWidth..<(group + 1) * groupWidth {
                    unsafe sum += weight * Double(moments[chunk * 2 * channels + channel])
                    count += weight
                }
            }
            let mean = sum / count
            var squares = 0.0
            for chunk in 0..<chunks.count {
                let weight = Double(chunks.range(chunk).count)
                for channel in group * groupWidth..<(group + 1) * groupWidth {
                    let offset = unsafe Double(moments[chunk * 2 * channels + channel]) - mean
                    unsafe squares += Double(moments[(chunk * 2 + 1) * channels + channel]) + weight * offset * offset
                }
            }
            body(group, mean, squares / count)
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
        unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: (batch * (chunks.count + 1) + 1) * channels) {
            let squares = $0.baseAddress!
            let factors = unsafe squares + batch * chunks.count * channels
            let zeros = unsafe factors + batch * channels
            unsafe zeros.update(repeating: 0, count: channels)
            forEachChunk(batch, chunks, channels) { image, chunk, range in
                unsafe kernels.pointee.channel_squares(
                    squares + (image * chunks.count + chunk) * channels,
                    source + (image * pixels + range.lowerBound) * channels, range.count, channels)
            }
            for image in 0..<batch {
                var total = 0.0
                let factor = unsafe factors + image * channels
                for channel in 0..<channels {
                    var sum = 0.0
                    for chunk in 0..<chunks.count {
                        unsafe sum += Double(squares[(image * chunks.count + chunk) * channels + channel])
                    }
                    total += sum.squareRoot()
                    unsafe factor[channel] = Float(sum.squareRoot())
                }
                // gamma · x · n + x = x · (gamma · n + 1).
                let perMean = Float(1 / (total / Double(channels) + 1e-6))
                for channel in 0..<channels {
                    unsafe factor[channel] = gammas[channel] * factor[channel] * perMean + 1
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
