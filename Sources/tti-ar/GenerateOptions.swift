internal import TTI
internal import TTIFormats

extension GenerateCommand {
    static let syntax = CommandSyntax(
        name: "generate", operands: "[PROMPT]", operandCount: 0...1,
        summary: "Makes images from a text.",
        options: [
            Option(
                "--mode", "parallel|ar|diffusion",
                "Masked parallel decoding, autoregressive decoding, latent diffusion (what the checkpoint is; without a checkpoint, parallel)."
            ),
            CommonOptions.checkpoint,
            Option(
                "-p, --prompt", "TEXT",
                "What the image shows; the same as PROMPT. The empty text is one, - reads standard input."),
            Option("-n, --negative, --negative-prompt", "TEXT", "What the image should not show."),
            Option(
                "--prompts", "FILE",
                "Many prompts: one a line, or a JSON object a line with these options as keys, which win (- reads standard input)."
            ),
            Option("-s, --seed", "N", "0 to 2^64-1; -1 or nothing takes a random one, which is printed and stored."),
            Option("-N, --count", "N", "Images per prompt (1); image i has seed + i."),
            Option("--batch", "N", "Images decoded together (auto). Changes no image."),
            Option("--steps", "N", "Steps of masked decoding and diffusion (the checkpoint's)."),
            Option(
                "-g, --guidance, --cfg-scale, --guidance-scale", "X",
                "uncond + X · (cond - uncond) (the checkpoint's); 1 is off."),
            Option(
                "--temperature", "X[,Y]",
                "Autoregressive: divides the logits, 0 takes the likeliest. Masked: noise on the confidences at the first step "
                    + "(and the last) (the checkpoint's)."),
            Option("--top-k", "N", "Only the N likeliest tokens; 0 is off (the checkpoint's)."),
            Option(
                "--top-p", "X", "Only the likeliest tokens whose probabilities sum to X; 1 is off (the checkpoint's)."),
            Option(
                "--schedule", "cosine|linear|square|arccos",
                "Masked: how many tokens stay masked as steps go by (cosine)."),
            Option("--order", "confidence|halton", "Masked: which places are revealed first (confidence)."),
            Option(
                "--guidance-ramp", "constant|linear|cosine", "Masked: how guidance grows over the steps (constant)."),
            Option(
                "--scheduler", "ddim|pndm|euler|euler-a|dpm++2m", "Diffusion: how it is sampled (the checkpoint's)."),
            Option("-W, --width", "N", "Pixels (the checkpoint's size)."),
            Option("-H, --height", "N", "Pixels (the checkpoint's size)."),
            Option("--rng", "philox|torch", "Random numbers; torch draws what a PyTorch CPU generator draws (philox)."),
            Option(
                "--init-tokens", "FILE",
                "Begin with these tokens: safetensors with codes [B,h,w], -1 for one to be made."),
            Option(
                "--init-latents", "FILE",
                "Diffusion: begin with this noise of variance 1: safetensors with latents [B,C,h,w]."),
            Option("--save-tokens", "FILE", "Write the tokens of the images: safetensors with codes [B,h,w]."),
            Option(
                "--save-latents", "FILE",
                "Diffusion: write the latents of the images: safetensors with latents [B,C,h,w]."),
            Option("--image", "FILE", "Begin with this PNG."),
            Option("--strength", "X", "How much of it is made anew, 0 to 1 (0.5; with --mask 1)."),
            Option("--mask", "FILE", "A PNG of the same size: white where the picture is made anew."),
            Option("--preview", "N", "Write the image so far every N steps."),
            Option("--preview-path", "FILE", "Where (beside the output: NAME.preview.png)."),
            Option(
                "-o, --output", "PATH",
                "A file, a folder, a name with {seed} {index} {id} {mode}, or - for the PNG on standard output (tti-ar-{seed}.png)."
            ),
            Option(
                "--if-exists", "overwrite|suffix|skip|error",
                "What to do about files that are there (overwrite; for the default name suffix)."),
            Option("--metadata", "full|params|none", "What the PNG carries: all, all but the texts, nothing (full)."),
            Option(
                "--from", "FILE", "Take every setting from a PNG or JSON that tti-ar wrote; options given here win."),
            Option("--dry-run", nil, "Check everything and print the plan; loads no weights, makes nothing."),
            CommonOptions.variant, CommonOptions.backend, CommonOptions.dtype, CommonOptions.attention,
            CommonOptions.threads,
            CommonOptions.json, CommonOptions.quiet, CommonOptions.help,
        ],
        notes: [
            "Standard output has the path of each image, a line each; with --json an object each, of a picture that was there what it "
                + "says itself.",
            "Checkpoints that ship are found in the folder that TTI_AR_CHECKPOINTS names, in Checkpoints beside the program or above "
                + "it, and in tti-ar/Checkpoints of the XDG data folders.",
            "TTI_CPU=portable, avx2, avx512, avx512bf16 or amx forces the instruction set (the fastest that the processor has).",
            "Exit codes: 0 all images are on disk, 64 usage, 65 bad input, 66 input missing, 73 output cannot be created, "
                + "74 reading or writing failed, 75 run the same command to finish, 78 invalid checkpoint, 80 out of memory, "
                + "81 not a number, 83 some of several failed, 130 stopped.",
        ])

