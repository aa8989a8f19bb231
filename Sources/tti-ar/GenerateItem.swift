internal import TTI
internal import TTIFormats

/// One prompt with its settings: what the command line asks for, or one line of a prompts file.
struct GenerateItem {
    let id: String
    /// Where it stands in a prompts file; nil for the command line.
    let place: String?
    let settings: GenerateSettings
    /// Which settings are from the file of `--from`; nil when there is none.
    let origin: StoredOrigin?
    let prompt: String
    let seed: UInt64
    /// Whether nobody chose the seed.
    let isSeedRandom: Bool
    let output: OutputName

    /// A checkpoint to load: several items may share one.
    struct CheckpointKey: Hashable {
        let source: CheckpointSource
        let variant: String?
    }

    var checkpoint: CheckpointKey {
        let source = settings.checkpoint.map { CheckpointSource.named($0) } ?? .demo(settings.mode ?? .parallel)
        return CheckpointKey(source: source, variant: settings.variant)
    }

    init(
        id: String, place: String?, settings: GenerateSettings, origin: StoredOrigin?, prompt: String, isOneOfMany: Bool
    ) throws(TTIError) {
        self.id = id
        self.place = place
        self.settings = settings
        self.origin = origin
        self.prompt = prompt
        isSeedRandom = settings.seed == nil
        seed = settings.seed ?? UInt64.random(in: 0...UInt64.max)
        output = OutputName(settings, isOneOfMany: isOneOfMany)
        guard prompt.utf8.count <= PromptsFile.promptByteLimit,
            settings.request.negativePrompt.utf8.count <= PromptsFile.promptByteLimit
        else {
            throw TTIError(.invalidInput, "input.prompt", "a prompt has over 1 MiB" + (place.map { ": " + $0 } ?? ""))
        }
    }

    func nameValues(_ index: Int, mode: GenerationMode) -> NameValues {
        NameValues(seed: seed &+ UInt64(index), index: index, id: id, mode: mode)
    }

    /// Whether the mode is part of the name of a file that is written.
    var namesHaveMode: Bool {
        [output.template, settings.savedTokensPath, settings.savedLatentsPath].contains {
            $0?.contains(NameValues.mode) ?? false
        }
    }

    /// Paths of all images, in order; empty when the image goes to standard output.
    func paths(mode: GenerationMode) -> [String] {
        if output.isStandardOutput { return [] }
        return (0..<settings.request.count).map { output.path(nameValues($0, mode: mode)) }
    }

    /// Where tokens are saved.
    func savedTokensPath(mode: GenerationMode) -> String? {
        settings.savedTokensPath.map { nameValues(0, mode: mode).filled($0) }
    }

    /// Where latents are saved.
    func savedLatentsPath(mode: GenerationMode) -> String? {
        settings.savedLatentsPath.map { nameValues(0, mode: mode).filled($0) }
    }

    /// The request without what is read from files.
    var plainRequest: GenerationRequest {
        var request = settings.request
        request.prompt = prompt
        request.seed = seed
        return request
    }

    /// What `--image`, `--mask`, `--init-tokens` and `--init-latents` name.
    struct Inputs {
        var source: SourceImage?
        /// A grid for all images, or one for each.
        var tokens: [[Int32]] = []
        /// The same of latents.
        var latents: [[Float]] = []
        /// The size of the grids.
        var grid: (height: Int, width: Int)?

        /// Whether each image begins with something of its own.
        var isSplit: Bool { tokens.count > 1 || latents.count > 1 }
    }

