internal import Glibc
package import TTICore

extension ReferenceBackend {
    package func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor {
        precondition(logits.shape[0] % 2 == 0, "two rows for each image: \(logits.shape)")
        let schedule = state.guidance.doubles()
        let scale = schedule[min(state.position.integers()[0], schedule.count - 1)]
        let source = logits.doubles()
        let half = source.count / 2
        var shape = logits.shape
        shape[0] /= 2
        let guided = (0..<half).map { source[$0] + scale * (source[half + $0] - source[$0]) }
        if activationType != .bfloat16 { return result(guided, shape) }
        let tensor = allocate(shape, .float32)
        tensor.store(guided)
        return tensor
    }

    package func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        let (images, vocabulary) = (codes.shape[0], logits.shape.last)
        precondition(logits.shape == [images, vocabulary], "\(logits.shape) for codes \(codes.shape)")
        let position = state.position.integers()[0]
        precondition(position >= 0 && position < codes.shape[1], "position \(position) of \(codes.shape)")
        let streams = randomStreams(state, images: images)
        let tokens = (0..<images).map { image in
            let row = logits.doubles(image * vocabulary..<(image + 1) * vocabulary)
            let token = draw(row, state, streams[image], position: position, firstIndex: 0)
            codes.store([Double(token)], at: image * codes.shape[1] + position)
            return token
        }
        return result(tokens, [images])
    }

    package func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor {
        let (images, width) = (tokens.shape[0], tokens.shape[1])
        let values = tokens.integers()
        var places: [Int] = []
        for image in 0..<images {
            let masked = (0..<width).filter { values[image * width + $0] == maskToken }.prefix(count)
            places += masked + [Int](repeating: -1, count: count - masked.count)
        }
        return result(places, [images, count])
    }

    package func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid) {
        let (images, width) = (grid.tokens.shape[0], grid.tokens.shape[1])
        let (count, vocabulary) = (places.shape[1], logits.shape.last)
        precondition(logits.shape[0] == images || logits.shape[0] == 1, "\(logits.shape) for \(images) images")
        precondition(logits.shape[1] == count && places.shape[0] == images, "\(logits.shape) at \(places.shape)")
        let step = state.position.integers()[0]
        let remaining = grid.remaining.integers()
        precondition(step >= 0 && step < remaining.count, "step \(step) of \(remaining.count)")
        let noise = grid.noise.doubles()[step]
        let order = grid.order?.integers()
        let streams = randomStreams(state, images: images)
        let allPlaces = places.integers()
        for image in 0..<images {
            var drawn: [(place: Int, token: Int, confidence: Double)] = []
            for index in 0..<count {
                let place = allPlaces[image * count + index]
                if place < 0 { continue }
                let start = ((logits.shape[0] == 1 ? 0 : image) * count + index) * vocabulary
                let row = logits.doubles(start..<start + vocabulary)
                let token = draw(row, state, streams[image], position: step, firstIndex: place * vocabulary)
                var confidence = log(softmax(row)[token])
                confidence += noise * gumbel(streams[image], .confidence, position: step, index: place)
                if let order { confidence = -Double(order[place]) }
                drawn.append((place, token, confidence))
            }
            let isLast = step == remaining.count - 1
            let left = isLast ? 0 : max(1, min(remaining[step], drawn.count - 1))
            // The most confident first; between equals, the lower place.
            let ranked = drawn.sorted {
                $0.confidence == $1.confidence ? $0.place < $1.place : $0.confidence > $1.confidence
            }
            for (rank, choice) in ranked.enumerated() {
                let isKept = rank < drawn.count - left
                grid.tokens.store([Double(isKept ? choice.token : grid.maskToken)], at: image * width + choice.place)
                grid.predicted.store([Double(choice.token)], at: image * width + choice.place)
            }
        }
    }

    package func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor {
        let (codes, width) = (codebook.shape[0], codebook.shape[1])
        precondition(x.shape.last == width, "\(x.shape) in a codebook of \(codebook.shape)")
        let source = x.doubles()
        let book = codebook.doubles()
        let nearest = (0..<x.rowCount).map { row in
            var best = (code: 0, distance: Double.infinity)
            for code in 0..<codes {
                var distance = 0.0
                for column in 0..<width {
                    let difference = source[row * width + column] - book[code * width + column]
                    distance += difference * difference
                }
                if distance < best.distance { best = (code, distance) }
            }
            return best.code
        }
        return result(nearest, Shape(Array(x.shape.array.dropLast())))
    }

    /// The rule of `sample` for one row of logits.
    private func draw(
        _ logits: [Double], _ state: SamplingState, _ stream: RandomStream, position: Int, firstIndex: Int
    ) -> Int {
        if logits.contains(where: { $0.isNaN || $0 == .infinity }) || !logits.contains(where: { $0.isFinite }) {
            sawNonFinite = true
            return 0
        }
        let settings = state.settings.doubles()
        let (temperature, topK, topP) = (settings[0], Int(settings[1]), settings[2])
        // Likeliest first; between equals, the lower id.
        let ranked = logits.indices.sorted { logits[$0] == logits[$1] ? $0 < $1 : logits[$0] > logits[$1] }
        if temperature == 0 { return ranked[0] }
        var scores = logits.map { $0 / temperature }
        if topK > 0 && topK < scores.count {
            // What equals the k-th stays.
            let threshold = scores[ranked[topK - 1]]
            for token in scores.indices where scores[token] < threshold { scores[token] = -.infinity }
        }
        if topP < 1 {
            // A token stays when those before it do not yet reach top-p; the first always does.
            let probabilities = softmax(scores)
            var before = 0.0
            for (rank, token) in ranked.enumerated() {
                if rank > 0 && before >= topP { scores[token] = -.infinity }
                before += probabilities[token]
            }
        }
        var best = (token: 0, score: -Double.infinity)
        for token in scores.indices where scores[token] != -.infinity {
            let score = scores[token] + gumbel(stream, .token, position: position, index: firstIndex + token)
            if score > best.score { best = (token, score) }
        }
        return best.token
    }

    private func randomStreams(_ state: SamplingState, images: Int) -> [RandomStream] {
        precondition(state.keys.shape == [images, 2], "keys \(state.keys.shape) for \(images) images")
        let words = state.keys.integers().map { UInt64(UInt32(truncatingIfNeeded: $0)) }
        return (0..<images).map { RandomStream(seed: words[2 * $0] | words[2 * $0 + 1] << 32) }
    }

    private func gumbel(_ stream: RandomStream, _ purpose: RandomStream.Purpose, position: Int, index: Int) -> Double {
        -log(-log(Double(stream.uniform(purpose, position: position, index: index))))
    }
}
