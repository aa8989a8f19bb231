internal import TTIAccounting
internal import TTICore
internal import TTIModels

/// A stage of a published shape.
struct PresetStage {
    let name: String
    let count: Int
    let what: Benchmark.What
    let subject: BenchmarkSubject
    let sizes: BenchmarkSizes

    /// Which sizes a shape is looked at in.
    struct Sizes: Sendable {
        /// Pixels of an image's side; nil: what the model is made for.
        var side: Int?
        var images = 1
        var isGuided = true
        /// Steps of masked decoding or diffusion; nil: what its paper uses.
        var steps: Int?
    }

    /// The stages of making an image with a shape of `bench`, with the detokenizer that belongs to it where it is here.
    static func stages(preset: String, _ sizes: Sizes) throws(TTIError) -> [PresetStage] {
        let subject = try BenchmarkSubject(preset: preset)
        let rows = sizes.images * (sizes.isGuided ? 2 : 1)
        func stage(
            _ name: String, _ count: Int, _ what: Benchmark.What, _ subject: BenchmarkSubject, side: Int? = nil
        ) -> PresetStage {
            PresetStage(
                name: name, count: count, what: what, subject: subject,
                sizes: BenchmarkSizes(rows: what == .detokenize ? sizes.images : rows, side: side))
        }
        func side(_ standard: Int, _ multiple: Int) throws(TTIError) -> Int {
            let side = sizes.side ?? standard
            guard side > 0, side % multiple == 0 else {
                throw TTIError(.usage, "usage.size", "--size \(side) is no multiple of \(multiple), as \(preset) needs")
            }
            return side
        }
        switch subject.network {
        case .parti(var c):
            let pixels = try side(256, 8)
            (c.imageHeight, c.imageWidth) = (pixels / 8, pixels / 8)
            let sized = BenchmarkSubject(name: preset, .parti(c))
            return [stage("text", 1, .prefill, sized), stage("token", c.imageLength, .decode, sized)]
        case .llamaGen(var c):
            let pixels = try side(16 * c.gridSide, 16)
            c.gridSide = pixels / 16
            let sized = BenchmarkSubject(name: preset, .llamaGen(c))
            return [
                stage("text", 1, .prefill, sized), stage("token", c.imageLength, .decode, sized),
                stage("pixels", 1, .detokenize, try BenchmarkSubject(preset: "vqgan-f16"), side: pixels),
            ]
        case .dalleBart(let c):
            // Positions are learnt, so that images have the one size.
            guard sizes.side ?? 256 == 256 else {
                throw TTIError(.usage, "usage.size", "\(preset) makes images of 256 pixels, no others")
            }
            return [
                stage("text", 1, .prefill, subject), stage("token", c.imageLength, .decode, subject),
                stage("pixels", 1, .detokenize, try BenchmarkSubject(preset: "vqgan-f16"), side: 256),
            ]
        case .muse(var c):
            let pixels = try side(256, 16)
            c.gridSide = pixels / 16
            let sized = BenchmarkSubject(name: preset, .muse(c))
            return [
                stage("text", 1, .prefill, sized), stage("step", sizes.steps ?? 24, .step, sized),
                stage("pixels", 1, .detokenize, try BenchmarkSubject(preset: "vqgan-f16"), side: pixels),
            ]
        case .amused(let c, _):
            let pixels = try side(16 * c.gridSide, c.downsample ? 32 : 16)
            return [
                stage("text", 1, .prefill, subject), stage("step", sizes.steps ?? 12, .step, subject, side: pixels),
                stage("pixels", 1, .detokenize, try BenchmarkSubject(preset: "amused-vq"), side: pixels),
            ]
        case .unet(let c, _):
            let pixels = try side(8 * c.latentSide, 8 * c.latentStep)
            return [
                stage("text", 1, .prefill, subject), stage("step", sizes.steps ?? 50, .step, subject, side: pixels),
                stage("pixels", 1, .detokenize, try BenchmarkSubject(preset: "sd-vae"), side: pixels),
            ]
        case .vqgan(let c): return [stage("pixels", 1, .detokenize, subject, side: try side(256, c.scale))]
        case .autoencoder(let c): return [stage("pixels", 1, .detokenize, subject, side: try side(512, c.scale))]
        }
    }

    private func work(_ unit: BenchmarkWork) -> StageWork {
        StageWork(
            name: name, count: count, isUniform: true, isDecoding: what == .decode, prefixLength: subject.prefixLength
        ) { index in
            try unit.run(what == .decode ? index : 0)
        }
    }

    /// What the stage costs, from shapes alone, and the memory that it takes.
    func cost(on counter: AccountingBackend) throws -> (cost: StageCost, weightBytes: Int, arenaBytes: Int) {
        let unit = try subject.load(what, sizes, on: counter, isCounting: true)(counter)
        let preparationPeak = counter.arena.peak
        let cost = try work(unit).cost(counter)
        return (cost, counter.preparedByteCount, max(preparationPeak, counter.arena.peak))
    }

    /// The stage with random weights, ready to be run.
    func work(on backend: any Backend, arenaBytes: Int) throws -> StageWork {
        let preparation = try subject.load(what, sizes, on: backend, isCounting: false)
        try backend.reserve(arenaBytes: arenaBytes)
        return work(try preparation(backend))
    }
}
