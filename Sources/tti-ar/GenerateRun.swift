internal import TTI
internal import TTICore
internal import TTIFormats

/// The work of `generate`: every check that can be made before the work, then the images, each on disk as soon as it is
/// done.
struct GenerateRun {
    let items: [GenerateItem]
    let device: ChosenDevice
    let precision: Precision
    let attention: AttentionForm
    let isJSON: Bool
    var progress: Progress

    private var generators: [GenerateItem.CheckpointKey: ImageGenerator] = [:]
    private var failures: [TTIError] = []

    init(
        items: [GenerateItem], device: ChosenDevice, precision: Precision, attention: AttentionForm, isJSON: Bool,
        progress: Progress
    ) {
        self.items = items
        self.device = device
        self.precision = precision
        self.attention = attention
        self.isJSON = isJSON
        self.progress = progress
    }

    mutating func start() throws {
        defer { progress.clear() }
        try checkItems()
        for (index, item) in items.enumerated() {
            try Interrupts.check()
            do {
                try make(item)
            } catch {
                let error = item.located(TTIError(translating: error))
                let isFatal = [.cancelled, .stoppedEarly, .deviceLost, .internalFault].contains(error.code)
                if items.count == 1 || isFatal || error.isClosedOutput { throw error }
                progress.clear()
                Diagnostics.error(error)
                failures.append(error)
                if index == items.count - 1 { break }
            }
        }
        guard let first = failures.first else { return }
        let code =
            failures.count == items.count && failures.allSatisfy({ $0.code == first.code }) ? first.code : .someFailed
        throw TTIError(
            code, "generate.failed",
            "\(failures.count) of \(items.count) prompts failed, as said above; the others are done")
    }

    // MARK: Before the work

    /// Asks everything that can be asked without weights about every item, so that nothing fails at the last prompt that
    /// could have failed before the first: inputs can be read, the checkpoint can do it, outputs can be written.
    private func checkItems() throws {
        var outlines: [GenerateItem.CheckpointKey: CheckpointOutline] = [:]
        for item in items {
            do {
                let inputs = try item.readInputs()
                let outline =
                    try outlines[item.checkpoint]
                    ?? CheckpointOutline(
                        item.checkpoint.source, variant: item.checkpoint.variant, device: device, precision: precision,
                        attention: attention)
                outlines[item.checkpoint] = outline
                try item.check(with: outline, inputs)
            } catch { throw item.located(TTIError(translating: error)) }
        }
    }

    private mutating func generator(for item: GenerateItem) throws -> ImageGenerator {
        let key = item.checkpoint
        if let generator = generators[key] { return generator }
        let name =
            switch key.source {
            case .named(let name): fileName(name)
            case .demo(let mode): nameOfShippedCheckpoint(for: mode)
            }
        progress.begin("loading \(harmless(name, limit: 60))")
        let generator = try ImageGenerator(
            checkpoint: key.source, device: device, precision: precision, variant: key.variant, attention: attention)
        progress.end(
            "loaded \(harmless(name, limit: 60)): \(generator.mode.rawValue), \(generator.precision.rawValue), on \(generator.backend)"
                + (device.isCPU ? "" : " (\(harmless(generator.deviceName, limit: 60)))")
        )
        // One checkpoint at a time is held, so that memory stays what one needs.
        generators = [key: generator]
        return generator
    }

    // MARK: Work

