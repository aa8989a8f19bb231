import TTICore
import TTIGeneration

extension Engine {
    /// The request as a batch of one image, every default filled in and every value checked.
    package func batch(for request: GenerationRequest) throws -> ImageBatch {
        try Engine.translated {
            var settings = pipeline.defaults
            try fill(&settings, from: request)
            let item = ImageBatch.Item(
                prompt: pipeline.tokenize(request.prompt), negative: pipeline.tokenize(request.negativePrompt),
                seed: request.seed)
            var batch = ImageBatch(items: [item], settings: settings)
            try begin(&batch, from: request)
            try pipeline.check(batch)
            return batch
        }
    }

    private func fill(_ settings: inout GenerationSettings, from request: GenerationRequest) throws {
        let isMasked = checkpoint.kind == .masked
        func masked<T>(_ value: T?, _ option: String) throws -> T? {
            guard value == nil || isMasked else {
                throw SettingsError("usage.mode", "\(option) belongs to masked decoding; this checkpoint decodes one token at a time")
            }
            return value
        }
        try require(request.count, in: 1...1_000_000, "count")
        if let steps = try masked(request.steps, "steps") {
            try require(steps, in: 1...1024, "steps")
            settings.steps = steps
        }
        if let guidance = request.guidance {
            try require(guidance, in: 0...1000, "guidance")
            settings.guidance = guidance
        }
        if let temperature = request.temperature {
            try require(temperature, in: 0...1000, "temperature")
            // one number stands for a line down to (almost) nothing, as in the reference scheduler
            settings.temperature = isMasked ? [temperature, min(temperature, 0.01)] : [temperature, temperature]
        }
        if let topK = request.topK {
            try require(topK, in: 0...1_000_000, "top-k")
            settings.topK = topK
        }
        if let topP = request.topP {
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
        settings.randomNumbers = .init(rawValue: request.randomNumbers.rawValue) ?? settings.randomNumbers
        settings.gridWidth = try tokens(
            request.width ?? request.source?.image.width, "width", standard: settings.gridWidth)
        settings.gridHeight = try tokens(
            request.height ?? request.source?.image.height, "height", standard: settings.gridHeight)
        if let interval = request.previewInterval { try require(interval, in: 1...1_000_000, "preview") }
    }

    /// Pixels to tokens.
    private func tokens(_ pixels: Int?, _ option: String, standard: Int) throws -> Int {
        guard let pixels else { return standard }
        let factor = pipeline.pixelsPerToken
        guard pixels >= factor, pixels <= 4096, pixels % factor == 0 else {
            throw SettingsError(
                "usage.size", "\(option) \(pixels) cannot be made: this checkpoint makes multiples of \(factor) from \(factor) to 4096")
        }
        return pixels / factor
    }

    /// Where the tokens begin: all masked, a picture of which a part is kept, or tokens that were given.
    private func begin(_ batch: inout ImageBatch, from request: GenerationRequest) throws {
        if let tokens = request.initialTokens { batch.initialTokens = tokens }
        guard let source = request.source else { return }
        guard request.initialTokens == nil else {
            throw SettingsError("usage.source", "a picture and tokens to begin with were both given; give one of them")
        }
        guard checkpoint.kind == .masked else {
            throw SettingsError("usage.source", "a picture to begin with needs masked decoding; this checkpoint decodes one token at a time")
        }
        let settings = batch.settings
        guard source.image.width == settings.gridWidth * pipeline.pixelsPerToken,
            source.image.height == settings.gridHeight * pipeline.pixelsPerToken
        else {
            throw SettingsError("usage.source", "the picture is \(source.image.width)x\(source.image.height), the image to make another size")
        }
        try require(source.strength, in: 0...1, "strength")
        try SourceTokens.begin(&batch, source, pipeline)
    }

    private func require<T: Comparable>(
        _ value: T, in range: ClosedRange<T>, _ option: String, shown: String? = nil
    ) throws {
        guard range.contains(value) else {
            throw SettingsError("usage.range", "\(option) is \(value), not \(shown ?? "\(range.lowerBound) to \(range.upperBound)")")
        }
    }

    // MARK: Many images

    /// How many images are decoded together when nobody says: enough to share the first step and every pass over the
    /// weights, few enough that memory stays small.
    package static let automaticBatch = 4

    func generate(
        _ request: GenerationRequest, _ mode: GenerationMode, batchSize: Int?, onEvent: (GenerationEvent) -> Bool
    ) throws -> [GeneratedImage] {
        let first = try batch(for: request)
        let prompt = first.items[0].prompt
        let size = max(1, min(batchSize ?? Engine.automaticBatch, request.count))
        func send(_ event: GenerationEvent) throws {
            guard onEvent(event) else { throw TTIError(.cancelled, "cancelled", "cancelled") }
        }
        if prompt.truncatedCount > 0 {
            try send(.truncated(tokens: prompt.truncatedCount, text: prompt.truncatedText))
        }
        var results: [GeneratedImage] = []
        for start in stride(from: 0, to: request.count, by: size) {
            let range = start..<min(start + size, request.count)
            var batch = first
            batch.items = range.map { index in
                var item = first.items[0]
                item.seed = request.seed &+ UInt64(index)
                return item
            }
            let made = try run(batch, previewInterval: request.previewInterval) { done, count, preview in
                if let preview, !onEvent(.preview(preview, images: range, done: done)) { return false }
                return onEvent(.step(done: done, of: count, images: range))
            }
            var timings = made.timings
            timings.load = results.isEmpty ? takeLoadSeconds() : 0
            for (offset, index) in range.enumerated() {
                let image = GeneratedImage(
                    image: made.images[offset], index: index, seed: request.seed &+ UInt64(index),
                    tokens: made.tokens[offset],
                    tokenGrid: (batch.settings.gridHeight, batch.settings.gridWidth),
                    truncatedTokens: prompt.truncatedCount, settings: ResolvedSettings(batch.settings, mode),
                    timings: timings)
                results.append(image)
                try send(.image(image))
            }
        }
        return results
    }
}

extension ResolvedSettings {
    init(_ settings: GenerationSettings, _ mode: GenerationMode) {
        self.init(
            mode: mode, steps: settings.steps, guidance: settings.guidance,
            temperature: mode == .parallel
                ? [settings.temperature[0], settings.temperature[1]] : [settings.temperature[0]],
            topK: settings.topK, topP: settings.topP,
            schedule: .init(rawValue: settings.schedule.rawValue) ?? .cosine,
            order: .init(rawValue: settings.order.rawValue) ?? .confidence,
            guidanceRamp: .init(rawValue: settings.guidanceRamp.rawValue) ?? .constant,
            width: 0, height: 0, randomNumbers: .init(rawValue: settings.randomNumbers.rawValue) ?? .philox)
    }
}
