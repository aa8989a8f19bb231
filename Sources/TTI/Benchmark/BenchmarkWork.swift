internal import TTICore
internal import TTIFormats
internal import TTIModels

/// Work that is measured unit by unit: a token of every image, a masked step, a prompt, a picture.
final class BenchmarkWork {
    /// Image tokens that a unit makes.
    let tokens: Int
    /// Puts the sequence at a position; for decoding.
    let begin: (_ position: Int) -> Void
    private let backend: any Backend
    private let unit: () -> Void
    private let isRecorded: Bool
    private var program: (any Program)?

    /// - Parameters:
    ///   - isRecorded: whether a unit reads nothing from the host, so that it is recorded at first and replayed then.
    ///   - begin: puts the sequence at a position.
    ///   - unit: issues a unit; what it allocates is given back.
    init(
        tokens: Int, on backend: any Backend, isRecorded: Bool = true, begin: @escaping (Int) -> Void = { _ in },
        unit: @escaping () -> Void
    ) {
        self.tokens = tokens
        self.backend = backend
        self.isRecorded = isRecorded
        self.begin = begin
        self.unit = {
            let mark = backend.arena.mark
            defer { backend.arena.rewind(to: mark) }
            unit()
        }
    }

    /// A unit, without waiting for it.
    func issue() {
        if let program {
            program.replay()
        } else if isRecorded {
            program = backend.record(unit)
        } else {
            unit()
        }
    }

    func wait() throws(DeviceError) { try backend.synchronize() }

    /// A unit at a position, and waits for it.
    func run(_ position: Int) throws {
        begin(position)
        issue()
        try wait()
    }
}

/// Sizes of what is measured.
struct BenchmarkSizes {
    /// Rows: two are one image with guidance, where there is guidance.
    var rows: Int
    /// Tokens of a sequence, where that is not the network's.
    var tokens: Int?
    /// Pixels of an image's side.
    var side: Int?

    /// Images whose rows these are: an even number of rows is guided.
    var images: Int { rows % 2 == 0 ? rows / 2 : rows }
}

// Each loads a network and gives what puts its state into the arena and then does units of work.
extension BenchmarkSubject {
    typealias Preparation = (any Backend) throws -> BenchmarkWork

    func load(
        _ what: Benchmark.What, _ sizes: BenchmarkSizes, on b: any Backend, isCounting: Bool
    ) throws -> Preparation {
        switch (what, network) {
        case (.decode, .parti(let c)):
            return decode(try parti(c, on: b, isCounting: isCounting), sizes)
        case (.prefill, .parti(let c)):
            return prefill(try parti(c, on: b, isCounting: isCounting), sizes)
        case (.decode, .dalleBart(let c)):
            return decode(try dalleBart(c, on: b, isCounting: isCounting), sizes)
        case (.prefill, .dalleBart(let c)):
            return prefill(try dalleBart(c, on: b, isCounting: isCounting), sizes)
        case (.decode, .llamaGen(let c)):
            return decode(try llamaGen(c, on: b, isCounting: isCounting), sizes)
        case (.prefill, .llamaGen(let c)):
            return prefill(try llamaGen(c, on: b, isCounting: isCounting), sizes)
        case (.step, .muse(let c)):
            return step(try muse(c, on: b, isCounting: isCounting), sizes)
        case (.prefill, .muse(let c)):
            return prefill(try muse(c, on: b, isCounting: isCounting), sizes)
        case (.step, .amused(let c, _)):
            return try step(try transformer(c, on: b, isCounting: isCounting), sizes)
        case (.prefill, .amused(let c, let text)):
            return prefill(
                try textEncoder(text, on: b, isCounting: isCounting), try transformer(c, on: b, isCounting: isCounting),
                sizes)
        case (.detokenize, .vqgan(let c)):
            return try detokenize(try detokenizer(c, on: b, isCounting: isCounting), sizes)
        case (.step, .unet(let c, _)):
            return try denoise(try unet(c, on: b, isCounting: isCounting), sizes)
        case (.prefill, .unet(let c, let texts)):
            let encoders = try texts.enumerated().map {
                try textEncoder(
                    $1, component: $0 == 0 ? "text_encoder" : "text_encoder_2", on: b, isCounting: isCounting)
            }
            return prefill(encoders, try unet(c, on: b, isCounting: isCounting), sizes)
        case (.detokenize, .autoencoder(let c)):
            return try detokenize(try autoencoder(c, on: b, isCounting: isCounting), sizes)
        default:
            let fitting =
                switch network {
                case .parti, .dalleBart, .llamaGen: "decode, prefill"
                case .muse, .amused, .unet: "step, prefill"
                case .vqgan, .autoencoder: "detokenize"
                }
            throw TTIError(
                .usage, "usage.bench",
                "'\(what.rawValue)' is nothing that \(name) does; it can be measured with: \(fitting)")
        }
    }

    // MARK: Masked

    /// A share of the places that is masked in the middle of cosine decoding.
    private static let openShare = 0.7071