    /// Reads what the item begins with.
    func readInputs() throws -> Inputs {
        var inputs = Inputs()
        if let path = settings.imagePath {
            let image = try RGBImage(pngFile: path)
            let mask = try settings.maskPath.map { try RGBImage(pngFile: $0) }
            if let mask, mask.width != image.width || mask.height != image.height {
                throw TTIError(
                    .invalidInput, "input.mask",
                    "the mask is \(mask.width)x\(mask.height), the picture \(image.width)x\(image.height): "
                        + "\(quoted(settings.maskPath ?? "")); both must have one size")
            }
            inputs.source = SourceImage(image, strength: settings.strength ?? (mask == nil ? 0.5 : 1), mask: mask)
        }
        if let path = settings.initialTokensPath {
            let codes = try TokenFile.read(path)
            try check(count: codes.grids.count, "tokens", path)
            inputs.tokens = codes.grids
            inputs.grid = (codes.height, codes.width)
        }
        if let path = settings.initialLatentsPath {
            let latents = try LatentFile.read(path)
            try check(count: latents.images.count, "latents", path)
            inputs.latents = latents.images
            inputs.grid = (latents.height, latents.width)
        }
        return inputs
    }

    /// One of them for all images, or one for each.
    private func check(count found: Int, _ what: String, _ path: String) throws(TTIError) {
        let count = settings.request.count
        guard found == 1 || found == count else {
            throw TTIError(
                .invalidInput, "input.\(what)",
                "\(quoted(path)) has the \(what) of \(found) images, and \(count) are asked for; "
                    + "it takes one grid, or one for each image")
        }
    }

    /// Consecutive images: `first` is the index of the first one.
    struct Part {
        var request: GenerationRequest
        let first: Int
    }

    /// The requests that make the images of a range.
    func parts(_ range: Range<Int>, _ inputs: Inputs, pixelsPerToken: Int) -> [Part] {
        var request = plainRequest
        request.source = inputs.source
        if let grid = inputs.grid {
            request.height = request.height ?? grid.height * pixelsPerToken
            request.width = request.width ?? grid.width * pixelsPerToken
        }
        // Tokens or latents of its own for each image: a request for each.
        let isSplit = inputs.isSplit
        return stride(from: range.lowerBound, to: range.upperBound, by: isSplit ? 1 : max(1, range.count)).map {
            start in
            var part = request
            part.seed = seed &+ UInt64(start)
            part.count = isSplit ? 1 : range.count
            let own = isSplit ? start : 0
            if !inputs.tokens.isEmpty { part.initialTokens = inputs.tokens[own] }
            if !inputs.latents.isEmpty { part.initialLatents = inputs.latents[own] }
            return Part(request: part, first: start)
        }
    }

    /// Throws when the checkpoint cannot make this, or the images could not be written after all the work.
    func check(with outline: CheckpointOutline, _ inputs: Inputs) throws {
        if let mode = settings.mode, mode != outline.mode { throw wrongMode(mode, outline) }
        // One image stands for all, except that each may begin with something of its own.
        let sample = inputs.isSplit ? 0..<settings.request.count : 0..<1
        for part in parts(sample, inputs, pixelsPerToken: outline.pixelsPerToken) {
            var request = part.request
            request.count = min(settings.request.count, 64)
            do { try outline.check(request, batch: settings.batch) } catch { throw withSource(error) }
        }
        var outputs = paths(mode: outline.mode)
        if let tokens = savedTokensPath(mode: outline.mode) { outputs.append(tokens) }
        if let latents = savedLatentsPath(mode: outline.mode) {
            guard outline.mode == .diffusion else {
                throw TTIError(
                    .usage, "usage.mode",
                    "--save-latents belongs to latent diffusion; this checkpoint makes tokens, which --save-tokens writes"
                )
            }
            outputs.append(latents)
        }
        if outline.mode == .diffusion, settings.savedTokensPath != nil {
            throw TTIError(
                .usage, "usage.mode", "a diffusion checkpoint makes no tokens; --save-latents writes what it makes")
        }
        for path in outputs { try AtomicFile.check(path, ifExists: output.existing) }
        if let preview = settings.previewPath { try AtomicFile.check(preview, ifExists: .overwrite) }
    }
}
