internal import TTICore

/// What an attention case masks.
private struct Masking: Sendable {
    var causal = false
    var window: AttentionWindow?
    /// How many of the keys of entry 0, 1, … are padding, from the end; entries past the list take its last.
    var padding: [Int] = []
    /// Heads of the score bias: 0 for none.
    var scoreHeads = 0

    var text: String {
        var text = ""
        if causal { text += " causal" }
        if let window { text += " window \(window.size) of \(window.columns)" }
        if !padding.isEmpty { text += " padding \(padding)" }
        if scoreHeads > 0 { text += " score bias \(scoreHeads)" }
        return text
    }
}

extension OpCase {
    /// - Parameters:
    ///   - keyBatch: nil for the batch itself.
    ///   - isPacked: queries, keys and values are columns of one tensor, or keys and values of another.
    ///   - isCast: keys and values have the type of caches; each entry's own.
    @inline(never) private static func attention(
        _ batch: Int, keyBatch: Int? = nil, _ queries: Int, _ keys: Int, heads: Int, _ headWidth: Int,
        _ masking: Masking = Masking(), isPacked: Bool = false, isCast: Bool = false, purpose: Purpose = .check
    ) -> OpCase {
        let width = heads * headWidth
        let shared = keyBatch.map { ", keys for \($0)" } ?? ""
        let detail =
            "\(batch)×\(queries) over \(keys)\(shared), \(heads) heads of \(headWidth)\(masking.text)"
            + (isPacked ? " packed" : "") + (isCast ? " cast" : "")
        return OpCase(
            "attention", detail, purpose: purpose, batch: batch, isBatchable: keyBatch == nil || keyBatch == 1
        ) {
            inputs in
            let q: Columns
            let k: Columns
            let v: Columns
            if isPacked && queries == keys && keyBatch == nil {
                let qkv = inputs.batched([queries, 3 * width])
                (q, k, v) = (qkv.columns(0, of: 3), qkv.columns(1, of: 3), qkv.columns(2, of: 3))
            } else {
                q = inputs.batched([queries, width]).columns
                func keyTensor(_ columns: Int) -> Tensor {
                    if isCast { return inputs.batched([keys, columns], inputs.backend.cacheType) { $0.normal() } }
                    return keyBatch.map { inputs.shared([$0, keys, columns]) } ?? inputs.batched([keys, columns])
                }
                if isPacked {
                    let kv = keyTensor(2 * width)
                    (k, v) = (kv.columns(0, of: 2), kv.columns(1, of: 2))
                } else {
                    (k, v) = (keyTensor(width).columns, keyTensor(width).columns)
                }
            }
            var mask = AttentionMask(causal: masking.causal, window: masking.window)
            if let last = masking.padding.last {
                let rows = keyBatch.map { Array(0..<$0) } ?? inputs.entries
                let values = rows.flatMap { row in
                    let padded = row < masking.padding.count ? masking.padding[row] : last
                    return (0..<keys).map { $0 < keys - padded ? Float(0) : -.infinity }
                }
                mask.keyBias = inputs.numbers(values, [rows.count, keys])
            }
            if masking.scoreHeads > 0 {
                var random = RandomNumbers(1)
                let count = masking.scoreHeads * queries * keys
                mask.scoreBias = inputs.numbers(
                    (0..<count).map { _ in random.normal() }, [masking.scoreHeads, queries, keys])
            }
            let scale = 1 / Float(headWidth).squareRoot()
            let backend = inputs.backend
            let finalMask = mask
            return { [backend.attention(q, k, v, heads: heads, scale: scale, mask: finalMask)] }
        }
    }

    @inline(never) private static func castToCache(_ batch: Int, _ keys: Int, _ width: Int) -> OpCase {
        OpCase("castToCache", "\(batch)×\(keys)×\(width)", batch: batch) { inputs in
            let x = inputs.batched([keys, width])
            let backend = inputs.backend
            return { [backend.castToCache(x)] }
        }
    }

