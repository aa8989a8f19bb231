internal import CTTICUDA
package import TTICore

extension CUDABackend {
    /// Threads of a block of image_norm.cu, and vectors that a thread has under way.
    private static let (sliceThreads, applyThreads, groupThreads, ahead) = (512, 256, 512, 8)
    /// Blocks of an image that the last of them can join.
    private static let mostSlices = 160
    /// Of an image's partial statistics, while every block of a kernel joins them all: what it reads of the image.
    private static let mostPartBytes = 32 << 10

    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        groupNorm(x, beside: nil, parameters, activation: activation)
    }

    /// - Parameter other: an image whose channels come behind those of x.
    private func groupNorm(
        _ x: Tensor, beside other: Tensor?, _ parameters: GroupNormParameters, activation: Activation
    ) -> Tensor {
        let groups = parameters.groups
        let channels = x.shape.last + (other?.shape.last ?? 0)
        precondition(x.shape.rank == 4 && channels % groups == 0, "\(channels) channels in \(groups) groups")
        checkActivations(x)
        if let other { checkActivations(other) }
        let y = allocate(x.shape.replacingLast(channels), activationType)
        guard y.elementCount > 0 else { return y }
        let (images, pixels) = (x.shape[0], x.shape[1] * x.shape[2])
        precondition(pixels * channels < 1 << 31, "an image of \(x.shape)")
        let isAligned = (x.address | y.address) % 16 == 0 && (other.map { canRead(x, joined: $0) } ?? true)
        var call = tti_group_norm(
            y: y.device, x: x.device, joined: other.device, weight: parameters.weight.device,
            bias: parameters.bias.device, slices: 0, statistics: 0, counters: 0, pixels: Int64(pixels),
            channels: Int32(channels), own_channels: Int32(x.shape.last), groups: Int32(groups),
            activation: Int32(activation.rawValue), pixels_of_block: 0, epsilon: parameters.epsilon,
            partial: tti_partial_statistics())
        let (vectors, width) = (channels / lanes, channels / groups)
        if isAligned, width % lanes == 0, width / lanes <= CUDABackend.groupThreads {
            let held = pixels.dividedUp(by: CUDABackend.groupThreads / (width / lanes))
            if let kernel = [1, 2, 4, 8].first(where: { held <= $0 }) {
                launch(
                    "group_norm_\(kernel)", grid: (groups, images, 1), threads: CUDABackend.groupThreads, call)
                return y
            }
        }
        // An element at a time is no slower where there are few.
        guard isAligned, channels % lanes == 0, vectors <= CUDABackend.applyThreads, pixels * width > 8192 else {
            launch("group_norm_any", grid: (groups, images, 1), threads: CUDABackend.groupThreads, call)
            return y
        }
        func apply(_ kernel: String) {
            let perBlock = CUDABackend.ahead * (CUDABackend.applyThreads / vectors)
            call.pixels_of_block = Int32(perBlock)
            launch(
                kernel, grid: (pixels.dividedUp(by: perBlock), images, 1), threads: CUDABackend.applyThreads, call)
        }
        if other == nil, let partial = partialStatistics(of: x, groups: groups) {
            call.partial = partial
            let partBytes = 8 * Int(partial.boxes * partial.parts_of_box)
            if groups <= TTI_MOST_JOINED_GROUPS, partBytes <= CUDABackend.mostPartBytes {
                apply("group_apply_parts")
                return y
            }
            call.statistics = scratch("group norm statistics", images * groups * 8).device
            launch("group_join", grid: (groups, images, 1), threads: CUDABackend.applyThreads, call)
        } else {
            // A block for each multiprocessor, each thread with as many pixels as the next one.
            let atOnce = CUDABackend.sliceThreads / vectors
            let most = min(device.multiprocessorCount, CUDABackend.mostSlices)
            let perSlice = max(CUDABackend.ahead, pixels.dividedUp(by: most * atOnce)) * atOnce
            let slices = pixels.dividedUp(by: perSlice)
            call.slices = scratch("group norm slices", images * groups * slices * 8).device
            call.statistics = scratch("group norm statistics", images * groups * 8).device
            call.counters = counters(images).device
            call.pixels_of_block = Int32(perSlice)
            launch("group_statistics", grid: (slices, images, 1), threads: CUDABackend.sliceThreads, call)
        }
        apply("group_apply")
        return y
    }

    package func joinedGroupNorm(
        _ x: Tensor, _ other: Tensor, _ parameters: GroupNormParameters, activation: Activation
    ) -> Tensor {
        precondition(x.shape.replacingLast(1) == other.shape.replacingLast(1), "\(x.shape) beside \(other.shape)")
        return groupNorm(x, beside: other, parameters, activation: activation)
    }

    package func globalResponseNorm(_ x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor {
        let (images, pixels, channels) = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
        precondition(
            x.shape.rank == 4 && gamma.elementCount == channels && beta.elementCount == channels,
            "\(x.shape) with \(gamma.shape) and \(beta.shape)")
        checkActivations(x)
        let y = allocate(x.shape, activationType)
        guard y.elementCount > 0 else { return y }
        let isWhole = channels % lanes == 0 && (x.address | y.address | gamma.address | beta.address) % 16 == 0
        let call = tti_response_norm(
            y: y.device, x: x.device, gamma: gamma.device, beta: beta.device,
            lengths: scratch("channel lengths", images * channels * 4).device, pixels: Int64(pixels),
            channels: Int32(channels))
        let ending = isWhole ? "" : "_any"
        let each = isWhole ? lanes : 1
        launch(
            "response_lengths" + ending, grid: (channels.dividedUp(by: 8 * each), images, 1), threads: 256, call)
        // Every block adds up the lengths first.
        let turns = min(4096, pixels.dividedUp(by: CUDABackend.ahead))
        launch(
            "response_apply" + ending, grid: (channels.dividedUp(by: 128 * each), turns, images), threads: 128, call)
        return y
    }
}

extension Int {
    /// The quotient, rounded up.
    func dividedUp(by divisor: Int) -> Int { (self + divisor - 1) / divisor }
}