    /// A step of masked decoding: transformer, logits of the unknown places, guidance, choice.
    private func step(
        _ sizes: BenchmarkSizes, places: Int, maskToken: Int, on b: any Backend,
        _ logits: @escaping (_ tokens: Tensor, _ unknown: Tensor) -> Tensor
    ) -> BenchmarkWork {
        let images = sizes.images
        let open = max(1, Int(Double(places) * BenchmarkSubject.openShare))
        let start = (0..<images * places).map { index in
            index % places * 7919 % places < open ? Int32(maskToken) : Int32(index % 100)
        }
        let begin = b.upload(HostTensor(start, [images, places]))
        let tokens = b.upload(HostTensor(start, [images, places]))
        let zero = b.upload(HostTensor([Int32(0)], [1]))
        let state = samplingState(images, on: b)
        let grid = MaskedGrid(
            tokens: tokens, predicted: b.upload(HostTensor(start.map { min($0, 99) }, [images, places])),
            maskToken: maskToken, remaining: b.upload(HostTensor([Int32(open / 2)], [1])),
            noise: b.upload(HostTensor([Float(1)], [1])), order: nil)
        let masked = start.prefix(places).count { $0 == Int32(maskToken) }
        return BenchmarkWork(tokens: images * places, on: b) {
            b.copy(begin, to: tokens)
            b.copy(zero, to: state.position)
            let unknown = b.maskedPlaces(tokens, maskToken: maskToken, count: masked)
            let rows = sizes.rows == images ? tokens : b.concatenate([tokens, tokens], axis: 0)
            var choice = logits(rows, unknown)
            if sizes.rows != images { choice = b.guide(choice, state) }
            b.unmask(choice, at: unknown, state, in: grid)
        }
    }

    private func step(_ network: MuseBase, _ sizes: BenchmarkSizes) -> Preparation {
        { b in
            let c = network.configuration
            let text = randomNumbers([sizes.rows, c.textLength, c.textWidth], on: b)
            let prompt = network.prepare(text: text, on: b)
            let side = c.gridSide
            return step(sizes, places: side * side, maskToken: c.maskToken, on: b) { tokens, unknown in
                let hidden = network.hidden(tokens.reshaped([sizes.rows, side, side]), prompt, on: b)
                return network.logits(hidden, at: unknown, on: b)
            }
        }
    }

    private func prefill(_ network: MuseBase, _ sizes: BenchmarkSizes) -> Preparation {
        { b in
            let c = network.configuration
            let text = randomNumbers([sizes.rows, c.textLength, c.textWidth], on: b)
            return BenchmarkWork(tokens: sizes.rows * c.textLength, on: b, isRecorded: false) {
                _ = network.prepare(text: text, on: b)
            }
        }
    }

    private func step(_ network: UVit2D, _ sizes: BenchmarkSizes) throws -> Preparation {
        let c = network.configuration
        let side = try sizes.tokenSide(factor: 16, standard: c.gridSide, multiple: c.downsample ? 2 : 1)
        return { b in
            let text = randomNumbers([sizes.rows, 77, c.textWidth], on: b)
            let pooled = randomNumbers([sizes.rows, c.pooledTextWidth], on: b)
            let conditions = Array(
                ([Float(16 * side), Float(16 * side), 0, 0, 6] + [Float](repeating: 0, count: 16)).prefix(
                    c.microConditionCount))
            let prompt = network.prepare(text: text, pooled: pooled, microConditions: [conditions], on: b)
            return step(sizes, places: side * side, maskToken: c.vocabularySize - 1, on: b) { tokens, unknown in
                let hidden = network.hidden(tokens.reshaped([sizes.rows, side, side]), prompt, on: b)
                return network.logits(hidden, at: unknown, on: b)
            }
        }
    }

    private func prefill(_ encoder: CLIPTextModel, _ network: UVit2D, _ sizes: BenchmarkSizes) -> Preparation {
        { b in
            let (c, t) = (network.configuration, encoder.configuration)
            let text = text(rows: sizes.rows, length: t.maximumLength, vocabulary: t.vocabularySize)
            let conditions = [Float](repeating: 256, count: c.microConditionCount)
            return BenchmarkWork(tokens: sizes.rows * t.maximumLength, on: b, isRecorded: false) {
                let states = encoder(text, on: b)
                if let pooled = states.projected {
                    _ = network.prepare(text: states.penultimate, pooled: pooled, microConditions: [conditions], on: b)
                }
            }
        }
    }

    // MARK: Pixels

    private func detokenize(_ network: VQGAN, _ sizes: BenchmarkSizes) throws -> Preparation {
        let c = network.configuration
        let side = try sizes.tokenSide(factor: c.scale, standard: max(1, 256 / c.scale))
        return { b in
            let codes = (0..<sizes.rows * side * side).map { Int32($0 * 37 % c.codebookSize) }
            let tokens = b.upload(HostTensor(codes, [sizes.rows, side, side]))
            return BenchmarkWork(tokens: codes.count, on: b) { _ = network.decode(tokens, on: b) }
        }
    }

    // MARK: State

    func samplingState(_ images: Int, on b: any Backend) -> SamplingState {
        SamplingState(
            settings: b.upload(HostTensor([1, 0, 1] as [Float], [3])),
            keys: b.upload(HostTensor((0..<images).flatMap { [Int32($0), 0] }, [images, 2])),
            position: b.upload(HostTensor([Int32(0)], [1])), guidance: b.upload(HostTensor([3] as [Float], [1])))
    }

    func text(rows: Int, length: Int, vocabulary: Int) -> TokenRows {
        TokenRows((0..<rows).map { row in (0..<length).map { Int32(2 + (row * 7919 + $0 * 31) % (vocabulary - 2)) } })
    }

    func randomNumbers(_ shape: [Int], on b: any Backend) -> Tensor {
        let count = shape.reduce(1, *)
        let values = (0..<count).map { Float($0 * 7919 % 2003) / 1001 - 1 }
        return b.uploadActivations(HostTensor(values, Shape(shape)))
    }
}

extension BenchmarkSizes {
    /// Tokens or latents of an image's side.
    /// - Parameter multiple: of this many.
    func tokenSide(factor: Int, standard: Int, multiple: Int = 1) throws(TTIError) -> Int {
        guard let side else { return standard }
        let step = multiple * factor
        guard side % step == 0 else {
            throw TTIError(
                .usage, "usage.size", "--size \(side) is no multiple of \(step), as this network's images are")
        }
        return side / factor
    }
}
