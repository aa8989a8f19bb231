internal import TTI
internal import TTIFormats

/// One prompt with its settings: what the command line asks for, or one line of a prompts file.
struct GenerateItem {
    let id: String
    /// Where it stands in a prompts file; nil for the command line.
    let place: String?
    let settings: GenerateSettings
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
        id: String, place: String?, settings: GenerateSettings, prompt: String, isOneOfMany: Bool
    ) throws(TTIError) {
        self.id = id
        self.place = place
        self.settings = settings
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

    /// An error of this item, which says where the item stands when there are several.
    func located(_ error: TTIError) -> TTIError {
        guard let place else { return error }
        // A setting that this checkpoint cannot do is, in a file, bad input.
        let code = error.code == .usage ? .invalidInput : error.code
        return TTIError(code, error.name, "\(error.message): \(place)")
    }

    func nameValues(_ index: Int, mode: GenerationMode) -> NameValues {
        NameValues(seed: seed &+ UInt64(index), index: index, id: id, mode: mode)
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

    /// The request without what is read from files.
    var plainRequest: GenerationRequest {
        var request = settings.request
        request.prompt = prompt
        request.seed = seed
        return request
    }

    /// What `--image`, `--mask` and `--init-tokens` name.
    struct Inputs {
        var source: SourceImage?
        /// A grid for all images, or one for each.
        var tokens: [[Int32]] = []
        var tokenGrid: (height: Int, width: Int)?
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
            let count = settings.request.count
            guard codes.grids.count == 1 || codes.grids.count == count else {
                throw TTIError(
                    .invalidInput, "input.tokens",
                    "\(quoted(path)) has the tokens of \(codes.grids.count) images, and \(count) are asked for; "
                        + "it takes one grid, or one for each image")
            }
            inputs.tokens = codes.grids
            inputs.tokenGrid = (codes.height, codes.width)
        }
        return inputs
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
        if let grid = inputs.tokenGrid {
            request.height = request.height ?? grid.height * pixelsPerToken
            request.width = request.width ?? grid.width * pixelsPerToken
        }
        // Tokens of its own for each image: a request for each.
        let isSplit = inputs.tokens.count > 1
        return stride(from: range.lowerBound, to: range.upperBound, by: isSplit ? 1 : max(1, range.count)).map {
            start in
            var part = request
            part.seed = seed &+ UInt64(start)
            part.count = isSplit ? 1 : range.count
            part.initialTokens = isSplit ? inputs.tokens[start] : inputs.tokens.first
            return Part(request: part, first: start)
        }
    }

    /// Throws when the checkpoint cannot make this, or the images could not be written after all the work.
    func check(with outline: CheckpointOutline, _ inputs: Inputs) throws {
        if let mode = settings.mode, mode != outline.mode {
            throw TTIError(
                .usage, "usage.mode",
                "the checkpoint \(quoted(outline.name)) makes images by --mode \(outline.mode.rawValue), not \(mode.rawValue); leave "
                    + "--mode out, or choose another checkpoint")
        }
        // One image stands for all, except that each may have tokens of its own.
        let sample = inputs.tokens.count > 1 ? 0..<settings.request.count : 0..<1
        for part in parts(sample, inputs, pixelsPerToken: outline.pixelsPerToken) {
            var request = part.request
            request.count = min(settings.request.count, 64)
            try outline.check(request, batch: settings.batch)
        }
        var outputs = paths(mode: outline.mode)
        if let tokens = savedTokensPath(mode: outline.mode) { outputs.append(tokens) }
        for path in outputs { try AtomicFile.check(path, ifExists: output.existing) }
        if let preview = settings.previewPath { try AtomicFile.check(preview, ifExists: .overwrite) }
    }
}
