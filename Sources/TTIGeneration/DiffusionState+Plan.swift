package import TTICore
internal import TTIModels

extension Backend {
    /// What a plan works on, in the arena.
    /// - Parameters:
    ///   - sample: `[images, height, width, channels]`, of the plan's first level.
    ///   - noise: `[steps, images, height, width, channels]` when the plan adds some.
    ///   - picture: a picture of which a part is kept, and the noise that it is hidden in.
    package func diffusionState(
        _ plan: DiffusionPlan, sample: HostTensor, noise: HostTensor? = nil, picture: KeptPicture? = nil
    ) -> DiffusionState {
        let (steps, kept) = (plan.updates.count, plan.memoryCount)
        let scales = plan.updates.map { Float($0.inputScale) }
        let zeros = [Float](repeating: 0, count: (1 + kept) * sample.elementCount)
        let input = sample.floats().map { $0 * (scales.first ?? 1) }
        return DiffusionState(
            input: uploadActivations(HostTensor(input, sample.shape)),
            latents: upload(HostTensor(sample.floats() + zeros, Shape([2 + kept] + sample.shape.array))),
            weights: upload(HostTensor(plan.weights, [steps, 2 + kept, 4 + kept])),
            // the network sees the next sample at the next step
            inputScale: upload(HostTensor(Array((scales + [1]).dropFirst()), [steps])), limit: plan.limit,
            noise: noise.map { upload($0) }, picture: picture.map { $0.upload(plan, on: self) },
            position: upload(HostTensor([Int32(0)], [1])))
    }
}

/// A picture of which a part is kept while the rest is made anew.
package struct KeptPicture {
    /// `[images, height, width, 1]`: 1 where it is made anew.
    let mask: HostTensor
    /// `[2, images, height, width, channels]`: the picture, and the noise that it is hidden in.
    let parts: HostTensor

    package init(mask: HostTensor, parts: HostTensor) {
        self.mask = mask
        self.parts = parts
    }

    fileprivate func upload(_ plan: DiffusionPlan, on b: any Backend) -> DiffusionState.Picture {
        // after the last step the picture is as it was given
        let levels = plan.levels.dropFirst().dropLast() + [.clean]
        let weights = levels.flatMap { [Float($0.signal), Float($0.noise)] }
        return DiffusionState.Picture(
            mask: b.upload(mask), parts: b.upload(parts),
            weights: b.upload(HostTensor(weights, [plan.updates.count, 2])))
    }
}

extension DiffusionPlan {
    /// The weights of all steps as `combine` takes them, `[steps, 2 + kept, 4 + kept]`.
    fileprivate var weights: [Float] {
        updates.flatMap { update in
            let next = (0..<memoryCount).map { update.memory[$0] ?? .kept($0) }
            return ([update.predicted, update.sample] + next).flatMap { mix in
                let memory = mix.memory + [Double](repeating: 0, count: memoryCount - mix.memory.count)
                return [mix.sample, mix.output, mix.predicted, mix.noise].map { Float($0) } + memory.map { Float($0) }
            }
        }
    }
}
