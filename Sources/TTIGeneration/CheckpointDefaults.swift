internal import TTIFormats

extension GenerationSettings {
    /// What a masked checkpoint asks for: aMUSEd's own defaults (12 steps, guidance 10, temperature from 2 to 0) unless
    /// `scheduler_config.json` has a `generation` object.
    static func masked(_ scheduler: Configuration, gridSide: Int) throws(FormatError) -> GenerationSettings {
        let generation = try scheduler.section("generation")
        var settings = GenerationSettings(
            steps: try generation?.integer("num_inference_steps", default: 12, in: 1...1024) ?? 12,
            guidance: Float(try generation?.number("guidance_scale", default: 10, in: 0...1000) ?? 10),
            temperature: [2, 0], gridHeight: gridSide, gridWidth: gridSide)
        settings.schedule = try scheduler.choice("masking_schedule", default: .cosine)
        if let pair = generation?.json["temperature"]?.array {
            guard pair.count == 2, let first = pair[0].number, let last = pair[1].number, first >= 0, last >= 0 else {
                throw scheduler.error("'temperature' of 'generation' is not two numbers of at least 0")
            }
            settings.temperature = [Float(first), Float(last)]
        }
        if let generation {
            settings.topK = try generation.integer("top_k", default: 0, in: 0...1_000_000)
            settings.topP = Float(try generation.number("top_p", default: 1, in: 1e-6...1))
            settings.order = try generation.choice("order", default: .confidence)
            settings.guidanceRamp = try generation.choice("guidance_ramp", default: .constant)
        }
        return settings
    }

    /// What a diffusion checkpoint asks for: its own scheduler, and Stable Diffusion's defaults (50 steps, guidance 7.5, or 5 for
    /// XL) unless `scheduler_config.json` has a `generation` object.
    static func diffusion(_ scheduler: Configuration, latentSide: Int, isXL: Bool) throws(FormatError)
        -> GenerationSettings
    {
        let generation = try scheduler.section("generation")
        let standard = isXL ? 5 : 7.5
        var settings = GenerationSettings(
            steps: try generation?.integer("num_inference_steps", default: 50, in: 1...1024) ?? 50,
            guidance: Float(try generation?.number("guidance_scale", default: standard, in: 0...1000) ?? standard),
            temperature: [1, 1], gridHeight: latentSide, gridWidth: latentSide)
        settings.scheduler = try SchedulerConfiguration(scheduler).kind
        return settings
    }

    /// What an autoregressive checkpoint asks for: the `generation` object of its configuration, else no guidance.
    static func autoregressive(_ model: Configuration, height: Int, width: Int) throws(FormatError)
        -> GenerationSettings
    {
        let generation = try model.section("generation")
        let temperature = Float(try generation?.number("temperature", default: 1, in: 0...1000) ?? 1)
        var settings = GenerationSettings(
            steps: height * width,
            guidance: Float(try generation?.number("guidance_scale", default: 1, in: 0...1000) ?? 1),
            temperature: [temperature, temperature], gridHeight: height, gridWidth: width)
        if let generation {
            settings.topK = try generation.integer("top_k", default: 0, in: 0...1_000_000)
            settings.topP = Float(try generation.number("top_p", default: 1, in: 1e-6...1))
        }
        return settings
    }
}
