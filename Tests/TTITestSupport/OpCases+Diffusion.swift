internal import TTICore

extension OpCase {
    /// - Parameters:
    ///   - kept: how many tensors the scheduler keeps.
    ///   - limit: of the predicted picture, whose numbers have a variance of about 1.
    @inline(never) private static func combine(
        _ images: Int, _ image: Shape, kept: Int = 0, step: Int = 0, limit: Float = .infinity, hasNoise: Bool = false,
        hasPicture: Bool = false, isGuided: Bool = false, purpose: Purpose = .check
    ) -> OpCase {
        let detail =
            "\(images)×\(image) \(kept) kept, step \(step), limit \(limit)\(hasNoise ? ", noise" : "")"
            + (hasPicture ? ", picture" : "") + (isGuided ? ", of float32" : "")
        return OpCase("combine", detail, purpose: purpose, batch: images) { inputs in
            let (b, steps) = (inputs.backend, step + 2)
            func stacked(_ count: Int) -> Tensor {
                let tensor = inputs.batched(image, stacks: count, .float32) { $0.normal() }
                return tensor.reshaped(Shape([count, inputs.batch] + image.array))
            }
            let output = isGuided ? inputs.batched(image, .float32) { $0.normal() } : inputs.batched(image)
            let (rows, columns) = (2 + kept, 4 + kept)
            var weights = RandomNumbers(UInt64(rows))
            let table = (0..<steps * rows * columns).map { index in
                // the predicted picture is not made of itself
                index % columns == 2 && index / columns % rows == 0 ? 0 : weights.normal()
            }
            var picture: DiffusionState.Picture?
            if hasPicture {
                picture = DiffusionState.Picture(
                    mask: inputs.batched([image[0], image[1], 1], stacks: 1, .float32) { $0.uniform() < 0.5 ? 0 : 1 },
                    parts: stacked(2),
                    weights: inputs.numbers((0..<2 * steps).map { 0.5 + Float($0) / 8 }, [steps, 2]))
            }
            let state = DiffusionState(
                input: inputs.batched(image), latents: stacked(2 + kept),
                weights: inputs.numbers(table, [steps, rows, columns]),
                inputScale: inputs.numbers((0..<steps).map { 1 / Float($0 + 1) }, [steps]), limit: limit,
                noise: hasNoise ? stacked(steps) : nil, picture: picture, position: inputs.integers([step], [1]))
            let changed = [state.input] + (0..<2 + kept).map { state.slot($0) }
            return {
                b.combine(output, in: state)
                return changed
            }
        }
    }

    static let diffusionCases: [OpCase] = [
        combine(1, [1, 1, 1]),
        combine(3, [2, 3, 4], step: 1),
        combine(2, [3, 5, 4], limit: 0.5),
        combine(3, [3, 3, 3], kept: 1, step: 2),
        combine(2, [5, 7, 4], kept: 5, step: 3),
        combine(3, [2, 2, 4], step: 1, hasNoise: true),
        combine(2, [4, 3, 4], kept: 1, step: 1, hasPicture: true),
        combine(2, [2, 3, 5], kept: 2, limit: 1, hasNoise: true, hasPicture: true),
        combine(2, [5, 3, 4], kept: 1, step: 1, isGuided: true),
        combine(1, [64, 64, 4], kept: 1, step: 4, purpose: .checkAndMeasure),
    ]
}
