package import TTICore

extension ReferenceBackend {
    package func combine(_ output: Tensor, in state: DiffusionState) {
        state.check(output)
        let (count, slots) = (output.elementCount, state.latents.shape[0])
        let step = state.position.integers()[0]
        let columns = slots + 2
        let table = state.weights.doubles(step * slots * columns..<(step + 1) * slots * columns)
        let (old, said) = (state.latents.doubles(), output.doubles())
        let noise = state.noise?.doubles(step * count..<(step + 1) * count)
        let limit = Double(state.limit)
        let scale = state.inputScale.doubles()[step]
        let parts = state.picture.map { ($0.mask.doubles(), $0.parts.doubles(), $0.weights.doubles()) }
        var (new, input) = (old, said)
        for index in 0..<count {
            var values = [old[index], said[index], 0, noise?[index] ?? 0]
            for slot in 2..<max(slots, 2) { values.append(old[slot * count + index]) }
            func sum(_ row: Int) -> Double {
                (0..<columns).reduce(0) { $0 + table[row * columns + $1] * values[$1] }
            }
            values[2] = min(max(sum(0), -limit), limit)
            new[count + index] = values[2]
            new[index] = sum(1)
            if let (mask, picture, weights) = parts {
                let share = mask[index / output.shape.last]
                let known = weights[2 * step] * picture[index] + weights[2 * step + 1] * picture[count + index]
                new[index] = share * new[index] + (1 - share) * known
            }
            for slot in 2..<max(slots, 2) { new[slot * count + index] = sum(slot) }
            input[index] = scale * new[index]
        }
        state.latents.store(new)
        state.input.store(input)
    }
}
