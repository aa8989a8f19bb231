/// The latents that diffusion works on, and its plan.
package struct DiffusionState {
    /// `[images, height, width, channels]` in the device's type of activations: what the network sees next.
    package let input: Tensor
    /// `[2 + kept, images, height, width, channels]` float32: the sample, the picture that was predicted last, and what the
    /// scheduler keeps from step to step.
    package let latents: Tensor
    /// `[steps, 2 + kept, 4 + kept]` float32: the weights of the predicted picture, of the next sample and of what is kept
    /// next (rows), each for the sample, the network's output, the predicted picture, noise, and what was kept (columns).
    package let weights: Tensor
    /// `[steps]` float32: what the next sample is multiplied by for the network.
    package let inputScale: Tensor
    /// Predicted pictures are limited to this, up and down.
    package let limit: Float
    /// `[steps, images, height, width, channels]` float32: noise of every step; nil: none.
    package let noise: Tensor?
    /// What of a given picture is kept; nil: nothing.
    package let picture: Picture?
    /// `[1]` int32: the index of the step.
    package let position: Tensor

    /// A picture of which only a part is made anew: elsewhere the next sample is a given sum of the picture and of noise.
    package struct Picture {
        /// `[images, height, width, 1]` float32: 1 where the picture is made anew, 0 where it is kept.
        package let mask: Tensor
        /// `[2, images, height, width, channels]` float32: the picture, and the noise that it is hidden in.
        package let parts: Tensor
        /// `[steps, 2]` float32: the weights of both after each step.
        package let weights: Tensor

        package init(mask: Tensor, parts: Tensor, weights: Tensor) {
            self.mask = mask
            self.parts = parts
            self.weights = weights
        }
    }

    package init(
        input: Tensor, latents: Tensor, weights: Tensor, inputScale: Tensor, limit: Float, noise: Tensor?,
        picture: Picture?,
        position: Tensor
    ) {
        self.input = input
        self.latents = latents
        self.weights = weights
        self.inputScale = inputScale
        self.limit = limit
        self.noise = noise
        self.picture = picture
        self.position = position
    }

    /// How many tensors the scheduler keeps.
    package var keptCount: Int { latents.shape[0] - 2 }

    /// `[images, height, width, channels]`
    package var sample: Tensor { slot(0) }
    /// The picture that was predicted last.
    package var predicted: Tensor { slot(1) }

    /// The sample, the predicted picture, what is kept.
    package func slot(_ index: Int) -> Tensor {
        latents.prefixRows(index..<index + 1).reshaped(latents.shape[1..<latents.shape.rank])
    }

    /// Traps when the shapes do not belong together.
    package func check(_ output: Tensor) {
        let (kept, steps) = (keptCount, weights.shape[0])
        let image = latents.shape[1..<latents.shape.rank]
        precondition(
            kept >= 0 && output.shape == image && input.shape == image && weights.shape == [steps, 2 + kept, 4 + kept]
                && inputScale.elementCount == steps,
            "\(output.shape) into \(latents.shape) by \(weights.shape) and \(inputScale.shape)")
        precondition(
            noise.map { $0.elementCount == steps * image.elementCount } ?? true, "noise of \(steps) steps of \(image)")
        if let picture {
            precondition(
                picture.mask.elementCount * image.last == image.elementCount
                    && picture.parts.elementCount == 2 * image.elementCount && picture.weights.shape == [steps, 2],
                "\(picture.parts.shape) under \(picture.mask.shape) for \(image)")
        }
    }
}
