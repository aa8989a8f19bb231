internal import TTICore

extension OpCase {
    @inline(never) private static func sample(
        _ images: Int, _ vocabulary: Int, temperature: Float, topK: Int = 0, topP: Float = 1, at position: Int = 0,
        scale: Float = 2, purpose: Purpose = .check
    ) -> OpCase {
        OpCase(
            "sample", "\(images)×\(vocabulary) temperature \(temperature) top-k \(topK) top-p \(topP) at \(position)",
            purpose: purpose, batch: images
        ) { inputs in
            let logits = inputs.batched([vocabulary], .float32) { $0.normal() * scale }
            let state = inputs.sampling(temperature: temperature, topK: topK, topP: topP, position: position)
            let codes = inputs.batchedIntegers([position + 2]) { 10 * $0 - $1 }
            return { [inputs.backend.sample(logits, state, into: codes), codes] }
        }
    }

    @inline(never) private static func guide(_ images: Int, _ shape: Shape, at position: Int, _ guidance: [Float])
        -> OpCase
    {
        OpCase("guide", "\(images)×\(shape) by \(guidance) at \(position)", batch: images) { inputs in
            let logits = inputs.batched(shape, stacks: 2)
            let state = inputs.sampling(position: position, guidance: guidance)
            return { [inputs.backend.guide(logits, state)] }
        }
    }

    @inline(never) private static func nearest(
        _ batch: Int, _ rows: Int, _ width: Int, codes: Int, purpose: Purpose = .check
    ) -> OpCase {
        OpCase("nearestCode", "\(batch)×\(rows)×\(width) of \(codes)", purpose: purpose, batch: batch) { inputs in
            let x = inputs.batched([rows, width])
            let codebook = try inputs.constant([codes, width], scale: 1)
            return { [inputs.backend.nearestCode(x, codebook)] }
        }
    }

