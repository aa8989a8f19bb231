internal import TTIAccounting
package import TTICore

/// Makes the operands of an `OpCase` on a backend: random, but the same on every backend and at every batch.
package final class OpInputs {
    package let backend: any Backend
    /// Which entries of the batch there are.
    package let entries: [Int]
    package var batch: Int { entries.count }
    private var seed: UInt64
    private let hasOnlyShapes: Bool
    /// Bytes past a multiple of the arena's alignment where every operand begins, as rows of a tensor may.
    private let shift: Int

    /// - Parameter name: what the numbers are drawn for; another name, other numbers.
    package init(_ backend: any Backend, name: String, entries: [Int], shift: Int = 0) {
        self.shift = shift
        self.backend = backend
        self.entries = entries
        // FNV-1a.
        seed = name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        hasOnlyShapes = backend is AccountingBackend
    }

    // MARK: Activations, in the arena

    /// `[stacks · batch, …]`: numbers of variance 1 about an offset. Stack after stack, each with all entries.
    package func batched(_ shape: Shape, stacks: Int = 1, scale: Float = 1, offset: Float = 0) -> Tensor {
        batched(shape, stacks: stacks, backend.activationType) { $0.normal() * scale + offset }
    }

    /// The same for all entries.
    package func shared(_ shape: Shape, scale: Float = 1) -> Tensor {
        var numbers = RandomNumbers(nextSeed())
        return tensor(shape, backend.activationType, stacks: 1, each: shape.elementCount) { _, _ in
            numbers.normal() * scale
        }
    }

    /// `[batch, …]` in any floating-point type, from a function of the random numbers.
    package func batched(
        _ shape: Shape, stacks: Int = 1, _ dtype: DType, _ value: (inout RandomNumbers) -> Float
    ) -> Tensor {
        let seeds = (0..<stacks).map { _ in nextSeed() }
        var numbers = RandomNumbers(0)
        return tensor(
            Shape([stacks * batch] + shape.array), dtype, stacks: stacks, each: shape.elementCount
        ) { row, element in
            if element == 0 {
                numbers = RandomNumbers(seeds[row / batch] &+ UInt64(entries[row % batch]) &* 0x9e37_79b9)
            }
            return value(&numbers)
        }
    }

    /// `[batch, …]` int32, from a function of the entry and the element.
    package func batchedIntegers(_ shape: Shape, _ value: (_ entry: Int, _ element: Int) -> Int) -> Tensor {
        let values = entries.flatMap { entry in (0..<shape.elementCount).map { Int32(value(entry, $0)) } }
        return upload(values, Shape([batch] + shape.array))
    }

    /// Given integers, the same for all entries.
    package func integers(_ values: [Int], _ shape: Shape) -> Tensor { upload(values.map { Int32($0) }, shape) }

    /// Given numbers as float32, the same for all entries.
    package func numbers(_ values: [Float], _ shape: Shape) -> Tensor {
        let target = allocate(shape, .float32)
        backend.write(HostTensor(values, shape), to: target)
        return target
    }

    /// Given numbers as activations, the same for all entries.
    package func activations(_ values: [Float], _ shape: Shape) -> Tensor {
        let target = allocate(shape, backend.activationType)
        backend.write(HostTensor(values, shape), to: target)
        return target
    }

    // MARK: Weights

    /// `[outputs, inputs]`, scaled so that outputs have variance 1.
    package func matrix(_ outputs: Int, _ inputs: Int, for use: MatrixUse = .sequences) throws -> PreparedMatrix {
        try backend.prepare(matrix: weight([outputs, inputs], scale: 1 / Float(inputs).squareRoot()), for: use)
    }

    package func kernel(_ outputs: Int, _ inputs: Int, _ height: Int, _ width: Int) throws -> PreparedConvolution {
        let scale = 1 / Float(inputs * height * width).squareRoot()
        return try backend.prepare(convolution: weight([outputs, inputs, height, width], scale: scale))
    }

    package func depthwise(_ channels: Int, _ height: Int, _ width: Int) throws -> Tensor {
        try backend.prepare(depthwise: weight([channels, 1, height, width], scale: 1 / Float(height)))
    }

    package func table(_ rows: Int, _ width: Int) throws -> Tensor {
        try backend.prepare(table: weight([rows, width], scale: 1))
    }

    package func constant(_ shape: Shape, scale: Float = 0.5, around offset: Float = 0) throws -> Tensor {
        try backend.prepare(constant: weight(shape, scale: scale, offset: offset))
    }

    package func norm(
        _ kind: NormParameters.Kind, _ width: Int, hasWeight: Bool = true, hasBias: Bool = true
    ) throws -> NormParameters {
        NormParameters(
            kind: kind, weight: hasWeight ? try constant([width], around: 1) : nil,
            bias: hasBias && kind == .layer ? try constant([width]) : nil, epsilon: 1e-5)
    }

    package func groupNorm(_ groups: Int, _ channels: Int) throws -> GroupNormParameters {
        GroupNormParameters(
            groups: groups, weight: try constant([channels], around: 1), bias: try constant([channels]), epsilon: 1e-6)
    }

    // MARK: Choice

    /// A seed for each entry.
    package func sampling(
        temperature: Float = 1, topK: Int = 0, topP: Float = 1, position: Int = 0, guidance: [Float] = [1]
    ) -> SamplingState {
        SamplingState(
            settings: numbers([temperature, Float(topK), topP], [3]),
            keys: batchedIntegers([2]) { entry, word in word == 0 ? 1_000_003 * (entry + 1) : -7 - entry },
            position: integers([position], [1]), guidance: numbers(guidance, [guidance.count]))
    }

    // MARK: How

    private func nextSeed() -> UInt64 {
        seed = seed &* 0x5851_f42d_4c95_7f2d &+ 0x1405_7b7e_f767_814f
        return seed
    }

    private func allocate(_ shape: Shape, _ dtype: DType) -> Tensor {
        if shift == 0 { return backend.allocate(shape, dtype) }
        let whole = backend.allocate([shape.elementCount + shift / dtype.byteCount], dtype)
        return Tensor(buffer: whole.buffer, byteOffset: whole.byteOffset + shift, shape: shape, dtype: dtype)
    }

    private func weight(_ shape: Shape, scale: Float, offset: Float = 0) -> HostTensor {
        if hasOnlyShapes { return HostTensor(shape: shape, dtype: .float32) }
        var random = RandomNumbers(nextSeed())
        return HostTensor((0..<shape.elementCount).map { _ in random.normal() * scale + offset }, shape)
    }

    private func upload(_ values: [Int32], _ shape: Shape) -> Tensor {
        let target = allocate(shape, .int32)
        backend.write(HostTensor(values, shape), to: target)
        return target
    }

    private func tensor(
        _ shape: Shape, _ dtype: DType, stacks: Int, each count: Int, _ value: (_ row: Int, _ element: Int) -> Float
    ) -> Tensor {
        let target = allocate(shape, dtype)
        if hasOnlyShapes || count == 0 { return target }
        backend.write(HostTensor((0..<shape.elementCount).map { value($0 / count, $0 % count) }, shape), to: target)
        return target
    }
}

/// SplitMix64.
package struct RandomNumbers {
    private var state: UInt64

    package init(_ seed: UInt64) { state = seed }

    package mutating func word() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// In [0, 1), with all bits of a binary32 number.
    package mutating func uniform() -> Float { Float(word() >> 40) * 0x1p-24 }

    /// About normal, of mean 0 and variance 1: the sum of four uniform numbers, within ±3.5.
    package mutating func normal() -> Float {
        let bits = word()
        var sum: UInt64 = 0
        for part in 0..<4 { sum += (bits >> UInt64(16 * part)) & 0xffff }
        return (Float(sum) * 0x1p-16 - 2) * 1.732_050_8
    }
}
