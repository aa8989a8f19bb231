/// How long the stages of an image took, and what they moved. Seconds, bytes, FLOP.
public struct GenerationTimings: Sendable {
    /// Reading and packing the checkpoint (0 when it was loaded already).
    public var load = 0.0
    /// Tokenizer and text encoder.
    public var encode = 0.0
    /// The steps.
    public var decode = 0.0
    /// Tokens to pixels.
    public var detokenize = 0.0
    /// From the request to the pixels.
    public var total = 0.0
    /// Image tokens made, of all images of the batch.
    public var tokens = 0
    /// Steps done.
    public var steps = 0
    /// The median of a step, in milliseconds.
    public var stepMilliseconds = 0.0
    /// Weights read by a step.
    public var weightBytesPerStep = 0
    /// FLOP of a step.
    public var flopsPerStep = 0
    /// The most memory that tensors took: weights and arena.
    public var peakMemory = 0

    /// Nothing measured.
    public init() {}
}

/// An image, and how it came about.
public struct GeneratedImage: Sendable {
    /// The picture.
    public let image: RGBImage
    /// Which of the request's images it is.
    public let index: Int
    /// Its own seed.
    public let seed: UInt64
    /// The tokens that it was decoded from, `[height / factor, width / factor]`; empty for latent diffusion.
    public let tokens: [Int32]
    /// The latents that it was decoded from, `[height / factor, width / factor, channels]`; empty for models of tokens.
    public let latents: [Float]
    /// Rows and columns of `tokens` or `latents`.
    public let tokenGrid: (height: Int, width: Int)
    /// How many tokens of the prompt did not fit.
    public let truncatedTokens: Int
    /// The settings with every default filled in.
    public let settings: ResolvedSettings
    /// What it took.
    public let timings: GenerationTimings
}

/// The settings that an image was made with, no default left open.
public struct ResolvedSettings: Sendable, Hashable {
    /// How the image was made.
    public var mode: GenerationMode
    /// Steps of masked decoding and of diffusion, tokens of autoregressive decoding.
    public var steps: Int
    /// The guidance scale; 1 is off.
    public var guidance: Float
    /// At the first step and at the last (the same when autoregressive; nothing to diffusion).
    public var temperature: [Float]
    /// 0 is off.
    public var topK: Int
    /// 1 is off.
    public var topP: Float
    /// Masked decoding only.
    public var schedule: MaskSchedule
    /// Masked decoding only.
    public var order: RevealOrder
    /// Masked decoding only.
    public var guidanceRamp: GuidanceRamp
    /// Latent diffusion only.
    public var scheduler: DiffusionScheduler
    /// Pixels.
    public var width: Int
    /// Pixels.
    public var height: Int
    /// Where random numbers come from.
    public var randomNumbers: RandomNumbers
}

/// What happens while images are made.
public enum GenerationEvent: Sendable {
    /// The prompt does not fit: this many tokens are cut, beginning with this text.
    case truncated(tokens: Int, text: String)
    /// A step is done: how many of how many, and of which images of the request.
    case step(done: Int, of: Int, images: Range<Int>)
    /// What the images look like so far: predicted tokens or latents, decoded.
    case preview([RGBImage], images: Range<Int>, done: Int)
    /// An image is finished.
    case image(GeneratedImage)
}
