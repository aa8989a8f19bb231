import TTICPU
import TTICore
import TTIFormats
import TTIGeneration

/// The shipped checkpoints on the CPU, for tests.
enum ShippedPipelines {
    /// The repository's root, from where this file lies.
    static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

    static func open(_ name: String) throws -> PipelineCheckpoint {
        try PipelineCheckpoint(CheckpointFolder(path: root + "/Checkpoints/" + name))
    }

    /// A pipeline with an arena that is large enough for a few images.
    static func make(
        _ name: String, _ weightType: DType = .float32, threads: Int = 2
    ) throws -> any ImagePipeline {
        let backend = CPUBackend(weightType: weightType, threads: threads)
        try backend.reserve(arenaBytes: 1 << 30)
        return try open(name).makePipeline(on: backend, weights: .files)
    }
}

extension ImagePipeline {
    /// A batch of a prompt with the checkpoint's defaults, changed by `change`.
    func batch(
        _ prompt: String, negative: String = "", seeds: [UInt64],
        _ change: (inout GenerationSettings) -> Void = { _ in }
    ) -> ImageBatch {
        var settings = defaults
        change(&settings)
        return ImageBatch(
            items: seeds.map { .init(prompt: tokenize(prompt), negative: tokenize(negative), seed: $0) },
            settings: settings)
    }

    /// The tokens so far.
    func tokens() throws -> [[Int32]] { try codes().map(\.tokens) }

    /// Pixels of tokens.
    func detokenize(_ tokens: [[Int32]]) throws -> [[Float]] { try decode(tokens.map { .tokens($0) }) }

    /// The tokens of a batch, all steps done.
    func run(_ batch: ImageBatch) throws -> [[Int32]] {
        try check(batch)
        prepare(batch)
        for step in 0..<stepCount { self.step(step) }
        return try tokens()
    }
}
