internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor {
        let (images, width) = (tokens.shape[0], tokens.shape[1])
        let result = allocate([images, count], .int32)
        launch(
            "masked_places", grid: (images, 1, 1), threads: 1024,
            tti_masked_places(
                y: result.device, tokens: tokens.device, width: Int64(width), count: Int64(count),
                mask_token: Int32(maskToken)))
        return result
    }

    package func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid) {
        let (images, width) = (grid.tokens.shape[0], grid.tokens.shape[1])
        let (count, vocabulary, steps) = (places.shape[1], logits.shape.last, grid.remaining.elementCount)
        let rowImages = logits.shape[0]
        precondition(
            (rowImages == images || rowImages == 1) && logits.shape[1] == count && places.shape[0] == images
                && grid.predicted.shape == grid.tokens.shape,
            "\(logits.shape) at \(places.shape) into \(grid.tokens.shape)")
        precondition(
            grid.noise.elementCount == steps && (grid.order.map { $0.elementCount == width } ?? true),
            "noise of \(grid.noise.elementCount) steps of \(steps), an order \(String(describing: grid.order?.shape))")
        let draw = tti_draw(state, images: images, vocabulary: vocabulary, on: self)
        let (rowOfLogits, rowOfPlaces) = (sharedBytes(vocabulary), sharedBytes(count))
        let between = scratch("unmask", images * count * 8)
        let parameters = tti_unmask(
            draw: draw, tokens: grid.tokens.device, predicted: grid.predicted.device, places: places.device,
            logits: logits.device, remaining: grid.remaining.device, noise: grid.noise.device,
            order: grid.order.device, drawn: between.device, confidences: between.device + UInt64(images * count * 4),
            width: Int64(width), count: Int64(count), steps: Int64(steps), is_one_row: rowImages == images ? 0 : 1,
            is_shared: rowOfPlaces.holdsRow ? 1 : 0, mask_token: Int32(grid.maskToken))
        launch(
            kernel("unmask_draw", of: logits), grid: (images * count, 1, 1), threads: 256, shared: rowOfLogits.count,
            parameters)
        launch("unmask_rank", grid: (images, 1, 1), threads: 1024, shared: rowOfPlaces.count, parameters)
    }
}
