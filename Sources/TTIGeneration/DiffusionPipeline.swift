package import TTICore
package import TTIModels

/// Latent diffusion (Stable Diffusion 1, 2 and XL): noise becomes a picture's latents, all of them at every step.
///
/// The loop is `denoise`: latents → UNet → guidance → the scheduler's update, on the device, recorded once and replayed for
/// every step.
package final class DiffusionPipeline: ImagePipeline {
    package let backend: any Backend
    package let defaults: GenerationSettings
    let text: DiffusionText
    let network: UNet
    let autoencoder: AutoencoderKL
    let schedulers: DiffusionSchedulers
    private var run: Run?

    /// A prepared batch.
    private final class Run {
        let batch: ImageBatch
        let plan: DiffusionPlan
        /// Keys and values of the text, and what every residual block adds at every step.
        let prepared: UNet.Prepared
        let state: DiffusionState
        let guidance: SamplingState
        /// One step's work; nil until the first was done.
        var program: (any Program)?
        var done = 0

        init(
            batch: ImageBatch, plan: DiffusionPlan, prepared: UNet.Prepared, state: DiffusionState,
            guidance: SamplingState
        ) {
            self.batch = batch
            self.plan = plan
            self.prepared = prepared
            self.state = state
            self.guidance = guidance
        }
    }

    package init(
        text: DiffusionText, network: UNet, autoencoder: AutoencoderKL, schedulers: DiffusionSchedulers,
        defaults: GenerationSettings, on backend: any Backend
    ) {
        self.text = text
        self.network = network
        self.autoencoder = autoencoder
        self.schedulers = schedulers
        self.defaults = defaults
        self.backend = backend
    }

    package var pixelsPerToken: Int { autoencoder.configuration.scale }
    private var channels: Int { network.configuration.inputChannels }

    // MARK: Prepare

    package func tokenize(_ prompt: String) -> PromptTokens { text.tokenize(prompt) }

    package func check(_ batch: ImageBatch) throws(SettingsError) {
        let settings = batch.settings
        let step = network.configuration.latentStep
        guard settings.gridHeight % step == 0, settings.gridWidth % step == 0 else {
            throw SettingsError(
                "usage.size", "this checkpoint makes widths and heights that are multiples of \(step * pixelsPerToken)")
        }
        if settings.randomNumbers == .torch, batch.items.contains(where: { $0.picture != nil }) {
            throw SettingsError(
                "usage.rng", "PyTorch's random numbers cannot begin with a picture; leave out --rng torch")
        }
        let count = settings.tokenCount * channels
        for item in batch.items {
            guard item.initialTokens == nil else {
                throw SettingsError(
                    "usage.source", "tokens to begin with need masked decoding; this checkpoint has latents")
            }
            for latents in [item.initialLatents, item.picture] where latents.map({ $0.count != count }) ?? false {
                throw SettingsError(
                    "usage.latents",
                    "\(latents?.count ?? 0) latents to begin with, but the image has "
                        + "\(channels)x\(settings.gridHeight)x\(settings.gridWidth)")
            }
        }
        _ = try schedulers.plan(batch)
    }

    package func prepare(_ batch: ImageBatch) {
        let b = backend
        let settings = batch.settings
        b.arena.rewind(to: 0)
        guard let plan = try? schedulers.plan(batch) else { preconditionFailure("a batch that was not checked") }
        let condition = text(batch, on: b)
        let (height, width) = (Float(settings.gridHeight * pixelsPerToken), Float(settings.gridWidth * pixelsPerToken))
        let added = condition.pooled.map { pooled in
            UNetConditioning.Added(
                pooled: pooled,
                sizes: Array(repeating: [height, width, 0, 0, height, width], count: pooled.shape[0]))
        }
        let prepared = network.prepare(
            text: condition.states, added: added, timesteps: plan.updates.map { Float($0.timestep) }, on: b)
        let latents = DiffusionLatents(batch, plan, channels: channels)
        let state = b.diffusionState(plan, sample: latents.sample, noise: latents.noise, picture: latents.picture)
        run = Run(
            batch: batch, plan: plan, prepared: prepared, state: state,
            guidance: b.samplingState(batch, temperature: 1, firstStep: 0, position: state.position))
    }

    // MARK: Loop

    package var stepCount: Int { run?.plan.updates.count ?? 0 }

    package func step(_ index: Int) {
        guard let run else { preconditionFailure("a step before prepare") }
        if let program = run.program {
            program.replay()
        } else {
            run.program = backend.record { [unowned self, unowned run] in denoise(run) }
        }
        run.done = index + 1
    }

    /// One step of every image.
    private func denoise(_ run: Run) {
        let b = backend
        let mark = b.arena.mark
        defer { b.arena.rewind(to: mark) }
        let input = run.state.input  // [images, height, width, channels]
        let isGuided = run.batch.settings.isGuided
        let rows = isGuided ? b.concatenate(input, input, axis: 0) : input  // [rows, height, width, channels]
        let output = network(rows, at: run.state.position, run.prepared, on: b)  // [rows, height, width, channels]
        b.combine(isGuided ? b.guide(output, run.guidance) : output, in: run.state)
        b.increment(in: run.state.position)
    }

    // MARK: Finish

    /// After the last step the sample; before, the picture that was predicted last.
    package func codes() throws(DeviceError) -> [ImageCode] {
        guard let run else { return [] }
        let latents = try backend.read(run.done == stepCount ? run.state.sample : run.state.predicted)
        return latents.chunks(of: run.batch.settings.tokenCount * channels).map { .latents($0) }
    }

    /// One image after the other, so that memory does not grow with the batch.
    package func decode(_ codes: [ImageCode]) throws(DeviceError) -> [[Float]] {
        guard let settings = run?.batch.settings else { return [] }
        let b = backend
        let (scale, shift) = (autoencoder.configuration.scalingFactor, autoencoder.configuration.shiftFactor)
        var images: [[Float]] = []
        for code in codes {
            let mark = b.arena.mark
            defer { b.arena.rewind(to: mark) }
            let latents = HostTensor(
                code.latents.map { $0 / scale + shift }, [1, settings.gridHeight, settings.gridWidth, channels])
            let pixels = try b.read(autoencoder.decode(b.uploadActivations(latents), on: b))
            images.append(pixels.map { 0.5 * $0 + 0.5 })
        }
        return images
    }

    package func encode(pixels: [Float], height: Int, width: Int) throws(DeviceError) -> ImageCode {
        let b = backend
        let (scale, shift) = (autoencoder.configuration.scalingFactor, autoencoder.configuration.shiftFactor)
        let mark = b.arena.mark
        defer { b.arena.rewind(to: mark) }
        let picture = HostTensor(pixels.map { 2 * $0 - 1 }, [1, height, width, 3])
        let latents = try b.read(autoencoder.encode(b.uploadActivations(picture), on: b))
        return .latents(latents.map { ($0 - shift) * scale })
    }
}
