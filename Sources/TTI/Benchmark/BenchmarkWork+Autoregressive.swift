internal import TTICore
internal import TTIModels

// Autoregressive networks. All share the loop around a step; those of two halves share the rest too.
extension BenchmarkSubject {
    /// Logits `[rows, codes]` of what comes after tokens `[images]` at a place of the caches `[1]`, both int32.
    private typealias TokenStep = (_ tokens: Tensor, _ place: Tensor) -> Tensor

    /// A token of every image, as the pipeline does it: decoder, guidance, choice.
    /// - Parameters:
    ///   - imageLength: tokens that an image has; fewer are decoded when the sizes say so.
    ///   - prefix: tokens that lie before them in the caches.
    ///   - begin: does what comes once per prompt, for this many tokens, and gives the step.
    private func decode(
        _ sizes: BenchmarkSizes, imageLength: Int, after prefix: Int = 0,
        _ begin: @escaping (_ capacity: Int, any Backend) -> TokenStep
    ) -> Preparation {
        { b in
            let capacity = min(sizes.tokens ?? imageLength, imageLength)
            let step = begin(capacity, b)
            let state = samplingState(sizes.images, on: b)
            let last = b.upload(HostTensor([Int32](repeating: 0, count: sizes.images), [sizes.images]))
            let codes = b.upload(
                HostTensor([Int32](repeating: 0, count: sizes.images * capacity), [sizes.images, capacity]))
            let place = prefix == 0 ? state.position : b.upload(HostTensor([Int32(0)], [1]))
            return BenchmarkWork(
                tokens: sizes.images, on: b,
                begin: {
                    b.write(HostTensor([Int32($0)], [1]), to: state.position)
                    if prefix > 0 { b.write(HostTensor([Int32(prefix + $0)], [1]), to: place) }
                },
                unit: {
                    b.copy(b.guideAndSample(step(last, place), state, into: codes), to: last)
                    b.increment(in: state.position)
                    if prefix > 0 { b.increment(in: place) }
                })
        }
    }

    /// Zeros, since a place late in the sequence is measured without those before it.
    private func emptied(_ caches: [KeyValueCache], on b: any Backend) -> [KeyValueCache] {
        guard let shape = caches.first?.keys.shape else { return caches }
        let mark = b.arena.mark
        // One token of every head and row; a cache is as many of these as it has places.
        let token: Shape = [shape[0], shape[1], shape[3]]
        let zeros = b.allocate(token, b.cacheType)
        b.write(HostTensor([Float](repeating: 0, count: token.elementCount), token), to: zeros)
        for tensor in caches.flatMap({ [$0.keys, $0.values] }) {
            let places = tensor.reshaped(Shape(shape[2], token.elementCount))
            for place in 0..<shape[2] {
                b.copy(zeros.reshaped(Shape(1, token.elementCount)), to: places.prefixRows(place..<place + 1))
            }
        }
        b.arena.rewind(to: mark)
        return caches
    }

    func decode(_ network: some EncoderDecoder, _ sizes: BenchmarkSizes) -> Preparation {
        let text = text(rows: sizes.rows, length: network.maximumTextLength, vocabulary: network.vocabularySize)
        return decode(sizes, imageLength: network.imageLength) { capacity, b in
            let prompt = network.prepare(network.encode(text, on: b), on: b)
            let caches = emptied(network.makeCaches(rows: sizes.rows, capacity: capacity, on: b), on: b)
            return { tokens, position in network.step(tokens, at: position, caches, prompt, on: b) }
        }
    }

    /// As after a caption of the full length, whose keys and values are zeros here.
    func decode(_ network: LlamaGen, _ sizes: BenchmarkSizes) -> Preparation {
        let c = network.configuration
        return decode(sizes, imageLength: c.imageLength, after: c.textLength) { capacity, b in
            let caches = emptied(
                network.makeCaches(rows: sizes.rows, capacity: c.textLength + capacity, on: b), on: b)
            return { tokens, place in network.step(tokens, at: place, caches, on: b) }
        }
    }

    /// The caption: all layers over its places.
    func prefill(_ network: LlamaGen, _ sizes: BenchmarkSizes) -> Preparation {
        { b in
            let c = network.configuration
            let features = randomNumbers([sizes.rows, c.textLength, c.textWidth], on: b)
            return BenchmarkWork(tokens: sizes.rows * c.textLength, on: b, isRecorded: false) {
                _ = network.states(prefix: network.prefix(features, on: b), nil, on: b)
            }
        }
    }

    /// The prompt: encoder, and keys and values of every cross-attention.
    func prefill(_ network: some EncoderDecoder, _ sizes: BenchmarkSizes) -> Preparation {
        { b in
            let length = min(sizes.tokens ?? network.maximumTextLength, network.maximumTextLength)
            let text = text(rows: sizes.rows, length: length, vocabulary: network.vocabularySize)
            return BenchmarkWork(tokens: sizes.rows * length, on: b, isRecorded: false) {
                _ = network.prepare(network.encode(text, on: b), on: b)
            }
        }
    }
}

/// A network of two halves: an encoder reads the prompt, a decoder writes image tokens.
protocol EncoderDecoder {
    associatedtype Text
    associatedtype PreparedPrompt

    var vocabularySize: Int { get }
    /// The most tokens that a prompt can have.
    var maximumTextLength: Int { get }
    /// How many tokens an image has.
    var imageLength: Int { get }

    func encode(_ tokens: TokenRows, on b: any Backend) -> Text
    func prepare(_ text: Text, on b: any Backend) -> PreparedPrompt
    func makeCaches(rows: Int, capacity: Int?, on b: any Backend) -> [KeyValueCache]
    /// - Returns: `[rows, codes]`
    func step(
        _ tokens: Tensor, at position: Tensor, _ caches: [KeyValueCache], _ prompt: PreparedPrompt, on b: any Backend
    ) -> Tensor
}

extension Parti: EncoderDecoder {
    var vocabularySize: Int { configuration.vocabularySize }
    var maximumTextLength: Int { configuration.maximumTextLength }
    var imageLength: Int { configuration.imageLength }
}

extension DalleBart: EncoderDecoder {
    var vocabularySize: Int { configuration.vocabularySize }
    var maximumTextLength: Int { configuration.maximumTextLength }
    var imageLength: Int { configuration.imageLength }
}