    static let choiceCases: [OpCase] = [
        guide(1, [1], at: 0, [3]),
        guide(3, [17], at: 1, [1, 2.5, 4]),
        guide(2, [5, 33], at: 9, [1, 7.5]),
        guide(2, [8], at: 0, [0]),
        sample(1, 1, temperature: 1),
        sample(3, 7, temperature: 0),
        sample(2, 100, temperature: 0, at: 3),
        sample(3, 31, temperature: 1, at: 5),
        sample(1, 1000, temperature: 0.7, at: 2),
        sample(3, 100, temperature: 1, topK: 1, at: 1),
        sample(3, 100, temperature: 1.5, topK: 5, at: 1),
        sample(2, 33, temperature: 1, topK: 33),
        sample(2, 33, temperature: 1, topK: 100),
        sample(3, 100, temperature: 1, topP: 0.9, at: 4),
        sample(3, 100, temperature: 2, topP: 0.3),
        sample(2, 50, temperature: 1, topP: 0.01),
        sample(2, 50, temperature: 1, topP: 0),
        sample(3, 257, temperature: 0.9, topK: 40, topP: 0.8, at: 255),
        sample(2, 300, temperature: 1, topK: 200, topP: 0.95, scale: 8),
        sample(2, 5000, temperature: 0.8, topP: 0.6, at: 1),
        // A row that no shared memory holds.
        sample(1, 50000, temperature: 0.9, topK: 3000, topP: 0.95),
        sample(1, 8192, temperature: 1, purpose: .checkAndMeasure),
        sample(1, 8192, temperature: 1, topK: 100, topP: 0.9, purpose: .checkAndMeasure),
        OpCase("sample", "of activations", batch: 3) { inputs in
            let logits = inputs.batched([300])
            let state = inputs.sampling(temperature: 1, topK: 40, topP: 0.9, position: 1)
            let codes = inputs.batchedIntegers([3]) { 10 * $0 - $1 }
            return { [inputs.backend.sample(logits, state, into: codes), codes] }
        },
        OpCase("sample", "equal logits at temperature 0: the lower id", isBatchable: false) { inputs in
            let logits = inputs.numbers([1, 3, 2, 3, 3], [1, 5])
            let state = inputs.sampling(temperature: 0)
            let codes = inputs.integers([9, 9], [1, 2])
            return { [inputs.backend.sample(logits, state, into: codes), codes] }
        },
        OpCase("sample", "what equals the k-th stays", isBatchable: false) { inputs in
            // Were only one of the equals kept, its noise alone would decide; 64 of them make that plain.
            let logits = inputs.numbers(
                [5] + [Float](repeating: 4, count: 64) + [Float](repeating: 0, count: 63), [1, 128])
            let state = inputs.sampling(temperature: 1, topK: 2, position: 1)
            let codes = inputs.integers([9, 9], [1, 2])
            return { [inputs.backend.sample(logits, state, into: codes), codes] }
        },
        OpCase("sample", "of equals at the edge of top-p the lower ids stay", isBatchable: false) { inputs in
            // 301 of 900 equals.
            let logits = inputs.numbers((0..<1350).map { $0 % 3 == 1 ? -30 : 2 }, [1, 1350])
            let state = inputs.sampling(temperature: 1, topP: 0.3336, position: 1)
            let codes = inputs.integers([9, 9], [1, 2])
            return { [inputs.backend.sample(logits, state, into: codes), codes] }
        },
        OpCase("sample", "tokens of probability zero are never drawn", isBatchable: false) { inputs in
            let logits = inputs.numbers((0..<40).map { $0 % 3 == 1 ? Float($0) * 0.01 : -.infinity }, [1, 40])
            let state = inputs.sampling(temperature: 1, topK: 30, topP: 0.99)
            let codes = inputs.integers([9, 9], [1, 2])
            return { [inputs.backend.sample(logits, state, into: codes), codes] }
        },
        OpCase("maskedPlaces", "3×10, the first 4", batch: 3) { inputs in
            let tokens = inputs.batchedIntegers([10]) { entry, place in [31, place, place % 3 == 0 ? 31 : 0][entry] }
            return { [inputs.backend.maskedPlaces(tokens, maskToken: 31, count: 4)] }
        },
        OpCase("maskedPlaces", "2×256, as many as there are", batch: 2) { inputs in
            let tokens = inputs.batchedIntegers([256]) { entry, place in place % (entry + 2) == 1 ? 99 : place }
            return { [inputs.backend.maskedPlaces(tokens, maskToken: 99, count: 256)] }
        },
        OpCase("maskedPlaces", "2×2500, fewer and more than there are", batch: 2) { inputs in
            let tokens = inputs.batchedIntegers([2500]) { entry, place in place % (entry + 2) == 1 ? 99 : place }
            return { [inputs.backend.maskedPlaces(tokens, maskToken: 99, count: 1100)] }
        },
        nearest(1, 1, 1, codes: 1),
        nearest(3, 5, 3, codes: 17),
        nearest(2, 9, 33, codes: 100),
        nearest(1, 64, 4, codes: 31),
        nearest(1, 256, 64, codes: 1024, purpose: .checkAndMeasure),
        OpCase("nearestCode", "equal codes: the lower index", isBatchable: false) { inputs in
            let x = inputs.numbers([0.1, 0.2, 3, 3], [2, 2])
            let codebook = inputs.numbers([3, 3, 0, 0, 0, 0, 3, 3], [4, 2])
            return { [inputs.backend.nearestCode(x, codebook)] }
        },
    ]
}

// MARK: One step of masked decoding

