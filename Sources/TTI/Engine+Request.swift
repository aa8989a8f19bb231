import TTIAccounting
import TTICore
package import TTIGeneration

extension Engine {
    /// The request as a batch of one image, every default filled in and every value checked.
    package func batch(for request: GenerationRequest) throws -> ImageBatch {
        try batches(for: request)(0..<1)
    }

    /// The request with every default filled in and every value checked, as what makes the batch of some of its images: one
    /// at a time, because what an image begins with can be large.
    private func batches(for request: GenerationRequest) throws -> (_ images: Range<Int>) throws -> ImageBatch {
        try translatingErrors {
            var settings = pipeline.defaults
            try fill(&settings, from: request)
            let (prompt, negative) = (pipeline.tokenize(request.prompt), pipeline.tokenize(request.negativePrompt))
            let beginning = try beginning(of: request, settings)
            return { [settings, pipeline] images in
                let items = images.map { index in
                    ImageBatch.Item(prompt: prompt, negative: negative, seed: request.seed &+ UInt64(index))
                }
                var batch = ImageBatch(items: items, settings: settings)
                beginning.apply(to: &batch)
                try translatingErrors { try pipeline.check(batch) }
                return batch
            }
        }
    }

    private func fill(_ settings: inout GenerationSettings, from request: GenerationRequest) throws {
        let kind = checkpoint.kind
        /// The value of an option that some modes have.
        func only<T>(_ kinds: [PipelineCheckpoint.Kind], _ value: T?, _ option: String) throws -> T? {
            guard value == nil || kinds.contains(kind) else {
                let owners = kinds.map(\.words).joined(separator: " and ")
                throw SettingsError("usage.mode", "\(option) belongs to \(owners); this checkpoint \(kind.deed)")
            }
            return value
        }
        func masked<T>(_ value: T?, _ option: String) throws -> T? { try only([.masked], value, option) }
        try require(request.count, in: 1...1_000_000, "count")
        if let steps = try only([.masked, .diffusion], request.steps, "steps") {
            try require(steps, in: 1...1024, "steps")
            settings.steps = steps
        }
        if let guidance = request.guidance {
            try require(guidance, in: 0...1000, "guidance")
            settings.guidance = guidance
        }
        if let temperature = try only([.masked, .autoregressive], request.temperature, "temperature") {
            try require(temperature, in: 0...1000, "temperature")
            // one number stands for a line down to (almost) nothing, as in the reference scheduler
            let last = try masked(request.finalTemperature, "a second temperature") ?? min(temperature, 0.01)
            try require(last, in: 0...1000, "temperature")
            settings.temperature = kind == .masked ? [temperature, last] : [temperature, temperature]
        }
        if let topK = try only([.masked, .autoregressive], request.topK, "top-k") {
            try require(topK, in: 0...1_000_000, "top-k")
            settings.topK = topK
        }
        if let topP = try only([.masked, .autoregressive], request.topP, "top-p") {
            try require(topP, in: Float.leastNormalMagnitude...1, "top-p", shown: "over 0, at most 1")
            settings.topP = topP
        }
        if let schedule = try masked(request.schedule, "schedule") {
            settings.schedule = .init(rawValue: schedule.rawValue) ?? settings.schedule
        }
        if let order = try masked(request.order, "order") {
            settings.order = .init(rawValue: order.rawValue) ?? settings.order
        }
        if let ramp = try masked(request.guidanceRamp, "guidance-ramp") {
            settings.guidanceRamp = .init(rawValue: ramp.rawValue) ?? settings.guidanceRamp
        }
        if let scheduler = try only([.diffusion], request.scheduler, "scheduler") {
            settings.scheduler = .init(rawValue: scheduler.rawValue) ?? settings.scheduler
        }
        settings.randomNumbers = .init(rawValue: request.randomNumbers.rawValue) ?? settings.randomNumbers
        settings.gridWidth = try tokens(
            request.width ?? request.source?.image.width, "width", standard: settings.gridWidth)
        settings.gridHeight = try tokens(
            request.height ?? request.source?.image.height, "height", standard: settings.gridHeight)
        if let interval = request.previewInterval { try require(interval, in: 1...1_000_000, "preview") }
    }

