package import TTICore

/// A prompt as ids, cut to what the model takes.
package struct PromptTokens: Sendable, Hashable {
    /// Special tokens and padding included: as many as the model takes.
    package let ids: [Int32]
    /// The same for a second text encoder; empty where there is none.
    package var secondIds: [Int32] = []
    /// How many ids are not padding.
    package let length: Int
    /// How many tokens did not fit.
    package let truncatedCount: Int
    /// The text that did not fit.
    package let truncatedText: String

    package init(ids: [Int32], length: Int, truncatedCount: Int = 0, truncatedText: String = "") {
        self.ids = ids
        self.length = length
        self.truncatedCount = truncatedCount
        self.truncatedText = truncatedText
    }
}

/// An image before its pixels: what the steps make.
package enum ImageCode: Sendable, Hashable {
    /// `[height · width]` tokens.
    case tokens([Int32])
    /// `[height · width · channels]` latents, as diffusion has them.
    case latents([Float])

    /// The tokens; empty for latents.
    package var tokens: [Int32] { if case .tokens(let tokens) = self { tokens } else { [] } }
    /// The latents; empty for tokens.
    package var latents: [Float] { if case .latents(let latents) = self { latents } else { [] } }
}

/// Images that are made together, with the same settings.
package struct ImageBatch {
    /// One image.
    package struct Item: Hashable {
        package var prompt: PromptTokens
        package var negative: PromptTokens
        package var seed: UInt64
        /// `[tokens]` at the start, -1 where a token is to be made; nil: all are. As many are to be made as in every other
        /// image of the batch.
        package var initialTokens: [Int32]?
        /// `[height · width · channels]` noise of variance 1 to begin with; nil: drawn with the seed.
        package var initialLatents: [Float]?
        /// `[height · width · channels]` latents of the picture to begin with.
        package var picture: [Float]?
        /// `[height · width]`: where the picture is made anew; nil: everywhere.
        package var open: [Bool]?

        package init(prompt: PromptTokens, negative: PromptTokens, seed: UInt64, initialTokens: [Int32]? = nil) {
            self.prompt = prompt
            self.negative = negative
            self.seed = seed
            self.initialTokens = initialTokens
        }
    }

    package var items: [Item]
    package var settings: GenerationSettings
    /// Masked decoding and diffusion begin at this step (image to image).
    package var firstStep = 0
    /// The share of the grid that may change at all (inpainting); the schedule's shares are shares of it.
    package var openShare: Float = 1

    package init(items: [Item], settings: GenerationSettings) {
        self.items = items
        self.settings = settings
    }

    /// Whether all images are of one prompt, so that whatever depends on the prompt alone is done once.
    package var isOnePrompt: Bool {
        items.allSatisfy { $0.prompt == items[0].prompt && $0.negative == items[0].negative }
    }

    /// How many tokens are to be made for each image.
    package var maskedCount: Int {
        items[0].initialTokens.map { tokens in tokens.count { $0 < 0 } } ?? settings.tokenCount
    }

    /// The rows that the text encoder sees: negative prompts (when guided), then prompts; one of each when all images share
    /// them.
    package var textRows: [PromptTokens] {
        let distinct = isOnePrompt ? Array(items.prefix(1)) : items
        return (settings.isGuided ? distinct.map(\.negative) : []) + distinct.map(\.prompt)
    }
}

/// How a prompt becomes an image: three verbs that all modes share, so that progress, preview, cancelling and measuring
/// are written once.
///
/// A pipeline holds weights on one backend. `prepare` may be called again and again; it takes the arena from its start.
/// Nothing throws inside a step: faults come out of `codes` and `decode`.
package protocol ImagePipeline: AnyObject {
    var backend: any Backend { get }
    /// What the checkpoint asks for when a request says nothing.
    var defaults: GenerationSettings { get }
    /// Pixels for each token or latent, in each direction.
    var pixelsPerToken: Int { get }

    /// Ids of a prompt, cut to what the model takes.
    func tokenize(_ prompt: String) -> PromptTokens
    /// Throws when this model cannot do it: sizes, options of another mode.
    func check(_ batch: ImageBatch) throws(SettingsError)

    /// Everything that does not depend on the step: text encoder, cross-attention keys and values, modulations, state.
    func prepare(_ batch: ImageBatch)
    /// How many steps the prepared batch takes.
    var stepCount: Int { get }
    /// The next step; call it `stepCount` times with 0, 1, 2…
    func step(_ index: Int)
    /// What every image looks like so far: what is known, and the best guess elsewhere; never the mask token, and before the
    /// last step never noise.
    func codes() throws(DeviceError) -> [ImageCode]
    /// Pixels of each image, `[height, width, 3]` in 0...1 (not clipped).
    func decode(_ codes: [ImageCode]) throws(DeviceError) -> [[Float]]
    /// What the steps would have made of a picture.
    /// - Parameters:
    ///   - pixels: `[height, width, 3]` in 0...1.
    func encode(pixels: [Float], height: Int, width: Int) throws(DeviceError) -> ImageCode
}