    private mutating func make(_ item: GenerateItem) throws {
        let generator = try generator(for: item)
        let inputs = try item.readInputs()
        let paths = item.paths(mode: generator.mode)
        let missing = try skipped(item, paths)
        if item.isSeedRandom, !missing.isEmpty {
            progress.note("seed \(item.seed)\(items.count > 1 ? " for \(item.id)" : "")")
        }
        let savedPath = item.savedTokensPath(mode: generator.mode) ?? item.savedLatentsPath(mode: generator.mode)
        if let savedPath, let first = missing.first, missing.count > 1 || first.count < item.settings.request.count {
            throw TTIError(
                .usage, "usage.save",
                "some images of \(quoted(item.prompt, limit: 60)) are there, and \(quoted(savedPath)) would lose their part; "
                    + "give --if-exists overwrite, or leave out what saves it")
        }
        let isResumable = items.count > 1 || item.settings.request.count > 1 && savedPath == nil
        if isResumable, item.output.existing == .skip, !item.isSeedRandom { Interrupts.becomeResumable() }
        var saved = SavedCodes(isWanted: savedPath != nil)
        for range in missing {
            for part in item.parts(range, inputs, pixelsPerToken: generator.pixelsPerToken) {
                try make(part, of: item, generator, paths, &saved)
            }
        }
        if let path = item.savedTokensPath(mode: generator.mode), !saved.grids.isEmpty {
            let bytes = TokenFile.bytes(saved.grids, height: saved.height, width: saved.width)
            try translatingErrors { _ = try AtomicFile.write(bytes, to: path, ifExists: .overwrite) }
        }
        if let path = item.savedLatentsPath(mode: generator.mode), !saved.latents.isEmpty {
            let bytes = LatentFile.bytes(saved.latents, height: saved.height, width: saved.width)
            try translatingErrors { _ = try AtomicFile.write(bytes, to: path, ifExists: .overwrite) }
        }
    }

    /// Ranges of images that are still to be made; those that are there are reported.
    private mutating func skipped(_ item: GenerateItem, _ paths: [String]) throws -> [Range<Int>] {
        let count = item.settings.request.count
        guard item.output.existing == .skip, !paths.isEmpty else { return [0..<count] }
        var ranges: [Range<Int>] = []
        for (index, path) in paths.enumerated() {
            guard FileStatus(path: path) == nil else {
                progress.note("\(harmless(path)) is there, skipped")
                try report(skipped: path, index, item)
                continue
            }
            if let last = ranges.last, last.upperBound == index {
                ranges[ranges.count - 1] = last.lowerBound..<index + 1
            } else {
                ranges.append(index..<index + 1)
            }
        }
        return ranges
    }

    /// Tokens and latents for --save-tokens and --save-latents, which write those of all images.
    private struct SavedCodes {
        let isWanted: Bool
        var grids: [[Int32]] = []
        var latents: [[Float]] = []
        var height = 0
        var width = 0

        mutating func append(_ image: GeneratedImage) {
            guard isWanted else { return }
            grids.append(image.tokens)
            latents.append(image.latents)
            (height, width) = image.tokenGrid
        }
    }

    private mutating func make(
        _ part: GenerateItem.Part, of item: GenerateItem, _ generator: ImageGenerator, _ paths: [String],
        _ saved: inout SavedCodes
    ) throws {
        var failure: TTIError?
        let total = item.settings.request.count
        do {
            try Interrupts.polled { () throws in
                try generator.run(part.request, batch: item.settings.batch) { event in
                    do throws(TTIError) {
                        switch event {
                        case .truncated(let tokens, let text):
                            if part.first == 0 { warnOfTruncation(tokens, text, item) }
                        case .step(let done, let count, let images):
                            if done == 1 { progress.begin(stageName(part, images, total, item)) }
                            progress.step(done, of: count, unit: generator.mode == .autoregressive ? "token" : "step")
                            return !Interrupts.isRequested
                        case .preview(let pictures, let images, _):
                            try translatingErrors { try write(pictures, part, images, item, generator.mode, paths) }
                            return !Interrupts.isRequested
                        case .image(let image):
                            saved.append(image)
                            try finish(image, part, item, generator, paths)
                        }
                        return true
                    } catch {
                        failure = error
                        return false
                    }
                }
            }
        } catch {
            if let failure { throw failure }
            let error = TTIError(translating: error)
            if error.code == .cancelled { throw Interrupts.error() }
            throw error
        }
    }