    /// Pixels to tokens.
    private func tokens(_ pixels: Int?, _ option: String, standard: Int) throws -> Int {
        let factor = pipeline.pixelsPerToken
        guard let pixels else {
            guard standard * factor <= 4096 else {
                throw SettingsError(
                    "usage.size",
                    "this checkpoint's own size is \(standard * factor), and 4096 is the most; give \(option)")
            }
            return standard
        }
        guard pixels >= factor, pixels <= 4096, pixels % factor == 0 else {
            throw SettingsError(
                "usage.size",
                "\(option) \(pixels) cannot be made: this checkpoint makes multiples of \(factor) from \(factor) to 4096"
            )
        }
        return pixels / factor
    }

    /// What every image of a request begins with: nothing, a picture's tokens, or tokens that were given.
    private func beginning(of request: GenerationRequest, _ settings: GenerationSettings) throws -> Beginning {
        guard (request.initialTokens == nil && request.initialLatents == nil) || request.source == nil else {
            throw SettingsError(
                "usage.source", "a picture and tokens or latents to begin with were both given; give one of them")
        }
        if let tokens = request.initialTokens { return .tokens(tokens) }
        if let latents = request.initialLatents { return .latents(latents) }
        guard let source = request.source else { return .nothing }
        guard checkpoint.kind != .autoregressive else {
            throw SettingsError(
                "usage.source",
                "a picture to begin with needs masked decoding or diffusion; this checkpoint decodes one token at a time"
            )
        }
        let (width, height) = (
            settings.gridWidth * pipeline.pixelsPerToken, settings.gridHeight * pipeline.pixelsPerToken
        )
        for (image, what) in [(source.image, "picture"), (source.mask ?? source.image, "mask")]
        where image.width != width || image.height != height {
            throw SettingsError(
                "usage.source",
                "the \(what) is \(image.width)x\(image.height), and the image to make \(width)x\(height)")
        }
        try require(source.strength, in: 0...1, "strength")
        let isOpen = source.mask.map {
            SourceTokens.openTokens(
                mask: $0.brightness, height: height, width: width, factor: pipeline.pixelsPerToken)
        }
        return .picture(try encode(source.image), isOpen: isOpen, strength: source.strength)
    }

    private enum Beginning {
        case nothing
        case tokens([Int32])
        case latents([Float])
        case picture(ImageCode, isOpen: [Bool]?, strength: Float)

        /// Gives every image of a batch what it begins with.
        func apply(to batch: inout ImageBatch) {
            switch self {
            case .nothing: break
            case .tokens(let tokens):
                for index in batch.items.indices { batch.items[index].initialTokens = tokens }
            case .latents(let latents):
                for index in batch.items.indices { batch.items[index].initialLatents = latents }
            case .picture(.tokens(let codes), let isOpen, let strength):
                SourceTokens.begin(&batch, codes: codes, isOpen: isOpen, strength: strength)
            case .picture(.latents(let latents), let isOpen, let strength):
                SourceLatents.begin(&batch, picture: latents, isOpen: isOpen, strength: strength)
            }
        }
    }

    /// A picture's tokens or latents.
    private func encode(_ image: RGBImage) throws -> ImageCode {
        let pixels = image.pixels.map { Float($0) / 255 }
        let counter = AccountingBackend(NumberTypes(backend))
        let double = try checkpoint.makePipeline(on: counter, weights: .shapes)
        _ = try double.encode(pixels: pixels, height: image.height, width: image.width)
        try backend.reserve(arenaBytes: counter.arena.peak)
        return try pipeline.encode(pixels: pixels, height: image.height, width: image.width)
    }

    private func require<T: Comparable>(
        _ value: T, in range: ClosedRange<T>, _ option: String, shown: String? = nil
    ) throws {
        guard range.contains(value) else {
            throw SettingsError(
                "usage.range", "\(option) is \(value), not \(shown ?? "\(range.lowerBound) to \(range.upperBound)")")
        }
    }

