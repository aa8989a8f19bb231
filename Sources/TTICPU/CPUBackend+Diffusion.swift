package import TTICore

extension CPUBackend {
    // Bound by nothing: a hundred multiply-adds for every one of a few ten thousand latents, beside 10¹² of the network.
    package func combine(_ output: Tensor, in state: DiffusionState) {
        finishHeld()
        state.check(output)
        let kept = state.keptCount
        let (rows, columns, count) = (2 + kept, 4 + kept, output.elementCount)
        let step = unsafe Int(state.position.integers[0])
        precondition(step >= 0 && step < state.weights.shape[0], "step \(step) of \(state.weights.shape)")
        let weights = unsafe state.weights.floats + step * rows * columns
        let scale = unsafe state.inputScale.floats[step]
        let (latents, input, out) = unsafe (state.latents.floats, state.input.floats, output.floats)
        let noise = unsafe state.noise.map { unsafe $0.floats + step * count }
        let picture = state.picture.map { KeptPart($0, step: step, count: count, channels: output.shape.last) }
        let limit = state.limit
        forRows(count, cost: rows * columns) { range in
            unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: rows + columns) { scratch in
                let values = scratch.baseAddress!
                let results = unsafe values + columns
                func sum(_ row: Int) -> Float {
                    var sum: Float = 0
                    for column in 0..<columns { unsafe sum += weights[row * columns + column] * values[column] }
                    return sum
                }
                for index in range {
                    unsafe values[0] = latents[index]
                    unsafe values[1] = out[index]
                    unsafe values[2] = 0
                    unsafe values[3] = noise?[index] ?? 0
                    for slot in 0..<kept { unsafe values[4 + slot] = latents[(2 + slot) * count + index] }
                    unsafe values[2] = min(max(sum(0), -limit), limit)
                    for row in 1..<rows { unsafe results[row] = sum(row) }
                    let sample = unsafe picture?.blended(results[1], index) ?? results[1]
                    unsafe latents[index] = sample
                    unsafe latents[count + index] = values[2]
                    for slot in 0..<kept { unsafe latents[(2 + slot) * count + index] = results[2 + slot] }
                    unsafe input[index] = scale * sample
                }
            }
        }
    }
}

/// The picture of which a part is kept, at one step.
@safe
private struct KeptPart {
    private let mask: UnsafeMutablePointer<Float>
    private let picture: UnsafeMutablePointer<Float>
    private let noise: UnsafeMutablePointer<Float>
    private let weights: (picture: Float, noise: Float)
    private let channels: Int

    init(_ picture: DiffusionState.Picture, step: Int, count: Int, channels: Int) {
        unsafe mask = picture.mask.floats
        unsafe self.picture = picture.parts.floats
        unsafe noise = picture.parts.floats + count
        unsafe weights = (picture.weights.floats[2 * step], picture.weights.floats[2 * step + 1])
        self.channels = channels
    }

    /// The sample where it is made anew, the picture at the step's level of noise elsewhere.
    func blended(_ sample: Float, _ index: Int) -> Float {
        let share = unsafe mask[index / channels]
        let known = unsafe weights.picture * picture[index] + weights.noise * noise[index]
        return share * sample + (1 - share) * known
    }
}
