internal import TTICore
internal import TTIFormats
internal import TTIGeneration
internal import TTIModels

/// A network that is measured: a published shape, or a checkpoint's.
enum BenchmarkNetwork {
    case parti(PartiConfiguration)
    case dalleBart(DalleBartConfiguration)
    case llamaGen(LlamaGenConfiguration)
    case muse(MuseBaseConfiguration)
    case amused(UVit2DConfiguration, CLIPTextConfiguration)
    case vqgan(VQGANConfiguration)
    case unet(UNetConfiguration, [CLIPTextConfiguration])
    case autoencoder(AutoencoderKLConfiguration)
}

/// What is measured: a network, and where its weights come from.
struct BenchmarkSubject {
    let name: String
    let network: BenchmarkNetwork
    /// nil: random numbers.
    let checkpoint: PipelineCheckpoint?

    /// The published shapes that can be measured.
    static let presetNames = [
        "parti-350m", "parti-750m", "parti-3b", "parti-20b", "dalle-mini", "dalle-mega", "llamagen-xl", "muse-600m",
        "muse-3b", "amused-256", "amused-512", "vqgan-f16", "amused-vq", "sd15", "sdxl", "sd-vae",
    ]
    /// Those that the contract names besides.
    static let laterPresetNames = ["janus-pro-1b", "janus-pro-7b"]

    /// The same kind of shape with fewer parameters, the largest first.
    static func smaller(than name: String) -> [String] {
        let families = [
            ["parti-20b", "parti-3b", "parti-750m", "parti-350m"], ["dalle-mega", "dalle-mini"],
            ["muse-3b", "muse-600m"], ["sdxl", "sd15"], ["amused-512", "amused-256"],
        ]
        guard let family = families.first(where: { $0.contains(name) }) else { return [] }
        return Array(family.drop { $0 != name }.dropFirst())
    }

    /// Tokens of the sequence that is decoded one by one; nil where there is none.
    var sequenceLength: Int? {
        switch network {
        case .parti(let c): c.imageLength
        case .dalleBart(let c): c.imageLength
        case .llamaGen(let c): c.imageLength
        case .muse, .amused, .vqgan, .unet, .autoencoder: nil
        }
    }
    /// Tokens that lie before these in the caches: a caption's.
    var prefixLength: Int { if case .llamaGen(let c) = network { c.textLength } else { 0 } }

    /// A shape of one's own, with random numbers.
    init(name: String, _ network: BenchmarkNetwork) { (self.name, self.network, checkpoint) = (name, network, nil) }

    init(preset: String) throws(TTIError) {
        name = preset
        checkpoint = nil
        network =
            switch preset {
            case "parti-350m": .parti(.parti350M)
            case "parti-750m": .parti(.parti750M)
            case "parti-3b": .parti(.parti3B)
            case "parti-20b": .parti(.parti20B)
            case "dalle-mini": .dalleBart(.mini)
            case "dalle-mega": .dalleBart(.mega)
            case "llamagen-xl": .llamaGen(.xl)
            case "muse-600m": .muse(.muse600M)
            case "muse-3b": .muse(.muse3B)
            case "amused-256": .amused(.amused256, .amused)
            case "amused-512": .amused(.amused512, .amused)
            case "vqgan-f16": .vqgan(.f16)
            case "amused-vq": .vqgan(.amused)
            case "sd15": .unet(.sd15, [.clipL])
            case "sdxl": .unet(.sdxl, [.clipL, .clipBigG])
            case "sd-vae": .autoencoder(.stableDiffusion)
            default: throw BenchmarkSubject.unknown(preset)
            }
    }

    private static func unknown(_ preset: String) -> TTIError {
        if laterPresetNames.contains(preset) {
            return TTIError(.usage, "usage.preset", "the preset '\(preset)' is of a model family that is not there yet")
        }
        return TTIError(
            .usage, "usage.preset",
            "there is no preset \(quoted(preset, limit: 60)), but \(presetNames.joined(separator: ", "))")
    }

