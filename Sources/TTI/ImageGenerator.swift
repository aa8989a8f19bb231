import Synchronization
package import TTICore
import TTIFormats
import TTIGeneration

/// Makes images from prompts: a checkpoint loaded on a device.
///
/// ```swift
/// let generator = try ImageGenerator(checkpoint: .demo(.parallel), device: .automatic)
/// let image = try generator.generate("a large red cube to the left of a small blue sphere", seed: 7)
/// try image.writePNG(to: "cube.png")
/// ```
///
/// A generator may be used from any thread; requests wait for one another. The library never prints, never exits, never
/// installs a signal handler, and opens no socket.
public final class ImageGenerator: Sendable {
    private let engine: Mutex<Engine>
    /// How the checkpoint makes images.
    public let mode: GenerationMode
    /// The backend in use: "cpu", "cuda:0".
    public let backend: String
    /// The device's own name: "NVIDIA H200".
    public let deviceName: String
    /// How weights are held.
    public let precision: Precision
    /// The name or folder that was loaded, as it was given.
    public let checkpointName: String

    /// Loads a checkpoint.
    /// - Parameters:
    ///   - checkpoint: Which one.
    ///   - device: Where to run. `.automatic` is decided here; nothing moves to another device later.
    ///   - precision: How weights are held.
    ///   - variant: A file variant such as "fp16"; nil takes the plain files where both are there.
    /// - Throws: `TTIError`: a missing folder, an invalid checkpoint, too little memory, no such device.
    public convenience init(
        checkpoint: CheckpointSource, device: ComputeDevice = .automatic, precision: Precision = .automatic,
        variant: String? = nil
    ) throws {
        try self.init(
            checkpoint: checkpoint, device: ChosenDevice(device), precision: precision, variant: variant,
            attention: .flash)
    }

    /// The same, on a device that was found already, with attention computed in one way or another.
    package init(
        checkpoint: CheckpointSource, device: ChosenDevice, precision: Precision, variant: String?,
        attention: AttentionForm
    ) throws {
        checkpointName = try checkpoint.name()
        let folder = try checkpoint.folder(variant: variant)
        let opened = try translatingErrors { try PipelineCheckpoint(folder) }
        let engine = try Engine(checkpoint: opened, device: device, precision: precision, attention: attention)
        mode = GenerationMode(opened.kind)
        backend = engine.backend.name
        deviceName = engine.deviceName
        self.precision = Precision(engine.backend.weightType)
        self.engine = Mutex(engine)
    }

    /// Fills in the checkpoint's defaults and checks every value, without doing any work.
    /// - Throws: `TTIError` of code usage when a setting is out of range, or when this checkpoint cannot do it.
    public func resolve(_ request: GenerationRequest) throws -> ResolvedSettings {
        try engine.withLock { engine in
            let settings = try engine.batch(for: request).settings
            let factor = engine.pipeline.pixelsPerToken
            return ResolvedSettings(
                settings, mode, width: settings.gridWidth * factor, height: settings.gridHeight * factor)
        }
    }

    /// Pixels for each token, in each direction.
    package var pixelsPerToken: Int { engine.withLock { $0.pipeline.pixelsPerToken } }

    /// One image with the checkpoint's own settings.
    /// - Throws: `TTIError`.
    public func generate(_ prompt: String, seed: UInt64 = 0) throws -> RGBImage {
        try generate(GenerationRequest(prompt, seed: seed))[0].image
    }

    /// All images of a request, in order. Image i is the same, bit for bit, whatever the batch and the count.
    /// - Parameters:
    ///   - request: What to make.
    ///   - batch: How many images are decoded together; nil: as many as pay.
    ///   - onEvent: Called between steps on the caller's thread; returning false cancels.
    /// - Returns: The finished images.
    /// - Throws: `TTIError`; `.cancelled` when `onEvent` returned false.
    @discardableResult
    public func generate(
        _ request: GenerationRequest, batch: Int? = nil, onEvent: (GenerationEvent) -> Bool = { _ in true }
    ) throws -> [GeneratedImage] {
        var images: [GeneratedImage] = []
        try run(request, batch: batch) { event in
            if case .image(let image) = event { images.append(image) }
            return onEvent(event)
        }
        return images
    }

    /// The same, but no image is kept: each is in its event only, so that memory does not grow with their number.
    package func run(_ request: GenerationRequest, batch: Int?, onEvent: (GenerationEvent) -> Bool) throws {
        try withoutActuallyEscaping(onEvent) { onEvent in
            // called on this thread only, while it holds the lock, and kept by nobody
            let onEvent = unsafe unsafeBitCast(onEvent, to: (@Sendable (GenerationEvent) -> Bool).self)
            try engine.withLock { [mode] engine in
                try engine.generate(request, mode, batchSize: batch, onEvent: onEvent)
            }
        }
    }

    /// The same as a stream of events, on a thread of its own; ends early when the task is cancelled.
    public func events(for request: GenerationRequest) -> AsyncThrowingStream<GenerationEvent, any Error> {
        AsyncThrowingStream { continuation in
            let isCancelled = Flag()
            continuation.onTermination = { _ in isCancelled.raise() }
            detachThread {
                do {
                    try self.run(request, batch: nil) { event in
                        continuation.yield(event)
                        return !isCancelled.isRaised
                    }
                    continuation.finish()
                } catch { continuation.finish(throwing: error) }
            }
        }
    }

    /// What a request takes: memory, steps, FLOP.
    package func plan(_ request: GenerationRequest) throws -> GenerationPlan {
        try engine.withLock { try $0.plan($0.batch(for: request)) }
    }

    /// Seconds that loading took.
    package var loadSeconds: Double { engine.withLock { $0.loadSeconds } }
}

/// A flag that one thread raises and another reads.
private final class Flag: Sendable {
    private let raised = Atomic(false)
    var isRaised: Bool { raised.load(ordering: .relaxed) }
    func raise() { raised.store(true, ordering: .relaxed) }
}
