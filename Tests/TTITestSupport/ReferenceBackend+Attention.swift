internal import Glibc
package import TTICore

extension ReferenceBackend {
    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor {
        let (batch, queries, width) = (q.tensor.shape[0], q.tensor.shape[1], q.count)
        let (keyBatch, keys) = (k.tensor.shape[0], k.tensor.shape[1])
        precondition(q.tensor.shape.rank == 3 && k.tensor.shape.rank == 3, "\(q.tensor.shape) over \(k.tensor.shape)")
        precondition(k.count == width && v.count == width && width % heads == 0, "\(width) columns in \(heads) heads")
        precondition(v.tensor.shape[0] == keyBatch && v.tensor.shape[1] == keys, "\(k.tensor.shape), \(v.tensor.shape)")
        precondition(batch % keyBatch == 0, "\(keyBatch) entries of keys for \(batch)")
        precondition(mask.window == nil || mask.causal, "a window without causality")
        if let bias = mask.keyBias {
            precondition(bias.shape == [keyBatch, keys], "\(bias.shape) for \(k.tensor.shape)")
        }
        let biasHeads = mask.scoreBias?.shape[0] ?? 1
        if let bias = mask.scoreBias {
            precondition(bias.shape == [biasHeads, queries, keys], "\(bias.shape) for \(queries) × \(keys) scores")
            precondition(biasHeads == 1 || biasHeads == heads, "\(bias.shape) for \(heads) heads")
        }
        let keyBias = mask.keyBias?.doubles()
        let scoreBias = mask.scoreBias?.doubles()
        func operand(_ columns: Columns) -> [Double] {
            let values = columns.doubles()
            return roundsAttention && queries >= 16 ? values.map { DType.bfloat16.rounding($0) } : values
        }
        let (qs, ks, vs) = (operand(q), operand(k), operand(v))
        let headWidth = width / heads
        var values = [Double](repeating: 0, count: batch * queries * width)
        for entry in 0..<batch {
            let keyEntry = entry * keyBatch / batch
            for head in 0..<heads {
                for query in 0..<queries {
                    let row = (entry * queries + query) * width + head * headWidth
                    var scores = [Double](repeating: -.infinity, count: keys)
                    for key in 0..<keys {
                        if mask.causal && key > query { continue }
                        if let window = mask.window, !window.sees(query: query, key: key) { continue }
                        var score = dot(qs, row, ks, (keyEntry * keys + key) * width + head * headWidth, headWidth)
                        score *= Double(scale)
                        if let keyBias { score += keyBias[keyEntry * keys + key] }
                        if let scoreBias {
                            score += scoreBias[((biasHeads == 1 ? 0 : head) * queries + query) * keys + key]
                        }
                        scores[key] = score
                    }
                    for (key, weight) in softmax(scores).enumerated() where weight != 0 {
                        let origin = (keyEntry * keys + key) * width + head * headWidth
                        for column in 0..<headWidth { values[row + column] += weight * vs[origin + column] }
                    }
                }
            }
        }
        return result(values, [batch, queries, width])
    }

    package func castToCache(_ x: Tensor) -> Tensor {
        let y = allocate(x.shape, cacheType)
        y.store(x.doubles())
        return y
    }

    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) {
        let (batch, heads, headWidth) = (cache.keys.shape[0], cache.headCount, cache.keys.shape[3])
        let place = checkedPlace(position, cache)
        for (columns, target) in [(k, cache.keys), (v, cache.values)] {
            precondition(
                columns.tensor.rowCount == batch && columns.count == heads * headWidth,
                "\(columns.tensor.shape) appended to \(target.shape)")
            let values = columns.doubles()
            for row in 0..<batch * heads {
                target.store(
                    Array(values[row * headWidth..<(row + 1) * headWidth]),
                    at: (row * cache.capacity + place) * headWidth)
            }
        }
    }

    package func rotate(_ qkv: Tensor, heads: Int, by angles: Tensor, at position: Tensor) -> Tensor {
        let (tokens, width) = (qkv.shape[1], angles.shape[1])
        precondition(qkv.shape[2] == 3 * heads * width, "\(qkv.shape) turned in \(heads) heads by \(angles.shape)")
        let first = position.integers()[0]
        precondition(first >= 0 && first + tokens <= angles.shape[0], "places \(first) of \(angles.shape[0])")
        let turns = angles.doubles()
        var values = qkv.doubles()
        for row in 0..<qkv.rowCount {
            let place = first + row % tokens
            for pair in 0..<heads * width {
                let (index, angle) = (row * qkv.shape[2] + 2 * pair, place * width + 2 * pair % width)
                let (a, b, cosine, sine) = (values[index], values[index + 1], turns[angle], turns[angle + 1])
                values[index] = a * cosine - b * sine
                values[index + 1] = b * cosine + a * sine
            }
        }
        return result(values, qkv.shape)
    }

    package func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor {
        let (batch, heads, headWidth) = (cache.keys.shape[0], cache.headCount, cache.keys.shape[3])
        precondition(
            q.tensor.rowCount == batch && q.count == heads * headWidth, "\(q.tensor.shape) over \(cache.keys.shape)")
        let place = checkedPlace(position, cache)
        let qs = q.doubles()
        var values = [Double](repeating: 0, count: qs.count)
        for row in 0..<batch * heads {
            let start = row * cache.capacity * headWidth
            let keys = cache.keys.doubles(start..<start + (place + 1) * headWidth)
            let vs = cache.values.doubles(start..<start + (place + 1) * headWidth)
            let scores = (0...place).map { key in
                if let window, !window.sees(query: place, key: key) { return -Double.infinity }
                return dot(qs, row * headWidth, keys, key * headWidth, headWidth) * Double(scale)
            }
            for (key, weight) in softmax(scores).enumerated() where weight != 0 {
                for column in 0..<headWidth {
                    values[row * headWidth + column] += weight * vs[key * headWidth + column]
                }
            }
        }
        return result(values, [batch, 1, heads * headWidth])
    }

    private func checkedPlace(_ position: Tensor, _ cache: KeyValueCache) -> Int {
        precondition(position.elementCount == 1, "a position of \(position.shape)")
        let place = position.integers()[0]
        precondition(place >= 0 && place < cache.capacity, "position \(place) of a cache of \(cache.capacity)")
        return place
    }
}

/// Zeros where every score is -infinity.
func softmax(_ scores: [Double]) -> [Double] {
    guard let highest = scores.max(), highest != -.infinity else { return scores.map { _ in 0 } }
    let weights = scores.map { exp($0 - highest) }
    let sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
}