    static let attentionCases: [OpCase] = [
        attention(1, 1, 1, heads: 1, 1),
        attention(1, 1, 5, heads: 1, 3),
        attention(2, 3, 4, heads: 2, 8),
        attention(3, 7, 9, heads: 3, 16),
        attention(1, 9, 7, heads: 2, 33),
        attention(3, 17, 17, heads: 2, 20, isPacked: true),
        attention(2, 16, 33, heads: 4, 64, isPacked: true),
        attention(1, 65, 130, heads: 1, 24),
        attention(1, 3, 200, heads: 1, 128),
        // Widths between powers of two, and more queries than a block or two have.
        attention(1, 20, 70, heads: 2, 40, Masking(padding: [5]), isPacked: true),
        attention(1, 66, 66, heads: 2, 80, Masking(causal: true), isPacked: true),
        attention(2, 17, 65, heads: 1, 96),
        attention(1, 18, 40, heads: 2, 160, isPacked: true),
        attention(1, 520, 70, heads: 1, 64),
        attention(1, 513, 67, heads: 2, 40, Masking(causal: true, padding: [9])),
        attention(1, 512, 33, heads: 1, 32, Masking(scoreHeads: 1)),
        // So few keys that a block of a GPU holds them: two parts of them with two turns each, one of them short or missing.
        attention(2, 65, 200, heads: 2, 64, isPacked: true),
        attention(1, 40, 256, heads: 2, 56),
        attention(2, 17, 135, heads: 1, 128, isPacked: true),
        attention(1, 70, 256, heads: 1, 120),
        attention(4, keyBatch: 2, 20, 77, heads: 2, 64, isPacked: true),
        // What some GPUs do by warpgroups: more tiles of keys than are under way, heads of every width, keys of fewer entries;
        // then so many queries that a block has two warpgroups.
        attention(2, 70, 600, heads: 2, 40, isPacked: true),
        attention(1, 65, 390, heads: 1, 48),
        attention(2, 130, 300, heads: 2, 80, isPacked: true),
        attention(4, keyBatch: 2, 66, 330, heads: 1, 128),
        attention(1, 64, 257, heads: 2, 160, isPacked: true),
        attention(1, 1000, 400, heads: 9, 40, isPacked: true),
        attention(1, 1000, 60, heads: 9, 64),
        attention(1, 1000, 60, heads: 9, 72, isPacked: true),
        attention(1, 1000, 60, heads: 9, 128, isPacked: true),
        attention(1, 1000, 60, heads: 9, 152),
        // A window over fewer keys than queries.
        attention(1, 9, 7, heads: 1, 16, Masking(causal: true, window: AttentionWindow(columns: 3, size: 3))),
        // One head as wide as the channels: the attention of a VQGAN.
        attention(1, 16, 16, heads: 1, 512),
        attention(2, 8, 8, heads: 2, 12, Masking(causal: true)),
        attention(1, 33, 33, heads: 2, 16, Masking(causal: true), isPacked: true),
        attention(2, 26, 26, heads: 2, 16, Masking(causal: true, window: AttentionWindow(columns: 5, size: 3))),
        attention(1, 40, 40, heads: 1, 8, Masking(causal: true, window: AttentionWindow(columns: 8, size: 11))),
        // The last entry's keys are all masked: zeros.
        attention(3, 4, 6, heads: 2, 16, Masking(padding: [0, 4, 6])),
        attention(2, 17, 40, heads: 2, 32, Masking(padding: [39, 7]), isPacked: true),
        attention(2, 9, 9, heads: 2, 8, Masking(causal: true, padding: [2, 3])),
        attention(2, 5, 7, heads: 3, 8, Masking(scoreHeads: 3)),
        attention(1, 8, 20, heads: 2, 16, Masking(scoreHeads: 1)),
        attention(3, 6, 6, heads: 2, 16, Masking(padding: [1], scoreHeads: 2), isPacked: true),
        // Images of one prompt share its keys.
        attention(3, keyBatch: 1, 5, 9, heads: 2, 16, Masking(padding: [3])),
        attention(4, keyBatch: 2, 3, 8, heads: 2, 8, Masking(padding: [0, 5]), isPacked: true),
        attention(6, keyBatch: 2, 1, 12, heads: 4, 16, Masking(padding: [0, 5]), isPacked: true),
        // Keys and values of a prompt, cast once for all tokens; teacher forcing reads them by many queries.
        castToCache(2, 9, 70),
        castToCache(1, 128, 2048),
        attention(3, 1, 12, heads: 4, 16, Masking(padding: [0, 5]), isPacked: true, isCast: true),
        attention(2, 3, 70, heads: 2, 24, isCast: true),
        attention(2, 20, 40, heads: 2, 16, Masking(padding: [3]), isPacked: true, isCast: true),
        // Text of an autoregressive decoder: one query over the keys of 128 text states.
        attention(
            2, 1, 128, heads: 16, 64, Masking(padding: [127, 100]), isPacked: true, isCast: true,
            purpose: .checkAndMeasure),
        attention(
            2, 1, 128, heads: 32, 64, Masking(padding: [127, 100]), isPacked: true, isCast: true, purpose: .measure),
        // amused-256: its image tokens, and the text.
        attention(2, 256, 256, heads: 12, 64, isPacked: true, purpose: .checkAndMeasure),
        attention(2, 256, 77, heads: 12, 64, isPacked: true, purpose: .checkAndMeasure),
        attention(2, 1024, 1024, heads: 16, 64, isPacked: true, purpose: .measure),
        attention(2, 256, 256, heads: 16, 64, isPacked: true, purpose: .measure),
        attention(2, 256, 77, heads: 16, 64, isPacked: true, purpose: .measure),
        attention(2, 256, 256, heads: 32, 64, isPacked: true, purpose: .measure),
        attention(2, 256, 128, heads: 32, 64, isPacked: true, purpose: .measure),
        // Muse-3B's.
        attention(2, 256, 256, heads: 16, 128, isPacked: true, purpose: .measure),
        attention(2, 256, 128, heads: 16, 128, isPacked: true, purpose: .measure),
        // Stable Diffusion's at 512².
        attention(2, 4096, 4096, heads: 8, 40, isPacked: true, purpose: .measure),
        attention(2, 1024, 1024, heads: 8, 80, isPacked: true, purpose: .measure),
        attention(2, 256, 256, heads: 8, 160, isPacked: true, purpose: .measure),
        attention(2, 4096, 77, heads: 8, 40, isPacked: true, purpose: .measure),
        attention(1, 77, 77, heads: 12, 64, Masking(causal: true), isPacked: true, purpose: .checkAndMeasure),
        attention(1, 256, 256, heads: 1, 512, purpose: .checkAndMeasure),
    ]
}

