package import TTICore
import TTIFormats

/// From training steps, and for SDXL from pooled text and sizes, to what the residual blocks are told.
package struct UNetConditioning {
    let timeIn: Linear, timeOut: Linear
    let addedIn: Linear?, addedOut: Linear?

    /// SDXL's second condition.
    package struct Added {
        /// `[prompts, pooled width]`
        package let pooled: Tensor
        /// Of each prompt: height, width, two crops, height, width.
        package let sizes: [[Float]]

        package init(pooled: Tensor, sizes: [[Float]]) {
            self.pooled = pooled
            self.sizes = sizes
        }
    }

    init(_ weights: Weights, _ c: UNetConfiguration, on b: any Backend) throws(ModelError) {
        timeIn = try weights.linear(
            "time_embedding.linear_1", from: c.levels[0].channels, to: c.timeWidth, bias: true, on: b)
        timeOut = try weights.linear("time_embedding.linear_2", from: c.timeWidth, to: c.timeWidth, bias: true, on: b)
        if let added = c.added {
            addedIn = try weights.linear(
                "add_embedding.linear_1", from: added.width, to: c.timeWidth, bias: true, on: b)
            addedOut = try weights.linear(
                "add_embedding.linear_2", from: c.timeWidth, to: c.timeWidth, bias: true, on: b)
        } else {
            (addedIn, addedOut) = (nil, nil)
        }
    }

    /// - Returns: SiLU of the embeddings, no block takes them otherwise: `[steps, 1 or prompts, time width]`.
    func callAsFunction(
        _ timesteps: [Float], _ added: Added?, _ c: UNetConfiguration, on b: any Backend
    ) -> Tensor {
        b.scoped {
            let width = c.levels[0].channels
            let waves = b.uploadActivations(
                HostTensor(Sinusoid.cosineFirst(timesteps, width: width), [timesteps.count, width]))
            let times = b.linear(b.linear(waves, timeIn, .silu), timeOut)  // [steps, time width]
            guard let addedIn, let addedOut, let condition = c.added else {
                return b.activate(times, .silu).reshaped([timesteps.count, 1, c.timeWidth])
            }
            guard let added else { preconditionFailure("this network needs pooled text and sizes") }
            let prompts = added.pooled.shape[0]
            precondition(
                added.sizes.count == prompts
                    && added.sizes.allSatisfy { $0.count == UNetConfiguration.AddedCondition.sizeCount },
                "\(added.sizes.count) lists of sizes for \(prompts) prompts")
            let sizes = Sinusoid.cosineFirst(added.sizes.flatMap { $0 }, width: condition.sizeWidth)
            let joined = b.concatenate(
                [
                    added.pooled,
                    b.uploadActivations(HostTensor(sizes, [prompts, sizes.count / prompts])),
                ], axis: 1)  // [prompts, added width]
            let prompt = b.linear(b.linear(joined, addedIn, .silu), addedOut)  // [prompts, time width]
            // every step with every prompt: the same prompts again and again, each time's embedding for each of them
            let each = b.repeated(prompt, rows: timesteps.count * prompts)  // [steps * prompts, time width]
            let places = (0..<timesteps.count * prompts).map { Int32($0 / prompts) }
            let timesOfEach = b.gather(
                times.reshaped([1, timesteps.count, c.timeWidth]),
                b.upload(HostTensor(places, [1, places.count])))  // [1, steps * prompts, time width]
            let sum = b.add(timesOfEach.reshaped(each.shape), each)
            return b.activate(sum, .silu).reshaped([timesteps.count, prompts, c.timeWidth])
        }
    }
}
