package import TTICore
package import TTIFormats
package import TTIModels
package import TTIText

/// A pipeline's folder, opened: which networks it has, their configurations, its tokenizer and defaults. Weights are read when a
/// network is made.
///
/// The one place that knows which class name stands for which model: adding a model means adding a case here.
package final class PipelineCheckpoint {
    package enum Kind: String, Sendable {
        case masked, autoregressive, diffusion
    }

    /// The networks of a pipeline.
    package enum Networks {
        case masked(text: CLIPTextConfiguration, transformer: UVit2DConfiguration, maskToken: Int)
        case autoregressive(PartiConfiguration)
        case diffusion(DiffusionNetworks)
    }

    package let folder: CheckpointFolder
    package let networks: Networks
    /// What turns tokens into pixels; nil for latent diffusion, which has no tokens.
    package let detokenizer: VQGANConfiguration?
    package let tokenizer: any Tokenizer
    package let defaults: GenerationSettings

    package var kind: Kind {
        switch networks {
        case .masked: .masked
        case .autoregressive: .autoregressive
        case .diffusion: .diffusion
        }
    }

    /// Where a network's weights come from.
    package enum WeightSource: Sendable {
        case files
        /// Shapes only, for counting.
        case shapes
    }

    private static let masked = ["AmusedPipeline", "AmusedImg2ImgPipeline", "AmusedInpaintPipeline"]
    private static let autoregressive = ["PartiPipeline"]

    /// Whether a pipeline of this class can be opened.
    package static func isKnown(_ index: PipelineIndex) -> Bool {
        masked.contains(index.className) || autoregressive.contains(index.className)
            || DiffusionNetworks.classNames.contains(index.className)
    }

    /// Reads configurations and tokenizer; opens no weights.
    package init(_ folder: CheckpointFolder) throws(FormatError) {
        guard let index = try folder.pipelineIndex() else {
            throw FormatError(
                .invalid, "model.layout",
                "there is no model_index.json: this folder holds one component, not a pipeline",
                at: quoted(folder.path))
        }
        self.folder = folder
        tokenizer = try loadTokenizer(folder.folder("tokenizer"))
        switch index.className {
        case _ where Self.masked.contains(index.className):
            let detokenizer = try VQGANConfiguration(folder.folder("vqvae").configuration())
            self.detokenizer = detokenizer
            let text = try CLIPTextConfiguration(
                folder.folder("text_encoder").configuration(), className: index["text_encoder"]?.className)
            let transformer = try UVit2DConfiguration(folder.folder("transformer").configuration())
            let scheduler = try folder.folder("scheduler").configuration("scheduler_config.json")
            let maskToken = try scheduler.integer("mask_token_id", in: 0...transformer.vocabularySize - 1)
            guard maskToken >= transformer.codebookSize else {
                throw scheduler.error(
                    "'mask_token_id' is \(maskToken), which is one of the \(transformer.codebookSize) codes")
            }
            networks = .masked(text: text, transformer: transformer, maskToken: maskToken)
            try Self.check(text, transformer, folder.path)
            defaults = try .masked(scheduler, gridSide: transformer.gridSide)
            try Self.check(
                codes: transformer.codebookSize, text: text.vocabularySize, detokenizer, tokenizer, folder.path)
        case _ where Self.autoregressive.contains(index.className):
            let detokenizer = try VQGANConfiguration(folder.folder("vqvae").configuration())
            self.detokenizer = detokenizer
            let configuration = try folder.folder("transformer").configuration()
            let parti = try PartiConfiguration(configuration)
            networks = .autoregressive(parti)
            defaults = try .autoregressive(configuration, height: parti.imageHeight, width: parti.imageWidth)
            try Self.check(
                codes: parti.codebookSize, text: parti.vocabularySize, detokenizer, tokenizer, folder.path)
        case _ where DiffusionNetworks.classNames.contains(index.className):
            detokenizer = nil
            let diffusion = try DiffusionNetworks(folder, index, tokenizer)
            networks = .diffusion(diffusion)
            defaults = try .diffusion(
                diffusion.scheduler, latentSide: diffusion.unet.latentSide, isXL: diffusion.texts.count > 1)
        default:
            throw FormatError(
                .invalid, "model.class", "pipelines of class \(quoted(index.className)) are not known",
                at: quoted(joinPath(folder.path, PipelineIndex.fileName)),
                try: "known are AmusedPipeline, PartiPipeline, StableDiffusionPipeline and StableDiffusionXLPipeline")
        }
    }

    /// Parts of one pipeline must agree on their vocabularies.
    private static func check(
        codes: Int, text: Int, _ detokenizer: VQGANConfiguration, _ tokenizer: any Tokenizer, _ path: String
    ) throws(FormatError) {
        guard codes <= detokenizer.codebookSize else {
            throw FormatError(
                .invalid, "model.config",
                "the transformer makes \(codes) codes, but the detokenizer has \(detokenizer.codebookSize)",
                at: quoted(path))
        }
        guard tokenizer.vocabularySize <= text else {
            throw FormatError(
                .invalid, "tokenizer.vocabulary",
                "the tokenizer has \(tokenizer.vocabularySize) ids, but the text encoder's table has \(text) rows",
                at: quoted(path), try: "check that tokenizer and model belong together")
        }
    }

    /// A masked pipeline's text encoder must be the one that its transformer was made for.
    private static func check(
        _ text: CLIPTextConfiguration, _ transformer: UVit2DConfiguration, _ path: String
    ) throws(FormatError) {
        func fault(_ message: String) -> FormatError {
            FormatError(
                .invalid, "model.config", message, at: quoted(path), try: "check that the parts belong together")
        }
        guard let projected = text.projectionWidth else {
            throw fault("the text encoder has no projection, which the transformer's 'cond_embed_dim' is the width of")
        }
        guard projected == transformer.pooledTextWidth else {
            throw fault(
                "the text encoder's 'projection_dim' is \(projected), but the transformer's 'cond_embed_dim' "
                    + "\(transformer.pooledTextWidth)")
        }
        guard text.width == transformer.textWidth else {
            throw fault(
                "the text encoder's 'hidden_size' is \(text.width), but the transformer's 'encoder_hidden_size' "
                    + "\(transformer.textWidth)")
        }
        let (count, width) = (MaskedPipeline.microConditionCount, transformer.microConditionWidth)
        guard transformer.microConditionsWidth == count * width else {
            throw fault(
                "the transformer's 'micro_cond_embed_dim' is \(transformer.microConditionsWidth), not "
                    + "\(count) times 'micro_cond_encode_dim', which is \(width)")
        }
    }

    // MARK: Networks

    /// The pipeline on a device.
    /// - Throws: `FormatError` or `DeviceError`.
    package func makePipeline(on b: any Backend, weights source: WeightSource) throws -> any ImagePipeline {
        switch networks {
        case .masked(let text, let transformer, let maskToken):
            return MaskedPipeline(
                tokenizer: tokenizer, textEncoder: try makeTextEncoder(text, on: b, weights: source),
                transformer: try makeTransformer(transformer, on: b, weights: source),
                detokenizer: Detokenizer(try makeDetokenizer(on: b, weights: source)), maskToken: maskToken,
                defaults: defaults, on: b)
        case .autoregressive(let configuration):
            return AutoregressivePipeline(
                tokenizer: tokenizer, transformer: try makeParti(configuration, on: b, weights: source),
                detokenizer: Detokenizer(try makeDetokenizer(on: b, weights: source)), defaults: defaults, on: b)
        case .diffusion(let diffusion):
            let branches = try zip([tokenizer, diffusion.secondTokenizer], diffusion.texts.indices).map {
                DiffusionText.Branch(
                    $0 ?? tokenizer,
                    try makeTextEncoder(
                        diffusion.texts[$1], component: $1 == 0 ? "text_encoder" : "text_encoder_2", on: b,
                        weights: source))
            }
            return DiffusionPipeline(
                text: DiffusionText(branches, zeroesEmptyNegative: diffusion.zeroesEmptyNegative),
                network: try makeUNet(diffusion.unet, on: b, weights: source),
                autoencoder: try makeAutoencoder(diffusion.autoencoder, on: b, weights: source),
                schedulers: try DiffusionSchedulers(diffusion.scheduler), defaults: defaults, on: b)
        }
    }

    /// A CLIP text encoder of a masked or diffusion pipeline.
    package func makeTextEncoder(
        _ configuration: CLIPTextConfiguration, component: String = "text_encoder", on b: any Backend,
        weights source: WeightSource
    ) throws -> CLIPTextModel {
        try load(component, source, ignoring: CLIPTextModel.ignores) { weights throws(ModelError) in
            try CLIPTextModel(weights, configuration, on: b)
        }
    }

    /// The transformer of a masked pipeline.
    package func makeTransformer(
        _ configuration: UVit2DConfiguration, on b: any Backend, weights source: WeightSource
    ) throws -> UVit2D {
        try load("transformer", source, ignoring: UVit2D.ignores) { weights throws(ModelError) in
            try UVit2D(weights, configuration, on: b)
        }
    }

    /// The encoder-decoder of an autoregressive pipeline.
    package func makeParti(
        _ configuration: PartiConfiguration, on b: any Backend, weights source: WeightSource
    ) throws -> Parti {
        try load("transformer", source, ignoring: Parti.ignores) { weights throws(ModelError) in
            try Parti(weights, configuration, on: b)
        }
    }

    /// The UNet of a diffusion pipeline.
    package func makeUNet(
        _ configuration: UNetConfiguration, on b: any Backend, weights source: WeightSource
    ) throws -> UNet {
        try load("unet", source, ignoring: UNet.ignores) { weights throws(ModelError) in
            try UNet(weights, configuration, on: b)
        }
    }

    /// The autoencoder of a diffusion pipeline.
    package func makeAutoencoder(
        _ configuration: AutoencoderKLConfiguration, on b: any Backend, weights source: WeightSource
    ) throws -> AutoencoderKL {
        try load("vae", source, ignoring: AutoencoderKL.ignores) { weights throws(ModelError) in
            try AutoencoderKL(weights, configuration, on: b)
        }
    }

    /// The network that turns tokens into pixels.
    package func makeDetokenizer(on b: any Backend, weights source: WeightSource) throws -> VQGAN {
        guard let detokenizer else { preconditionFailure("a pipeline without tokens") }
        return try load("vqvae", source, ignoring: VQGAN.ignores) { weights throws(ModelError) in
            try VQGAN(weights, detokenizer, on: b)
        }
    }

    /// Makes a network, and sees to it that every tensor of its files was used.
    private func load<Network>(
        _ component: String, _ source: WeightSource, ignoring ignores: (String) -> Bool,
        _ make: (Weights) throws(ModelError) -> Network
    ) throws -> Network {
        let weights: Weights
        switch source {
        case .files: weights = .checkpoint(try folder.folder(component).weights())
        case .shapes: weights = .shapesOnly(dtype: .float32)
        }
        let network: Network
        do { network = try make(weights) } catch {
            switch error {
            case .checkpoint(let error): throw error
            case .device(let error): throw error
            }
        }
        weights.ignore(ignores)
        if let first = weights.unread.first {
            throw FormatError(
                .invalid, "model.unread",
                "\(weights.unread.count) tensors belong to no part of the network, the first is \(quoted(first))",
                at: quoted(joinPath(folder.path, component)),
                try: "check that the configuration belongs to these weights")
        }
        return network
    }
}
