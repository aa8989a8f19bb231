internal import CTTIKernels
package import TTICore

extension CPUBackend {
    package func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor {
        var shape = logits.shape
        precondition(shape[0] % 2 == 0, "two rows for each image: \(logits.shape)")
        shape[0] /= 2
        let result = allocate(shape, .float32)
        let position = unsafe Int(state.position.integers[0])
        let scale = unsafe state.guidance.floats[min(position, state.guidance.elementCount - 1)]
        let (out, unconditional) = unsafe (result.floats, logits.floats)
        let half = result.elementCount
        let kernels = unsafe ctti_choice(isa)!
        forRows(half, cost: 1) { range in
            let first = unsafe unconditional + range.lowerBound
            unsafe kernels.pointee.guide(out + range.lowerBound, first, first + half, scale, range.count)
        }
        return result
    }

    package func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        let (images, vocabulary, width) = (codes.shape[0], logits.shape.last, codes.shape[1])
        precondition(logits.elementCount == images * vocabulary, "\(logits.shape) for codes \(codes.shape)")
        let result = allocate([images], .int32)
        let position = unsafe Int(state.position.integers[0])
        precondition(position >= 0 && position < width, "position \(position) of \(codes.shape)")
        let (out, grid, source) = unsafe (result.integers, codes.integers, logits.floats)
        let draws = TokenDraws(state, images: images)
        let kernels = unsafe ctti_choice(isa)!
        unsafe pool.forEach(images, scratch: 2 * vocabulary) { image, scratch in
            var settings = draws.settings(image: image, position: position, firstIndex: 0)
            let drawn = unsafe kernels.pointee.draw(
                source + image * vocabulary, vocabulary, &settings, false, scratch)
            unsafe out[image] = drawn.not_finite ? -1 : drawn.token
        }
        for image in 0..<images {
            if unsafe out[image] < 0 {
                unsafe out[image] = 0
                sawNonFinite = true
            }
            unsafe grid[image * width + position] = out[image]
        }
        return result
    }

    package func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor {
        let (images, width) = (tokens.shape[0], tokens.shape[1])
        let result = allocate([images, count], .int32)
        let (out, source) = unsafe (result.integers, tokens.integers)
        for image in 0..<images {
            var found = 0
            for place in 0..<width where unsafe Int(source[image * width + place]) == maskToken {
                if found == count { break }
                unsafe out[image * count + found] = Int32(place)
                found += 1
            }
            for rest in found..<count { unsafe out[image * count + rest] = -1 }
        }
        return result
    }

    package func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid) {
        finishHeld()
        let (images, width) = (grid.tokens.shape[0], grid.tokens.shape[1])
        let (count, vocabulary) = (places.shape[1], logits.shape.last)
        let rowImages = logits.shape[0]
        precondition(
            (rowImages == images || rowImages == 1) && logits.shape[1] == count && places.shape[0] == images
                && grid.predicted.shape == grid.tokens.shape,
            "\(logits.shape) at \(places.shape) into \(grid.tokens.shape)")
        let step = unsafe Int(state.position.integers[0])
        let steps = grid.remaining.elementCount
        precondition(step >= 0 && step < steps && grid.noise.elementCount == steps, "step \(step) of \(steps)")
        let noise = unsafe grid.noise.floats[step]
        let remaining = unsafe Int(grid.remaining.integers[step])
        let (source, allPlaces, order) = unsafe (logits.floats, places.integers, grid.order?.integers)
        let draws = TokenDraws(state, images: images)
        let kernels = unsafe ctti_choice(isa)!
        unsafe withScratch(images * count * MemoryLayout<PlaceDraw>.stride / 4) { memory in
            let drawn = unsafe UnsafeMutableRawPointer(memory).bindMemory(to: PlaceDraw.self, capacity: images * count)
            unsafe pool.forEach(images * count, scratch: 2 * vocabulary) { index, scratch in
                let (image, row) = index.quotientAndRemainder(dividingBy: count)
                let place = unsafe Int(allPlaces[index])
                guard place >= 0 else {
                    unsafe drawn[index] = PlaceDraw(place: -1, token: 0, confidence: 0, notFinite: false)
                    return
                }
                precondition(place < width, "place \(place) of \(width)")
                var settings = draws.settings(image: image, position: step, firstIndex: place * vocabulary)
                let logits = unsafe source + ((rowImages == 1 ? 0 : image) * count + row) * vocabulary
                let result = unsafe kernels.pointee.draw(logits, vocabulary, &settings, true, scratch)
                var confidence = result.log_probability
                if let order = unsafe order {
                    confidence = unsafe -Float(order[place])
                } else if noise != 0 {
                    var gumbel: Float = 0
                    unsafe kernels.pointee.gumbel(
                        &gumbel, 1, &settings, RandomStream.Purpose.confidence.rawValue, UInt64(place))
                    confidence += noise * gumbel
                }
                unsafe drawn[index] = PlaceDraw(
                    place: Int32(place), token: result.token, confidence: confidence, notFinite: result.not_finite)
            }
            let (tokens, predicted) = unsafe (grid.tokens.integers, grid.predicted.integers)
            for image in 0..<images {
                let own = unsafe UnsafeMutableBufferPointer(start: drawn + image * count, count: count)
                // The most confident first; between equals the lower place; what is not a place last.
                unsafe own.sortInPlace { $0.comesBefore($1) }
                let known = unsafe own.firstIndex { $0.place < 0 } ?? count
                let left = step == steps - 1 ? 0 : max(1, min(remaining, known - 1))
                for rank in 0..<known {
                    let choice = unsafe own[rank]
                    let place = image * width + Int(choice.place)
                    unsafe tokens[place] = rank < known - left ? choice.token : Int32(grid.maskToken)
                    unsafe predicted[place] = choice.token
                    if choice.notFinite { sawNonFinite = true }
                }
            }
        }
    }

    package func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor {
        let (codes, width) = (codebook.shape[0], codebook.shape[1])
        precondition(x.shape.last == width, "\(x.shape) in a codebook of \(codebook.shape)")
        let result = allocate(x.shape[0..<x.shape.rank - 1], .int32)
        let (out, source, book) = unsafe (result.integers, x.floats, codebook.floats)
        let kernels = unsafe ctti_choice(isa)!
        forRows(x.rowCount, cost: codes * width / 8) { range in
            unsafe kernels.pointee.nearest(
                out + range.lowerBound, source + range.lowerBound * width, book, range.count, codes, width)
        }
        return result
    }
}

