internal import CTTICUDA
package import TTICore

extension CUDABackend {
    /// Threads of a block of image_norm.cu that stand side by side over a pixel's vectors.
    private static let threads = 256

    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        let groups = parameters.groups
        precondition(x.shape.rank == 4 && x.shape[3] % groups == 0, "\(x.shape) in \(groups) groups")
        checkActivations(x)
        let y = allocate(x.shape, activationType)
        guard y.elementCount > 0 else { return y }
        let (images, pixels, channels) = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
        precondition(pixels * channels < 1 << 31, "an image of \(x.shape)")
        let isAligned = (x.address | y.address) % 16 == 0
        var call = tti_group_norm(
            y: y.device, x: x.device, weight: parameters.weight.device, bias: parameters.bias.device, slices: 0,
            statistics: 0, counters: 0, pixels: Int64(pixels), channels: Int32(channels), groups: Int32(groups),
            activation: Int32(activation.rawValue), epsilon: parameters.epsilon)
        let vectors = channels / lanes
        // A block reads a small group three times; larger images are shared by more blocks than there are groups.
        if pixels * channels / groups <= 16384 || channels % lanes != 0 || vectors > CUDABackend.threads || !isAligned {
            let isWhole = isAligned && channels / groups % lanes == 0
            launch(isWhole ? "group_norm" : "group_norm_any", grid: (groups, images, 1), threads: 512, call)
            return y
        }
        let atOnce = CUDABackend.threads / vectors
        let slices = max(1, min(256, pixels / (8 * atOnce)))
        call.slices = scratch("group norm slices", images * groups * slices * 12).device
        call.statistics = scratch("group norm statistics", images * groups * 8).device
        call.counters = counters(images).device
        launch("group_statistics", grid: (slices, images, 1), threads: CUDABackend.threads, call)
        let parts = max(1, min(1024, pixels / (4 * atOnce)))
        launch("group_apply", grid: (parts, images, 1), threads: CUDABackend.threads, call)
        return y
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
        let perBlock = 16 * (isWhole ? lanes : 1)
        launch(
            "response_lengths" + ending, grid: ((channels + perBlock - 1) / perBlock, images, 1), threads: 256, call)
        // Four vectors a thread or more: every block adds up the lengths first.
        let blocks = max(1, min(pixels, pixels * channels / perBlock * 16 / 4096))
        launch("response_apply" + ending, grid: (blocks, images, 1), threads: 256, call)
        return y
    }
}
