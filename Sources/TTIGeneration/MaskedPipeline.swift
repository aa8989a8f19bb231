package import TTICore
internal import TTIFormats
package import TTIModels
package import TTIText

/// Masked parallel decoding (Muse, aMUSEd): every step predicts all masked tokens at once and keeps the surest.
///
/// The loop is `step`: tokens → transformer → logits where a token is unknown → guidance → choice, on the device.
package final class MaskedPipeline: ImagePipeline {
    package let backend: any Backend
    package let defaults: GenerationSettings
    let tokenizer: any Tokenizer
    let textEncoder: CLIPTextModel
    let transformer: UVit2D
    let detokenizer: Detokenizer
    let maskToken: Int
    private var run: Run?
    private var fault: DeviceError?

    /// A prepared batch.
    private struct Run {
        let batch: ImageBatch
        let plan: MaskPlan
        /// Text states, cross-attention keys and values, modulations: nothing of it depends on the step.
        let prompt: UVit2D.PreparedPrompt
        let state: SamplingState
        let grid: MaskedGrid
        /// With PyTorch's random numbers only: one generator for each image.
        var generators: [TorchRandomStream]
        /// Where replays pay: the network without its head, recorded at the first step of all images.
        var recorded: RecordedNetwork?
    }

    /// The part of a step whose shapes are the same in every step.
    private struct RecordedNetwork {
        let program: any Program
        /// `[rows, tokens, channels]`, what every replay leaves.
        let hidden: Tensor
        /// Where the arena's memory that it lies in ends.
        let end: Int
    }

    package init(
        tokenizer: any Tokenizer, textEncoder: CLIPTextModel, transformer: UVit2D, detokenizer: Detokenizer,
        maskToken: Int, defaults: GenerationSettings, on backend: any Backend
    ) {
        self.tokenizer = tokenizer
        self.textEncoder = textEncoder
        self.transformer = transformer
        self.detokenizer = detokenizer
        self.maskToken = maskToken
        self.defaults = defaults
        self.backend = backend
    }

    package var pixelsPerToken: Int { detokenizer.pixelsPerToken }

    // MARK: Prepare

    /// What aMUSEd's transformer is told of an image besides the prompt: its size, where it was cut from, how it looks.
    static func microConditions(_ width: Int, _ height: Int) -> [Float] { [Float(width), Float(height), 0, 0, 6] }
    static let microConditionCount = 5

    package func tokenize(_ prompt: String) -> PromptTokens {
        PromptTokens(prompt, tokenizer, length: textEncoder.configuration.maximumLength)
    }

    package func check(_ batch: ImageBatch) throws(SettingsError) {
        let settings = batch.settings
        if transformer.configuration.downsample, settings.gridHeight % 2 + settings.gridWidth % 2 > 0 {
            throw SettingsError(
                "usage.size", "this checkpoint makes widths and heights that are multiples of \(2 * pixelsPerToken)")
        }
        if settings.randomNumbers == .torch, batch.firstStep > 0 {
            throw SettingsError(
                "usage.rng", "PyTorch's random numbers cannot begin with a picture; leave out --rng torch")
        }
        try batch.checkHasNoLatents()
        try batch.checkInitialTokens(codes: transformer.configuration.codebookSize)
    }

    package func prepare(_ batch: ImageBatch) {
        let b = backend
        let settings = batch.settings
        b.arena.rewind(to: 0)
        fault = nil

        let text = textEncoder(TokenRows(batch.textRows.map(\.ids)), on: b)
        guard let pooled = text.projected else { preconditionFailure("a text encoder without projection") }
        let (width, height) = (settings.gridWidth * pixelsPerToken, settings.gridHeight * pixelsPerToken)
        let prompt = transformer.prepare(
            text: text.penultimate, pooled: pooled, microConditions: [MaskedPipeline.microConditions(width, height)],
            on: b)

        let plan = MaskPlan(
            settings.schedule, steps: settings.steps, tokenCount: settings.tokenCount, masked: batch.maskedCount,
            firstStep: batch.firstStep, startingShare: batch.openShare)
        let known = batch.items.flatMap { $0.initialTokens ?? [Int32](repeating: -1, count: settings.tokenCount) }
        let shape: Shape = [batch.items.count, settings.tokenCount]
        let grid = MaskedGrid(
            tokens: b.upload(HostTensor(known.map { $0 < 0 ? Int32(maskToken) : $0 }, shape)),
            predicted: b.upload(HostTensor(known.map { max($0, 0) }, shape)),
            maskToken: maskToken,
            remaining: b.upload(HostTensor(plan.remaining, [plan.remaining.count])),
            noise: b.upload(settings.noiseByStep, from: batch.firstStep),
            order: settings.order == .halton
                ? b.upload(
                    HostTensor(
                        HaltonOrder.ranks(height: settings.gridHeight, width: settings.gridWidth), [settings.tokenCount]
                    ))
                : nil)
        run = Run(
            batch: batch, plan: plan, prompt: prompt,
            // the token itself is drawn at temperature 1; the settings' temperature is the noise on confidences
            state: b.samplingState(batch, temperature: 1, firstStep: batch.firstStep), grid: grid,
            generators: settings.randomNumbers == .torch ? batch.items.map { TorchRandomStream(seed: $0.seed) } : [])
    }

    // MARK: Loop

    package var stepCount: Int { run?.plan.maskedBefore.count ?? 0 }

    package func step(_ index: Int) {
        guard let run else { preconditionFailure("a step before prepare") }
        let b = backend
        let settings = run.batch.settings
        let masked = run.plan.maskedBefore[index]
        guard masked > 0 else { return b.increment(in: run.state.position) }
        let mark = b.arena.mark
        defer { b.arena.rewind(to: mark) }

        // at first nothing is known, so images of one prompt have the same logits
        let isShared = index == 0 && masked == settings.tokenCount && run.batch.isOnePrompt
        let tokens = isShared ? run.grid.tokens.prefixRows(0..<1) : run.grid.tokens  // [images or 1, tokens]
        let hidden = hidden(tokens, run)  // [rows, tokens, channels]
        let unknown = b.maskedPlaces(tokens, maskToken: maskToken, count: masked)  // [images or 1, masked]
        var logits = transformer.logits(hidden, at: unknown, on: b)  // [rows, masked, codes]
        if settings.isGuided { logits = b.guide(logits, run.state) }  // [images or 1, masked, codes]
        if settings.randomNumbers == .torch {
            chooseOnHost(index, logits)
        } else {
            let places = isShared ? b.maskedPlaces(run.grid.tokens, maskToken: maskToken, count: masked) : unknown
            b.unmask(logits, at: places, run.state, in: run.grid)
        }
        b.increment(in: run.state.position)
    }

    /// Tokens to what the head sees. The shapes after it follow the schedule; those in it are the same in every step but a
    /// first one that several images share.
    private func hidden(_ tokens: Tensor, _ run: Run) -> Tensor {
        let b = backend
        guard b.issuesAhead, tokens.shape == run.grid.tokens.shape else { return network(tokens, run) }
        let mark = b.arena.mark
        if let recorded = run.recorded {
            recorded.program.replay()
            // Its memory is taken, as it was in the recording.
            b.arena.rewind(to: mark)
            _ = b.arena.allocate([recorded.end - mark], .int8)
            return recorded.hidden
        }
        var hidden: Tensor?
        let program = b.record { [unowned self] in
            b.arena.rewind(to: mark)
            hidden = network(tokens, run)
        }
        guard let hidden else { preconditionFailure("a recording that did not happen") }
        self.run?.recorded = RecordedNetwork(program: program, hidden: hidden, end: b.arena.mark)
        return hidden
    }

    private func network(_ tokens: Tensor, _ run: Run) -> Tensor {
        let b = backend
        let settings = run.batch.settings
        let rows = settings.isGuided ? b.concatenate(tokens, tokens, axis: 0) : tokens  // [rows, tokens]
        return transformer.hidden(
            rows.reshaped(Shape(rows.shape[0], settings.gridHeight, settings.gridWidth)), run.prompt, on: b)
    }

    /// The step's choice as diffusers makes it with PyTorch's random numbers.
    private func chooseOnHost(_ index: Int, _ logits: Tensor) {
        guard var run else { return }
        do {
            let (masked, codes) = (logits.shape[1], logits.shape[2])
            let values = try backend.read(logits)
            var tokens = try backend.readIntegers(run.grid.tokens).chunks(of: run.batch.settings.tokenCount)
            var predicted: [Int32] = []
            let noise = run.batch.settings.noiseByStep
            for image in tokens.indices {
                let start = logits.shape[0] == 1 ? 0 : image * masked * codes
                let places = tokens[image].indices.filter { tokens[image][$0] == Int32(maskToken) }
                predicted += TorchChoice.unmask(
                    &tokens[image], maskToken: Int32(maskToken), places: places,
                    logits: Array(values[start..<start + masked * codes]), vocabulary: codes,
                    remaining: index == stepCount - 1 ? nil : Int(run.plan.remaining[index]),
                    noise: noise[index + run.batch.firstStep], &run.generators[image])
            }
            backend.write(HostTensor(tokens.flatMap { $0 }, run.grid.tokens.shape), to: run.grid.tokens)
            backend.write(HostTensor(predicted, run.grid.predicted.shape), to: run.grid.predicted)
            self.run = run
        } catch { fault = fault ?? error }
    }

    // MARK: Finish

    package func codes() throws(DeviceError) -> [ImageCode] {
        if let fault { throw fault }
        guard let run else { return [] }
        let tokens = try backend.readIntegers(run.grid.predicted)
        return tokens.chunks(of: run.batch.settings.tokenCount).map { .tokens($0) }
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