/// The settings and seeds of a call, read once.
@safe
private struct TokenDraws {
    let temperature, topK, topP: Float
    let keys: UnsafeMutablePointer<Int32>

    init(_ state: SamplingState, images: Int) {
        precondition(state.keys.elementCount == 2 * images, "keys \(state.keys.shape) for \(images) images")
        precondition(state.settings.elementCount == 3, "settings \(state.settings.shape)")
        unsafe (temperature, topK, topP) = (
            state.settings.floats[0], state.settings.floats[1], state.settings.floats[2]
        )
        unsafe keys = state.keys.integers
    }

    func settings(image: Int, position: Int, firstIndex: Int) -> ctti_draw_settings {
        let key = unsafe (UInt32(bitPattern: keys[2 * image]), UInt32(bitPattern: keys[2 * image + 1]))
        return ctti_draw_settings(
            temperature: temperature, top_k: Int32(topK), top_p: topP, key: key,
            position: UInt32(truncatingIfNeeded: position), first_index: UInt64(firstIndex))
    }
}

/// What was drawn for one place.
private struct PlaceDraw {
    let place, token: Int32
    let confidence: Float
    let notFinite: Bool

    func comesBefore(_ other: PlaceDraw) -> Bool {
        if place < 0 || other.place < 0 { return place >= 0 && other.place < 0 }
        return confidence == other.confidence ? place < other.place : confidence > other.confidence
    }
}