    private mutating func warnOfTruncation(_ tokens: Int, _ text: String, _ item: GenerateItem) {
        let place = item.place.map { ": " + $0 } ?? ""
        progress.warning(
            "the prompt is too long for this checkpoint: its last \(tokens) tokens are cut, \(quoted(text, limit: 90))\(place)"
        )
    }

    private func stageName(_ part: GenerateItem.Part, _ images: Range<Int>, _ total: Int, _ item: GenerateItem)
        -> String
    {
        let name = items.count > 1 ? "prompt \(harmless(item.id, limit: 20))" : "image"
        guard total > 1 else { return name }
        let first = part.first + images.lowerBound + 1
        let last = part.first + images.upperBound
        return items.count > 1
            ? "\(name), \(first)-\(last) of \(total)"
            : first == last ? "image \(first) of \(total)" : "images \(first)-\(last) of \(total)"
    }

    private mutating func write(
        _ pictures: [RGBImage], _ part: GenerateItem.Part, _ images: Range<Int>, _ item: GenerateItem,
        _ mode: GenerationMode, _ paths: [String]
    ) throws {
        for (picture, offset) in zip(pictures, images) {
            let index = part.first + offset
            let path: String
            if let template = item.settings.previewPath {
                // Without a placeholder there is one file, which shows the first image.
                if !NameValues.hasPlaceholder(template), offset != images.lowerBound { continue }
                path = item.nameValues(index, mode: mode).filled(template)
            } else {
                path = previewPath(beside: paths[index])
            }
            _ = try AtomicFile.write(try picture.pngBytes(), to: path, ifExists: .overwrite)
        }
    }

    // MARK: Results

    private mutating func finish(
        _ image: GeneratedImage, _ part: GenerateItem.Part, _ item: GenerateItem, _ generator: ImageGenerator,
        _ paths: [String]
    ) throws(TTIError) {
        let index = part.first + image.index
        let metadata = metadata(item, generator, seed: image.seed, image.settings)
        let texts = metadata.chunks(item.settings.metadata)
        let bytes = try image.image.pngBytes(texts: texts)
        let timings = image.timings
        let summary =
            "seed \(image.seed): \(timings.steps) \(generator.mode == .autoregressive ? "tokens" : "steps"), text "
            + "\(durationText(seconds: timings.encode)), decoding \(durationText(seconds: timings.decode)), pixels "
            + durationText(seconds: timings.detokenize)
        guard !item.output.isStandardOutput else {
            progress.end(summary)
            return try Output.write(bytes)
        }
        let policy = item.output.existing
        let path =
            try translatingErrors { try AtomicFile.write(bytes, to: paths[index], ifExists: policy) } ?? paths[index]
        progress.end("\(harmless(path)), \(summary)")
        guard isJSON else { return try Output.line(path) }
        try Output.json(
            ImageReport(
                path: path, id: item.id, index: index, prompt: item.prompt, metadata: metadata,
                settings: image.settings,
                truncatedTokens: image.truncatedTokens, timings: timings
            ).json)
    }

    private func report(skipped path: String, _ index: Int, _ item: GenerateItem) throws {
        guard isJSON else { return try Output.line(path) }
        let metadata = try? StoredSettings.metadata(path)
        try Output.json(ImageReport.skipped(path: path, id: item.id, index: index, metadata))
    }

    private func metadata(
        _ item: GenerateItem, _ generator: ImageGenerator, seed: UInt64, _ settings: ResolvedSettings
    ) -> ImageMetadata {
        ImageMetadata(
            version: version, checkpoint: generator.checkpointName, variant: item.settings.variant,
            backend: generator.backend, device: generator.deviceName, precision: generator.precision,
            attention: attention,
            prompt: item.prompt,
            negativePrompt: item.settings.request.negativePrompt, seed: seed, settings: settings,
            strength: item.settings.imagePath == nil
                ? nil : item.settings.strength ?? (item.settings.maskPath == nil ? 0.5 : 1),
            isMasked: item.settings.maskPath != nil, isFromTokens: item.settings.initialTokensPath != nil,
            isFromLatents: item.settings.initialLatentsPath != nil)
    }
}
