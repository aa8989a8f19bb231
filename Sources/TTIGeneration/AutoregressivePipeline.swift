package import TTICore
internal import TTIFormats
package import TTIModels
package import TTIText

/// Autoregressive decoding (Parti): one token at a time over a key-value cache, row by row from the top left.
///
/// The loop is `decodeToken`: embed the last token → decoder → head → guidance → sample, on the device, recorded once and
/// replayed for every token.
package final class AutoregressivePipeline: ImagePipeline {
    package let backend: any Backend
    package let defaults: GenerationSettings
    let tokenizer: any Tokenizer
    let transformer: Parti
    let detokenizer: Detokenizer
    private var run: Run?
    private var fault: DeviceError?

    /// A prepared batch.
    private final class Run {
        let batch: ImageBatch
        let prompt: Parti.PreparedPrompt
        let caches: [KeyValueCache]
        let state: SamplingState
        /// `[images]` int32: the last token of each.
        let last: Tensor
        /// `[images, tokens]` int32
        let codes: Tensor
        /// One token's work; nil until the first was done.
        var program: (any Program)?
        /// With PyTorch's random numbers only: one generator for each image.
        var generators: [TorchRandomStream]
        var done = 0

        init(
            batch: ImageBatch, prompt: Parti.PreparedPrompt, caches: [KeyValueCache], state: SamplingState,
            last: Tensor,
            codes: Tensor, generators: [TorchRandomStream]
        ) {
            self.batch = batch
            self.prompt = prompt
            self.caches = caches
            self.state = state
            self.last = last
            self.codes = codes
            self.generators = generators
        }
    }

    package init(
        tokenizer: any Tokenizer, transformer: Parti, detokenizer: Detokenizer, defaults: GenerationSettings,
        on backend: any Backend
    ) {
        self.tokenizer = tokenizer
        self.transformer = transformer
        self.detokenizer = detokenizer
        self.defaults = defaults
        self.backend = backend
    }

    package var pixelsPerToken: Int { detokenizer.pixelsPerToken }

    // MARK: Prepare

    package func tokenize(_ prompt: String) -> PromptTokens {
        PromptTokens(prompt, tokenizer, length: transformer.configuration.maximumTextLength)
    }

    package func check(_ batch: ImageBatch) throws(SettingsError) {
        let (settings, c) = (batch.settings, transformer.configuration)
        guard settings.gridHeight == c.imageHeight, settings.gridWidth == c.imageWidth else {
            let (width, height) = (c.imageWidth * pixelsPerToken, c.imageHeight * pixelsPerToken)
            throw SettingsError("usage.size", "this checkpoint makes \(width)x\(height) images only")
        }
        try batch.checkHasNoLatents()
        guard batch.items.allSatisfy({ $0.initialTokens == nil }) else {
            throw SettingsError(
                "usage.source", "tokens to begin with need masked decoding; this checkpoint decodes one token at a time"
            )
        }
    }

    package func prepare(_ batch: ImageBatch) {
        let b = backend
        let (images, rows) = (batch.items.count, batch.items.count * (batch.settings.isGuided ? 2 : 1))
        b.arena.rewind(to: 0)
        fault = nil
        let text = TokenRows(batch.textRows.map(\.ids)).masking(transformer.configuration.padToken)
        run = Run(
            batch: batch,
            prompt: transformer.prepare(transformer.encode(text, on: b), on: b),
            caches: transformer.makeCaches(rows: rows, on: b),
            state: b.samplingState(batch, temperature: batch.settings.drawingTemperature, firstStep: 0),
            last: b.upload(
                HostTensor([Int32](repeating: Int32(transformer.configuration.startToken), count: images), [images])),
            codes: b.upload(
                HostTensor(
                    [Int32](repeating: 0, count: images * batch.settings.tokenCount),
                    [images, batch.settings.tokenCount])),
            generators: batch.settings.randomNumbers == .torch
                ? batch.items.map { TorchRandomStream(seed: $0.seed) } : [])
    }

    // MARK: Loop

    package var stepCount: Int { run?.batch.settings.tokenCount ?? 0 }

    package func step(_ index: Int) {
        guard let run else { preconditionFailure("a step before prepare") }
        if let program = run.program {
            program.replay()
        } else if run.batch.settings.randomNumbers == .torch {
            decodeToken(run)  // chooses on the host, which cannot be recorded
        } else {
            run.program = backend.record { [unowned self, unowned run] in decodeToken(run) }
        }
        run.done = index + 1
    }

    /// One token of every image.
    private func decodeToken(_ run: Run) {
        let b = backend
        let mark = b.arena.mark
        defer { b.arena.rewind(to: mark) }
        let logits = transformer.step(
            run.last, at: run.state.position, run.caches, run.prompt, on: b)  // [rows, codes]
        let next =
            run.generators.isEmpty
            ? b.guideAndSample(logits, run.state, into: run.codes)  // [images]
            : chooseOnHost(run.batch.settings.isGuided ? b.guide(logits, run.state) : logits, run)
        b.copy(next, to: run.last)
        b.increment(in: run.state.position)
    }

    /// One token of every image with PyTorch's random numbers.
    private func chooseOnHost(_ logits: Tensor, _ run: Run) -> Tensor {
        let settings = run.batch.settings
        var tokens = [Int32](repeating: 0, count: run.generators.count)
        do {
            let values = try backend.read(logits).chunks(of: logits.shape.last)
            var codes = try backend.readIntegers(run.codes)
            for image in tokens.indices {
                tokens[image] = TorchChoice.sample(
                    values[image][...], temperature: settings.drawingTemperature, topK: settings.topK,
                    topP: settings.topP,
                    &run.generators[image])
                codes[image * settings.tokenCount + run.done] = tokens[image]
            }
            backend.write(HostTensor(codes, run.codes.shape), to: run.codes)
        } catch { fault = fault ?? error }
        return backend.upload(HostTensor(tokens, [tokens.count]))
    }

    // MARK: Finish

    /// Places that are still to come show the token above them.
    package func codes() throws(DeviceError) -> [ImageCode] {
        if let fault { throw fault }
        guard let run else { return [] }
        let settings = run.batch.settings
        var images = try backend.readIntegers(run.codes).chunks(of: settings.tokenCount)
        for image in images.indices {
            for place in run.done..<max(run.done, settings.tokenCount) {
                images[image][place] =
                    place >= settings.gridWidth
                    ? images[image][place - settings.gridWidth] : images[image][max(0, run.done - 1)]
            }
        }
        return images.map { .tokens($0) }
    }

    package func decode(_ codes: [ImageCode]) throws(DeviceError) -> [[Float]] {
        guard let settings = run?.batch.settings else { return [] }
        return try detokenizer.decode(
            codes.map(\.tokens), height: settings.gridHeight, width: settings.gridWidth, on: backend)
    }

    package func encode(pixels: [Float], height: Int, width: Int) throws(DeviceError) -> ImageCode {
        .tokens(try detokenizer.encode(pixels, height: height, width: width, on: backend))
    }
}
