/// How a prompt becomes an image.
public enum GenerationMode: String, Sendable, CaseIterable {
    /// Masked parallel decoding: many tokens a step.
    case parallel
    /// Autoregressive decoding: one token a step.
    case autoregressive = "ar"
    /// Latent diffusion: all latents, less noisy at every step.
    case diffusion
}

/// How many tokens stay masked as the steps go by.
public enum MaskSchedule: String, Sendable, CaseIterable {
    /// cos(r · π/2), MaskGIT's.
    case cosine
    /// 1 - r
    case linear
    /// 1 - r²
    case square
    /// arccos(r) / (π/2), as in training.
    case arccos
}

/// Which masked places are revealed first.
public enum RevealOrder: String, Sendable, CaseIterable {
    /// The places that the model is surest of.
    case confidence
    /// A low-discrepancy sequence over the grid (Halton-MaskGIT).
    case halton
}

/// How guidance grows from the first step to the last.
public enum GuidanceRamp: String, Sendable, CaseIterable {
    /// The full scale at every step.
    case constant
    /// From 1 to the full scale in a straight line (Muse).
    case linear
    /// From 1 to the full scale along half a cosine.
    case cosine
}

/// How latent diffusion goes from noise to a picture.
public enum DiffusionScheduler: String, Sendable, CaseIterable {
    /// Denoising diffusion implicit models, without noise of its own.
    case ddim
    /// Pseudo numerical methods, four outputs of the network deep.
    case pndm
    /// Euler's method.
    case euler
    /// Euler's method with fresh noise at every step.
    case eulerAncestral = "euler-a"
    /// DPM-Solver++ of second order over several steps.
    case dpmSolver = "dpm++2m"
}

/// Where random numbers come from.
public enum RandomNumbers: String, Sendable, CaseIterable {
    /// Counter-based (Philox): the same seed gives the same image at any batch size, count and thread number.
    case philox
    /// What a PyTorch CPU generator draws, for token-exact comparison with diffusers.
    case torch
}

/// An image to begin with, and what of it to change.
public struct SourceImage: Sendable {
    /// The picture; its size becomes the size of the result.
    public var image: RGBImage
    /// How much is made anew: 0 keeps the picture, 1 keeps nothing.
    public var strength: Float
    /// White (over half) where the picture is made anew, the same size; nil: everywhere.
    public var mask: RGBImage?

    /// - Parameters:
    ///   - image: The picture.
    ///   - strength: 0 to 1.
    ///   - mask: White where to paint.
    public init(_ image: RGBImage, strength: Float = 0.5, mask: RGBImage? = nil) {
        self.image = image
        self.strength = strength
        self.mask = mask
    }
}

/// What to make. Every nil means the checkpoint's own default.
public struct GenerationRequest: Sendable {
    /// What the image shows. The empty prompt is a prompt.
    public var prompt: String
    /// What the image should not show.
    public var negativePrompt = ""
    /// Image i of `count` has seed + i.
    public var seed: UInt64
    /// How many images of this prompt.
    public var count = 1
    /// Steps of masked decoding and of diffusion.
    public var steps: Int?
    /// uncond + guidance · (cond - uncond); 1 is off.
    public var guidance: Float?
    /// Autoregressive: divides the logits; 0 takes the likeliest token. Masked: noise on the confidences at the first step.
    public var temperature: Float?
    /// Masked: noise on the confidences at the last step; nil: almost none, as in the reference scheduler.
    public var finalTemperature: Float?
    /// Only the k likeliest tokens; 0 is off.
    public var topK: Int?
    /// Only the likeliest tokens whose probabilities sum to p; 1 is off.
    public var topP: Float?
    /// Masked decoding only.
    public var schedule: MaskSchedule?
    /// Masked decoding only.
    public var order: RevealOrder?
    /// Masked decoding only.
    public var guidanceRamp: GuidanceRamp?
    /// Latent diffusion only.
    public var scheduler: DiffusionScheduler?
    /// Pixels; nil: the checkpoint's size.
    public var width: Int?
    /// Pixels; nil: the checkpoint's size.
    public var height: Int?
    /// Where random numbers come from.
    public var randomNumbers: RandomNumbers = .philox
    /// Begin with this picture (masked decoding and diffusion).
    public var source: SourceImage?
    /// Begin with these tokens, `[height][width]` row by row; -1 stands for a token to be made.
    public var initialTokens: [Int32]?
    /// Begin with this noise of variance 1, `[height][width][channels]` (latent diffusion only).
    public var initialLatents: [Float]?
    /// Send a preview every so many steps; nil: none.
    public var previewInterval: Int?

    /// - Parameters:
    ///   - prompt: What the image shows.
    ///   - seed: The first image's seed.
    public init(_ prompt: String, seed: UInt64 = 0) {
        self.prompt = prompt
        self.seed = seed
    }
}
