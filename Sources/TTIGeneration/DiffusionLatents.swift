internal import Glibc
package import TTICore

/// What a batch begins with: noise, or a picture in noise, and the noise of the steps. Every image draws its own, keyed by its
/// seed.
struct DiffusionLatents {
    /// `[images, height, width, channels]`
    let sample: HostTensor
    /// `[steps, images, height, width, channels]`; nil when steps add none.
    let noise: HostTensor?
    /// Where a part of a picture is kept.
    let picture: KeptPicture?

    init(_ batch: ImageBatch, _ plan: DiffusionPlan, channels: Int) {
        let (height, width) = (batch.settings.gridHeight, batch.settings.gridWidth)
        let count = height * width * channels
        let (images, steps) = (batch.items.count, plan.isStochastic ? plan.updates.count : 0)
        var starts: [Float] = []
        var starting: [Float] = []
        var noises = [[Float]](repeating: [], count: steps)
        for item in batch.items {
            var source = LatentNoise(
                item.seed, batch.settings.randomNumbers, height: height, width: width, channels: channels)
            let start = item.initialLatents ?? source.next(.latent, position: 0)
            starts += start
            starting += DiffusionLatents.sample(start, item.picture, plan, isWhole: batch.firstStep == 0)
            for step in 0..<steps { noises[step] += source.next(.noise, position: batch.firstStep + step) }
        }
        let shape: Shape = [images, height, width, channels]
        sample = HostTensor(starting, shape)
        noise = steps == 0 ? nil : HostTensor(noises.flatMap { $0 }, Shape([steps] + shape.array))
        guard batch.items.contains(where: { $0.open != nil }) else {
            picture = nil
            return
        }
        let open = batch.items.flatMap { $0.open ?? [Bool](repeating: true, count: height * width) }
        let pictures = batch.items.flatMap { $0.picture ?? [Float](repeating: 0, count: count) }
        picture = KeptPicture(
            mask: HostTensor(open.map { $0 ? Float(1) : 0 }, [images, height, width, 1]),
            parts: HostTensor(pictures + starts, Shape([2] + shape.array)))
    }

    /// Noise at the plan's first level, alone or around a picture.
    /// - Parameter isWhole: whether all steps are done, after which nothing of a picture is left anyway.
    private static func sample(
        _ noise: [Float], _ picture: [Float]?, _ plan: DiffusionPlan, isWhole: Bool
    ) -> [Float] {
        guard let picture, !isWhole else { return noise.map { $0 * Float(plan.initialScale) } }
        let (signal, share) = (Float(plan.levels[0].signal), Float(plan.levels[0].noise))
        return zip(picture, noise).map { signal * $0 + share * $1 }
    }
}

/// Standard normal numbers of one image.
struct LatentNoise {
    private let stream: RandomStream
    private var torch: TorchRandomStream?
    private let height: Int, width: Int, channels: Int

    init(_ seed: UInt64, _ kind: RandomNumbers, height: Int, width: Int, channels: Int) {
        stream = RandomStream(seed: seed)
        torch = kind == .torch ? TorchRandomStream(seed: seed) : nil
        (self.height, self.width, self.channels) = (height, width, channels)
    }

    /// `[height, width, channels]`. PyTorch's are drawn one after the other, in its own order `[channels, height, width]`.
    mutating func next(_ purpose: RandomStream.Purpose, position: Int) -> [Float] {
        let pixels = height * width
        if let drawn = torch?.normals(pixels * channels) {
            return (0..<pixels * channels).map { drawn[$0 % channels * pixels + $0 / channels] }
        }
        return stream.normals(purpose, position: position, count: pixels * channels)
    }
}

extension RandomStream {
    /// Standard normal numbers by Box and Muller: two words make two numbers, the radius from the first.
    package func normals(_ purpose: Purpose, position: Int, count: Int) -> [Float] {
        var numbers: [Float] = []
        numbers.reserveCapacity(count + 3)
        for index in stride(from: 0, to: count, by: 4) {
            let words = block(
                SIMD4(UInt32(truncatingIfNeeded: index / 4), UInt32(truncatingIfNeeded: position), purpose.rawValue, 0))
            for pair in [0, 2] {
                let radius = sqrtf(-2 * logf(RandomStream.uniform(words[pair])))
                let angle = 2 * Float.pi * RandomStream.uniform(words[pair + 1])
                numbers += [radius * cosf(angle), radius * sinf(angle)]
            }
        }
        return Array(numbers.prefix(count))
    }
}
