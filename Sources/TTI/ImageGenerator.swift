import Synchronization

/// Makes images from prompts: a checkpoint loaded on a device.
///
/// ```swift
/// let generator = try ImageGenerator(checkpoint: .demo(.parallel), device: .automatic)
/// let image = try generator.generate("a large red cube to the left of a small blue sphere", seed: 7)
/// try image.writePNG(to: "cube.png")
/// ```
public final class ImageGenerator: Sendable {
    /// Loads a checkpoint.
    /// - Throws: `TTIError`: a missing folder, an invalid checkpoint, too little memory.
    public init(
        checkpoint: CheckpointSource, device: ComputeDevice = .automatic, precision: Precision = .automatic,
        variant: String? = nil
    ) throws {
        throw TTIError(.internalFault, "todo", "not written yet")
    }

    /// What the checkpoint is.
    public var mode: GenerationMode { .parallel }
    /// The backend in use: "cpu".
    public var backend: String { "" }
    /// How weights are held.
    public var precision: Precision { .float32 }
    /// The name or folder that was loaded, as it was given.
    public var checkpointName: String { "" }

    /// Fills in the checkpoint's defaults and checks every value, without doing any work.
    /// - Throws: `TTIError` of code usage when a setting is out of range, or when this checkpoint cannot do it.
    public func resolve(_ request: GenerationRequest) throws -> ResolvedSettings {
        throw TTIError(.internalFault, "todo", "not written yet")
    }

    /// One image.
    public func generate(_ prompt: String, seed: UInt64 = 0) throws -> RGBImage {
        throw TTIError(.internalFault, "todo", "not written yet")
    }

    /// All images of a request, in order.
    /// - Parameters:
    ///   - batch: how many images are decoded together; nil: as many as pay.
    ///   - onEvent: called between steps on the caller's thread; returning false cancels.
    /// - Throws: `TTIError`; `.cancelled` when `onEvent` returned false.
    @discardableResult
    public func generate(
        _ request: GenerationRequest, batch: Int? = nil, onEvent: (GenerationEvent) -> Bool = { _ in true }
    ) throws -> [GeneratedImage] {
        throw TTIError(.internalFault, "todo", "not written yet")
    }

    /// The same as a stream of events, on a thread of its own; ends early when the task is cancelled.
    public func events(for request: GenerationRequest) -> AsyncThrowingStream<GenerationEvent, any Error> {
        AsyncThrowingStream { $0.finish() }
    }
}
