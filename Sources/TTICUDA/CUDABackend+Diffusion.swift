internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func combine(_ output: Tensor, in state: DiffusionState) {
        state.check(output)
        checkActivations(state.input)
        let kept = state.keptCount
        precondition(kept <= Int(TTI_MOST_KEPT), "a scheduler that keeps \(kept) tensors")
        launch(
            kernel("combine", of: output), elements: output.elementCount, each: 1,
            tti_combine(
                output: output.device, input: state.input.device, latents: state.latents.device,
                weights: state.weights.device, input_scale: state.inputScale.device, noise: state.noise.device,
                mask: (state.picture?.mask).device, picture: (state.picture?.parts).device,
                picture_weights: (state.picture?.weights).device, position: state.position.device,
                count: Int64(output.elementCount), channels: Int64(output.shape.last), kept: Int32(kept),
                limit: state.limit))
    }
}
