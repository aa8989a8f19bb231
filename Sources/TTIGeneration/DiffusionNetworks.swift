package import TTIFormats
package import TTIModels
package import TTIText

/// The configurations of a Stable Diffusion pipeline.
package struct DiffusionNetworks {
    static let classNames = [
        "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
        "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline",
    ]

    /// One text encoder, or the two of XL.
    package let texts: [CLIPTextConfiguration]
    package let unet: UNetConfiguration
    package let autoencoder: AutoencoderKLConfiguration
    /// scheduler_config.json
    package let scheduler: Configuration
    /// Of the second text encoder.
    package let secondTokenizer: (any Tokenizer)?
    /// Whether an empty negative prompt stands for zeros.
    package let zeroesEmptyNegative: Bool

    init(_ folder: CheckpointFolder, _ index: PipelineIndex, _ tokenizer: any Tokenizer) throws(FormatError) {
        func text(_ name: String) throws(FormatError) -> CLIPTextConfiguration {
            try CLIPTextConfiguration(folder.folder(name).configuration(), className: index[name]?.className)
        }
        let hasTwo = index["text_encoder_2"] != nil
        texts = try [text("text_encoder")] + (hasTwo ? [text("text_encoder_2")] : [])
        unet = try UNetConfiguration(folder.folder("unet").configuration())
        autoencoder = try AutoencoderKLConfiguration(folder.folder("vae").configuration())
        scheduler = try folder.folder("scheduler").schedulerConfiguration()
        secondTokenizer = hasTwo ? try loadTokenizer(folder.folder("tokenizer_2")) : nil
        zeroesEmptyNegative = hasTwo && index.settings["force_zeros_for_empty_prompt"]?.bool ?? true
        try check(folder, tokenizer)
    }

    /// Parts of one pipeline must agree.
    private func check(_ folder: CheckpointFolder, _ tokenizer: any Tokenizer) throws(FormatError) {
        func fault(_ what: String) -> FormatError {
            FormatError(.invalid, "model.config", what, at: quoted(folder.path))
        }
        let latents = autoencoder.network.latentChannels
        guard unet.inputChannels == latents, unet.outputChannels == latents else {
            throw fault(
                "the UNet takes \(unet.inputChannels) channels and gives \(unet.outputChannels), but the autoencoder has "
                    + "\(latents): UNets that see a mask or a picture too are not supported")
        }
        let width = texts.reduce(0) { $0 + $1.width }
        guard unet.textWidth == width else {
            throw fault("the UNet takes text states of width \(unet.textWidth), but the text encoders make \(width)")
        }
        guard unet.added?.pooledTextWidth == (texts.count > 1 ? texts[1].projectionWidth : nil) else {
            throw fault("the UNet's second condition is not what the second text encoder makes")
        }
        guard texts.allSatisfy({ $0.maximumLength == texts[0].maximumLength }) else {
            throw fault("the text encoders take texts of different lengths")
        }
        for (tokenizer, text) in zip([tokenizer, secondTokenizer ?? tokenizer], texts)
        where tokenizer.vocabularySize > text.vocabularySize {
            throw FormatError(
                .invalid, "tokenizer.vocabulary",
                "the tokenizer has \(tokenizer.vocabularySize) ids, but the text encoder's table has "
                    + "\(text.vocabularySize) rows",
                at: quoted(folder.path), try: "check that tokenizer and model belong together")
        }
    }
}