    // MARK: Many images

    /// How many images are decoded together when nobody says: enough to share the first step and every pass over the
    /// weights, few enough that memory stays small.
    package static let automaticBatch = 4

    /// Makes the images of a request; each is in its event and is kept nowhere else.
    func generate(
        _ request: GenerationRequest, _ mode: GenerationMode, batchSize: Int?, onEvent: (GenerationEvent) -> Bool
    ) throws {
        let batches = try batches(for: request)
        let size = max(1, min(batchSize ?? Engine.automaticBatch, request.count))
        func send(_ event: GenerationEvent) throws {
            guard onEvent(event) else { throw TTIError(.cancelled, "cancelled", "cancelled") }
        }
        for start in stride(from: 0, to: request.count, by: size) {
            let range = start..<min(start + size, request.count)
            let batch = try batches(range)
            let prompt = batch.items[0].prompt
            if start == 0, prompt.truncatedCount > 0 {
                try send(.truncated(tokens: prompt.truncatedCount, text: prompt.truncatedText))
            }
            let made = try run(batch, previewInterval: request.previewInterval) { done, count, preview in
                if let preview, !onEvent(.preview(preview, images: range, done: done)) { return false }
                return onEvent(.step(done: done, of: count, images: range))
            }
            var timings = made.timings
            timings.load = start == 0 ? takeLoadSeconds() : 0
            let (width, height) = (made.images[0].width, made.images[0].height)
            for (offset, index) in range.enumerated() {
                let image = GeneratedImage(
                    image: made.images[offset], index: index, seed: request.seed &+ UInt64(index),
                    tokens: made.codes[offset].tokens, latents: made.codes[offset].latents,
                    tokenGrid: (batch.settings.gridHeight, batch.settings.gridWidth),
                    truncatedTokens: prompt.truncatedCount,
                    settings: ResolvedSettings(batch.settings, mode, width: width, height: height),
                    timings: timings)
                try send(.image(image))
            }
        }
    }
}

extension ResolvedSettings {
    init(_ settings: GenerationSettings, _ mode: GenerationMode, width: Int, height: Int) {
        self.init(
            mode: mode, steps: settings.steps, guidance: settings.guidance,
            temperature: mode == .parallel
                ? [settings.temperature[0], settings.temperature[1]] : [settings.temperature[0]],
            topK: settings.topK, topP: settings.topP,
            schedule: .init(rawValue: settings.schedule.rawValue) ?? .cosine,
            order: .init(rawValue: settings.order.rawValue) ?? .confidence,
            guidanceRamp: .init(rawValue: settings.guidanceRamp.rawValue) ?? .constant,
            scheduler: .init(rawValue: settings.scheduler.rawValue) ?? .ddim,
            width: width, height: height, randomNumbers: .init(rawValue: settings.randomNumbers.rawValue) ?? .philox)
    }
}

extension PipelineCheckpoint.Kind {
    /// What it is called.
    fileprivate var words: String {
        switch self {
        case .masked: "masked decoding"
        case .autoregressive: "autoregressive decoding"
        case .diffusion: "latent diffusion"
        }
    }

    /// What a checkpoint of this kind does.
    fileprivate var deed: String {
        switch self {
        case .masked: "decodes many tokens at a time"
        case .autoregressive: "decodes one token at a time"
        case .diffusion: "is one of latent diffusion"
        }
    }
}

extension GenerationMode {
    init(_ kind: PipelineCheckpoint.Kind) {
        self =
            switch kind {
            case .masked: .parallel
            case .autoregressive: .autoregressive
            case .diffusion: .diffusion
            }
    }
}

extension RGBImage {
    /// The mean of the three channels, `[height, width]` in 0...1.
    var brightness: [Float] {
        stride(from: 0, to: pixels.count, by: 3).map { pixel in
            Float(Int(pixels[pixel]) + Int(pixels[pixel + 1]) + Int(pixels[pixel + 2])) / 765
        }
    }
}