extension OpCase {
    /// - Parameters:
    ///   - mask: how many of the tokens are masked for entry 0, 1, …; entries past the list take its last.
    ///   - isShared: one row of logits for all images.
    @inline(never) private static func unmask(
        _ images: Int, tokens: Int, _ vocabulary: Int, masked: [Int], step: Int, remaining: [Int], noise: Float,
        temperature: Float = 1, topK: Int = 0, isOrdered: Bool = false, isShared: Bool = false,
        purpose: Purpose = .check
    ) -> OpCase {
        var detail = "\(images)×\(tokens)×\(vocabulary), \(masked) masked, step \(step) of \(remaining), noise \(noise)"
        if temperature != 1 { detail += " temperature \(temperature)" }
        if topK != 0 { detail += " top-k \(topK)" }
        if isOrdered { detail += " ordered" }
        if isShared { detail += " shared logits" }
        return OpCase("unmask", detail, purpose: purpose, batch: images) { inputs in
            func count(_ entry: Int) -> Int { entry < masked.count ? masked[entry] : masked[masked.count - 1] }
            /// Masked places are spread over the grid: 7 is prime to the number of tokens.
            func isMasked(_ entry: Int, _ place: Int) -> Bool { place * 7 % tokens < count(entry) }
            let width = masked.max() ?? 0
            let places = inputs.batchedIntegers([width]) { entry, index in
                let all = (0..<tokens).filter { isMasked(entry, $0) }
                return index < all.count ? all[index] : -1
            }
            let logits =
                isShared
                ? inputs.shared([1, width, vocabulary], scale: 2) : inputs.batched([width, vocabulary], scale: 2)
            let known = inputs.batchedIntegers([tokens]) { isMasked($0, $1) ? vocabulary : ($0 + $1) % vocabulary }
            let predicted = inputs.batchedIntegers([tokens]) { ($0 + $1) % vocabulary }
            let grid = MaskedGrid(
                tokens: known, predicted: predicted, maskToken: vocabulary,
                remaining: inputs.integers(remaining, [remaining.count]),
                noise: inputs.numbers(
                    (0..<remaining.count).map { $0 == step ? noise : -100 }, [remaining.count]),
                order: isOrdered ? inputs.integers((0..<tokens).map { ($0 * 5 + 3) % tokens }, [tokens]) : nil)
            let state = inputs.sampling(temperature: temperature, topK: topK, position: step)
            return {
                inputs.backend.unmask(logits, at: places, state, in: grid)
                return [grid.tokens, grid.predicted]
            }
        }
    }

    static let unmaskCases: [OpCase] = [
        unmask(1, tokens: 1, 5, masked: [1], step: 0, remaining: [0], noise: 0),
        unmask(3, tokens: 16, 31, masked: [16], step: 0, remaining: [11, 4, 0], noise: 2),
        unmask(3, tokens: 16, 31, masked: [9, 4, 16], step: 1, remaining: [12, 5, 2, 0], noise: 1.5),
        // At least one fewer than were masked, at least one.
        unmask(2, tokens: 16, 31, masked: [4, 1], step: 1, remaining: [12, 10, 2, 0], noise: 1),
        unmask(2, tokens: 16, 31, masked: [6, 2], step: 1, remaining: [12, 0, 2, 0], noise: 1),
        // The last step leaves none.
        unmask(2, tokens: 16, 31, masked: [5, 2], step: 2, remaining: [12, 7, 0], noise: 0),
        unmask(3, tokens: 16, 31, masked: [3, 0, 5], step: 0, remaining: [2, 0], noise: 1),
        unmask(2, tokens: 25, 100, masked: [20, 11], step: 0, remaining: [6, 0], noise: 0, temperature: 0),
        unmask(2, tokens: 25, 100, masked: [20, 11], step: 0, remaining: [6, 0], noise: 3, temperature: 1.7, topK: 7),
        unmask(2, tokens: 25, 40, masked: [25, 11], step: 1, remaining: [15, 7, 3, 0], noise: 1, isOrdered: true),
        unmask(3, tokens: 16, 31, masked: [16], step: 0, remaining: [9, 0], noise: 4, isShared: true),
        unmask(2, tokens: 2003, 9, masked: [1500, 1203], step: 0, remaining: [700, 0], noise: 2),
        unmask(2, tokens: 2003, 9, masked: [1500, 1203], step: 0, remaining: [700, 0], noise: 0, isOrdered: true),
        unmask(
            2, tokens: 256, 1024, masked: [256, 200], step: 3, remaining: [250, 240, 200, 150, 70, 0], noise: 2,
            purpose: .checkAndMeasure),
    ]
}