    /// Options that are about the whole command, so that a line of a prompts file cannot have them.
    static let wholeCommandOptions: Set<String> = [
        "prompts", "from", "dry-run", "json", "quiet", "help", "backend", "dtype", "threads", "attention",
    ]
}

/// The options of `generate`, read and checked as far as that goes without a checkpoint.
struct GenerateSettings {
    var mode: GenerationMode?
    var checkpoint: String?
    var variant: String?
    var prompt: String?
    var seed: UInt64?
    var batch: Int?
    /// Everything for the generator but prompt, seed, and what has to be read from files.
    var request: GenerationRequest
    var imagePath: String?
    var maskPath: String?
    var strength: Float?
    var initialTokensPath: String?
    var savedTokensPath: String?
    var initialLatentsPath: String?
    var savedLatentsPath: String?
    var previewPath: String?
    var output: String?
    var existing: ExistingFilePolicy?
    var metadata: MetadataDetail

    init(_ values: OptionValues) throws(TTIError) {
        mode = try values.choice("mode", GenerationMode.self, synonyms: ["autoregressive": .autoregressive])
        checkpoint = try values.path("checkpoint")
        variant = try values.path("variant")
        prompt = values["prompt"]
        seed = try values.seed("seed")
        batch = try values.integer("batch", in: 1...4096)
        request = GenerationRequest("")
        request.negativePrompt = values["negative"] ?? ""
        request.count = try values.integer("count", in: 1...1_000_000) ?? 1
        request.steps = try values.integer("steps", in: 1...1024)
        request.guidance = try values.number("guidance", in: 0...1000)
        (request.temperature, request.finalTemperature) = try values.temperatures()
        request.topK = try values.integer("top-k", in: 0...1_000_000)
        request.topP = try values.number("top-p", in: 0...1)
        if request.topP == 0 {
            throw values.fault("top-p", values["top-p"] ?? "", "is out of range: over 0, at most 1")
        }
        request.schedule = try values.choice("schedule", MaskSchedule.self)
        request.order = try values.choice("order", RevealOrder.self)
        request.guidanceRamp = try values.choice("guidance-ramp", GuidanceRamp.self)
        request.scheduler = try values.choice("scheduler", DiffusionScheduler.self)
        request.width = try values.integer("width", in: 1...16384)
        request.height = try values.integer("height", in: 1...16384)
        request.randomNumbers = try values.choice("rng", RandomNumbers.self) ?? .philox
        request.previewInterval = try values.integer("preview", in: 1...1_000_000)
        imagePath = try values.path("image")
        maskPath = try values.path("mask")
        strength = try values.number("strength", in: 0...1)
        initialTokensPath = try values.path("init-tokens")
        savedTokensPath = try values.path("save-tokens")
        initialLatentsPath = try values.path("init-latents")
        savedLatentsPath = try values.path("save-latents")
        previewPath = try values.picturePath("preview-path")
        output = try values.picturePath("output")
        existing = try values.choice("if-exists", ExistingFilePolicy.self)
        metadata = try values.choice("metadata", MetadataDetail.self) ?? .full
        try checkTogether(values)
    }

    /// Options that need or exclude one another.
    private func checkTogether(_ values: OptionValues) throws(TTIError) {
        if imagePath == nil, values["mask"] != nil {
            throw values.conflict("--mask needs --image, the picture to paint in")
        }
        if imagePath == nil, strength != nil {
            throw values.conflict("--strength needs --image, the picture to begin with")
        }
        let beginnings = ["image", "init-tokens", "init-latents"].filter { values[$0] != nil }
        if beginnings.count > 1 {
            throw values.conflict(
                "--\(beginnings[0]) and --\(beginnings[1]) both say what to begin with; give one of them")
        }
        if previewPath != nil, request.previewInterval == nil {
            throw values.conflict("--preview-path needs --preview N, how often to write it")
        }
        if output == "-", request.previewInterval != nil, previewPath == nil {
            throw values.conflict("--preview needs --preview-path when the image goes to standard output")
        }
        if savedTokensPath == "-" || savedLatentsPath == "-" || previewPath == "-" {
            throw values.conflict(
                "standard output is for results; give --save-tokens, --save-latents and --preview-path a file")
        }
    }
}

extension OptionValues {
    /// `X` or `X,Y`: at the first step and at the last.
    fileprivate func temperatures() throws(TTIError) -> (Float?, Float?) {
        guard let text = self["temperature"], text.contains(",") else {
            return (try number("temperature", in: 0...1000), nil)
        }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count == 2 else {
            throw fault("temperature", text, "is not one number, or two with a comma between them")
        }
        var pair: [Float?] = []
        for part in parts {
            var one = OptionValues()
            one.place = place(of: "temperature")
            one["temperature"] = String(part)
            pair.append(try one.number("temperature", in: 0...1000))
        }
        return (pair[0], pair[1])
    }
}