// MARK: One token over a cache

extension OpCase {
    /// A cache that holds numbers in its first `filled` places and NaN in the rest.
    static func cache(
        _ inputs: OpInputs, heads: Int, capacity: Int, _ headWidth: Int, filled: Int
    ) -> KeyValueCache {
        func half() -> Tensor {
            var element = 0
            return inputs.batched([heads, capacity, headWidth], inputs.backend.cacheType) { random in
                let place = element / headWidth % capacity
                element += 1
                let value = random.normal()
                return place < filled ? value : .nan
            }
        }
        return KeyValueCache(keys: half(), values: half())
    }

    @inline(never) private static func decode(
        _ batch: Int, heads: Int, _ headWidth: Int, capacity: Int, at place: Int, window: AttentionWindow? = nil,
        isPacked: Bool = false, purpose: Purpose = .check
    ) -> OpCase {
        let sparse = window.map { " window \($0.size) of \($0.columns)" } ?? ""
        return OpCase(
            "decodeAttention",
            "\(batch)×\(heads)×\(headWidth) at \(place) of \(capacity)\(sparse)\(isPacked ? " packed" : "")",
            purpose: purpose,
            batch: batch, decodePosition: place
        ) { inputs in
            let width = heads * headWidth
            let q =
                isPacked
                ? inputs.batched([1, 3 * width]).columns(0, of: 3) : inputs.batched([1, width]).columns
            let cache = cache(inputs, heads: heads, capacity: capacity, headWidth, filled: place + 1)
            let position = inputs.integers([place], [1])
            let scale = 1 / Float(headWidth).squareRoot()
            let backend = inputs.backend
            return { [backend.decodeAttention(q, over: cache, at: position, scale: scale, window: window)] }
        }
    }