    /// The part of a checkpoint that a measurement is about.
    init(_ source: CheckpointSource, variant: String?, what: Benchmark.What) throws(TTIError) {
        let opened = try translatingErrors { try PipelineCheckpoint(source.folder(variant: variant)) }
        name = try translatingErrors { fileName(try source.name()) }
        checkpoint = opened
        network =
            switch (what, opened.networks) {
            case (.detokenize, .masked), (.detokenize, .autoregressive):
                .vqgan(opened.detokenizer ?? VQGANConfiguration())
            case (.detokenize, .diffusion(let diffusion)): .autoencoder(diffusion.autoencoder)
            case (_, .diffusion(let diffusion)): .unet(diffusion.unet, diffusion.texts)
            case (_, .masked(let text, let transformer, _)): .amused(transformer, text)
            case (_, .autoregressive(let configuration)): .parti(configuration)
            }
    }

    // MARK: Networks on a backend

    private func weights(_ isCounting: Bool, seed: UInt64) -> Weights {
        isCounting ? .shapesOnly(dtype: .float32) : .random(seed: seed, dtype: .bfloat16)
    }

    func parti(_ c: PartiConfiguration, on b: any Backend, isCounting: Bool) throws -> Parti {
        if let checkpoint { return try checkpoint.makeParti(c, on: b, weights: isCounting ? .shapes : .files) }
        return try Parti(weights(isCounting, seed: 1), c, on: b)
    }

    func dalleBart(_ c: DalleBartConfiguration, on b: any Backend, isCounting: Bool) throws -> DalleBart {
        try DalleBart(weights(isCounting, seed: 1), c, on: b)
    }

    func llamaGen(_ c: LlamaGenConfiguration, on b: any Backend, isCounting: Bool) throws -> LlamaGen {
        try LlamaGen(weights(isCounting, seed: 1), c, on: b)
    }

    func muse(_ c: MuseBaseConfiguration, on b: any Backend, isCounting: Bool) throws -> MuseBase {
        try MuseBase(weights(isCounting, seed: 1), c, on: b)
    }

    func transformer(_ c: UVit2DConfiguration, on b: any Backend, isCounting: Bool) throws -> UVit2D {
        if let checkpoint { return try checkpoint.makeTransformer(c, on: b, weights: isCounting ? .shapes : .files) }
        return try UVit2D(weights(isCounting, seed: 1), c, on: b)
    }

    func textEncoder(
        _ c: CLIPTextConfiguration, component: String = "text_encoder", on b: any Backend, isCounting: Bool
    ) throws -> CLIPTextModel {
        if let checkpoint {
            return try checkpoint.makeTextEncoder(
                c, component: component, on: b, weights: isCounting ? .shapes : .files)
        }
        return try CLIPTextModel(weights(isCounting, seed: 2), c, on: b)
    }

    func unet(_ c: UNetConfiguration, on b: any Backend, isCounting: Bool) throws -> UNet {
        if let checkpoint { return try checkpoint.makeUNet(c, on: b, weights: isCounting ? .shapes : .files) }
        return try UNet(weights(isCounting, seed: 1), c, on: b)
    }

    func autoencoder(_ c: AutoencoderKLConfiguration, on b: any Backend, isCounting: Bool) throws -> AutoencoderKL {
        if let checkpoint { return try checkpoint.makeAutoencoder(c, on: b, weights: isCounting ? .shapes : .files) }
        return try AutoencoderKL(weights(isCounting, seed: 3), c, on: b)
    }

    func detokenizer(_ c: VQGANConfiguration, on b: any Backend, isCounting: Bool) throws -> VQGAN {
        if let checkpoint { return try checkpoint.makeDetokenizer(on: b, weights: isCounting ? .shapes : .files) }
        return try VQGAN(weights(isCounting, seed: 3), c, on: b)
    }
}
