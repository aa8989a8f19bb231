internal import Glibc

/// The choices of diffusers' aMUSEd scheduler and of `torch.multinomial`, on the host and with PyTorch's own random numbers: the
/// oracle that other implementations are compared with token by token. Everything in float32, as there.
package enum TorchChoice {
    /// One step of `AmusedScheduler.step` for one image.
    /// - Parameters:
    ///   - tokens: `[tokens]`; masked places hold `maskToken`. Changed to the next step's input.
    ///   - places: which places `logits` belongs to, ascending: all that are masked.
    ///   - logits: `[places, vocabulary]`, guided.
    ///   - remaining: how many tokens the schedule leaves masked; nil after the last step.
    ///   - noise: the temperature of the step.
    /// - Returns: `[tokens]`: every token as known or drawn.
    package static func unmask(
        _ tokens: inout [Int32], maskToken: Int32, places: [Int], logits: [Float], vocabulary: Int, remaining: Int?,
        noise: Float, _ random: inout TorchRandomStream
    ) -> [Int32] {
        var predicted = tokens
        var chosen = [Float](repeating: 0, count: tokens.count)
        var unknown = 0
        for place in tokens.indices {
            // multinomial draws for every place, known ones included
            guard tokens[place] == maskToken else {
                random.skipMultinomial(count: vocabulary)
                continue
            }
            precondition(places[unknown] == place, "logits for place \(places[unknown]), masked is \(place)")
            let row = probabilities(logits[unknown * vocabulary..<(unknown + 1) * vocabulary])
            let token = random.multinomial(row)
            predicted[place] = Int32(token)
            chosen[place] = row[token]
            unknown += 1
        }
        guard let remaining else {
            tokens = predicted
            return predicted
        }
        let confidence = tokens.indices.map { place -> Float in
            let gumbel = -logf(max(-logf(max(random.uniform(), 1e-20)), 1e-20))
            let probability = tokens[place] == maskToken ? chosen[place] : Float.greatestFiniteMagnitude
            return logf(max(probability, 1e-20)) + noise * gumbel
        }
        let masked = max(1, min(remaining, unknown - 1))
        let cutOff = confidence.sorted()[masked]
        for place in tokens.indices { tokens[place] = confidence[place] < cutOff ? maskToken : predicted[place] }
        return predicted
    }

    /// softmax of one row in float32.
    package static func probabilities(_ logits: ArraySlice<Float>) -> [Float] {
        let top = logits.max() ?? 0
        let exponentials = logits.map { expf($0 - top) }
        let sum = exponentials.reduce(0, +)
        return exponentials.map { $0 / sum }
    }

    /// One token as transformers' warpers (temperature, top-k, top-p in that order) and `torch.multinomial` choose it.
    /// - Parameter logits: `[vocabulary]`, guided.
    package static func sample(
        _ logits: ArraySlice<Float>, temperature: Float, topK: Int, topP: Float, _ random: inout TorchRandomStream
    ) -> Int32 {
        if temperature == 0 {
            var best = logits.startIndex
            for index in logits.indices where logits[index] > logits[best] { best = index }
            return Int32(best - logits.startIndex)
        }
        var scaled = logits.map { $0 / temperature }
        if topK > 0, topK < scaled.count {
            let threshold = scaled.sorted(by: >)[topK - 1]
            for index in scaled.indices where scaled[index] < threshold { scaled[index] = -.infinity }
        }
        var row = probabilities(scaled[...])
        if topP < 1 {
            // transformers sorts ascending and removes what lies in the lowest 1 - p; the largest always stays
            let order = row.indices.sorted { row[$0] == row[$1] ? $0 < $1 : row[$0] < row[$1] }
            var cumulative: Float = 0
            for index in order.dropLast() {
                cumulative += row[index]
                if cumulative <= 1 - topP { scaled[index] = -.infinity }
            }
            row = probabilities(scaled[...])
        }
        return Int32(random.multinomial(row))
    }
}