    @inline(never) private static func rotate(
        _ batch: Int, tokens: Int = 1, heads: Int, _ headWidth: Int, places: Int, at place: Int,
        purpose: Purpose = .check
    ) -> OpCase {
        OpCase(
            "rotate", "\(batch)×\(tokens)×\(heads)×\(headWidth) at \(place) of \(places)", purpose: purpose,
            batch: batch, decodePosition: place
        ) { inputs in
            let qkv = inputs.batched([tokens, 3 * heads * headWidth])
            let angles = try inputs.constant([places, headWidth], scale: 1)
            let position = inputs.integers([place], [1])
            return { [inputs.backend.rotate(qkv, heads: heads, by: angles, at: position)] }
        }
    }

    @inline(never) private static func append(
        _ batch: Int, heads: Int, _ headWidth: Int, capacity: Int, at place: Int, isPacked: Bool = false
    ) -> OpCase {
        OpCase(
            "append", "\(batch)×\(heads)×\(headWidth) at \(place) of \(capacity)\(isPacked ? " packed" : "")",
            batch: batch, decodePosition: place
        ) { inputs in
            let width = heads * headWidth
            let (k, v): (Columns, Columns)
            if isPacked {
                let qkv = inputs.batched([1, 3 * width])
                (k, v) = (qkv.columns(1, of: 3), qkv.columns(2, of: 3))
            } else {
                (k, v) = (inputs.batched([1, width]).columns, inputs.batched([1, width]).columns)
            }
            let cache = cache(inputs, heads: heads, capacity: capacity, headWidth, filled: capacity)
            let position = inputs.integers([place], [1])
            let backend = inputs.backend
            return {
                backend.append(k, v, to: cache, at: position)
                return [cache.keys, cache.values]
            }
        }
    }

    static let decodeCases: [OpCase] = [
        rotate(1, heads: 1, 2, places: 1, at: 0),
        rotate(3, heads: 2, 6, places: 5, at: 4),
        rotate(2, tokens: 3, heads: 3, 16, places: 9, at: 5),
        rotate(2, heads: 20, 64, places: 300, at: 280, purpose: .checkAndMeasure),
        rotate(2, tokens: 120, heads: 4, 40, places: 120, at: 0),
        append(1, heads: 1, 1, capacity: 1, at: 0),
        append(3, heads: 2, 5, capacity: 4, at: 2),
        append(2, heads: 3, 16, capacity: 9, at: 8, isPacked: true),
        decode(1, heads: 1, 1, capacity: 1, at: 0),
        decode(3, heads: 2, 8, capacity: 5, at: 0),
        decode(2, heads: 3, 7, capacity: 5, at: 4),
        decode(3, heads: 2, 33, capacity: 40, at: 17, isPacked: true),
        decode(2, heads: 2, 32, capacity: 300, at: 299),
        decode(2, heads: 1, 40, capacity: 300, at: 270),
        decode(1, heads: 1, 256, capacity: 200, at: 130),
        decode(2, heads: 2, 32, capacity: 200, at: 190),
        decode(1, heads: 4, 64, capacity: 300, at: 255),
        decode(3, heads: 1, 64, capacity: 600, at: 511, isPacked: true),
        decode(1, heads: 1, 128, capacity: 1024, at: 1023),
        decode(2, heads: 2, 16, capacity: 64, at: 50, window: AttentionWindow(columns: 8, size: 3)),
        decode(1, heads: 2, 16, capacity: 256, at: 255, window: AttentionWindow(columns: 16, size: 11)),
        decode(1, heads: 1, 16, capacity: 64, at: 0, window: AttentionWindow(columns: 8, size: 3)),
        decode(1, heads: 1, 16, capacity: 64, at: 63, window: AttentionWindow(columns: 8, size: 1)),
        decode(2, heads: 16, 64, capacity: 256, at: 63, purpose: .checkAndMeasure),
        decode(2, heads: 16, 64, capacity: 1024, at: 1023, purpose: .checkAndMeasure),
        decode(2, heads: 16, 64, capacity: 1024, at: 511, purpose: .measure),
        decode(8, heads: 16, 64, capacity: 1024, at: 1023, purpose: .measure),
        // Parti-3B's.
        decode(2, heads: 32, 64, capacity: 1024, at: 511, purpose: .measure),
        decode(2, heads: 32, 64, capacity: 1024, at: 1023, purpose: .measure),
    ]
}
