import TTICore
import TTIFormats
import TTIModels

// Each function reads and checks the inputs first, and gives what makes the network and its pass.
extension ComponentRunner {
    /// The UNet of latent diffusion. Rows of one training step go through the network together.
    static func unet(_ configuration: Configuration, _ input: String) throws -> Preparation {
        try check(configuration, is: "UNet", ["UNet2DConditionModel"])
        let c = try UNetConfiguration(configuration)
        var required: KeyValuePairs = [
            "sample": "[B, \(c.inputChannels), h, w]", "timestep": "[B] or [1]",
            "encoder_hidden_states": "[B, T, \(c.textWidth)]",
        ]
        if let added = c.added {
            required = [
                "sample": "[B, \(c.inputChannels), h, w]", "timestep": "[B] or [1]",
                "encoder_hidden_states": "[B, T, \(c.textWidth)]", "text_embeds": "[B, \(added.pooledTextWidth)]",
                "time_ids": "[B, 6]",
            ]
        }
        let inputs = try ComponentInputs(input, component: "unet", required: required)
        let (values, shape) = try inputs.floats(
            "sample", [nil, c.inputChannels, nil, nil], "[B, \(c.inputChannels), h, w]")
        guard shape[2] % c.latentStep == 0, shape[3] % c.latentStep == 0 else {
            throw inputs.fault(
                "'sample' is \(shape[3])x\(shape[2]), and both sides must be multiples of \(c.latentStep)")
        }
        let batch = shape[0]
        let latents = values.channelsLast(shape)
        let timesteps = try inputs.numbers("timestep", count: batch)
        let text = try inputs.floats(
            "encoder_hidden_states", [batch, nil, c.textWidth], "[\(batch), T, \(c.textWidth)]")
        let pooled = try c.added.map {
            try inputs.floats("text_embeds", [batch, $0.pooledTextWidth], "[\(batch), \($0.pooledTextWidth)]").values
        }
        let sizes = try c.added.map { _ in
            try inputs.numbers("time_ids", [batch, UNetConfiguration.AddedCondition.sizeCount])
        }
        return { weights, b in
            let network = try UNet(weights, c, on: b)
            return { b in
                var output: [Float] = []
                for row in 0..<batch {
                    let mark = b.arena.mark
                    defer { b.arena.rewind(to: mark) }
                    /// The row's own part of some numbers.
                    func part(_ values: [Float], _ extents: [Int]) -> Tensor {
                        let count = values.count / batch
                        return b.uploadActivations(
                            HostTensor(Array(values[row * count..<(row + 1) * count]), Shape([1] + extents)))
                    }
                    var added: UNetConditioning.Added?
                    if let pooled, let sizes {
                        let count = sizes.count / batch
                        added = UNetConditioning.Added(
                            pooled: part(pooled, [pooled.count / batch]),
                            sizes: [Array(sizes[row * count..<(row + 1) * count])])
                    }
                    let prepared = network.prepare(
                        text: part(text.values, [text.shape[1], c.textWidth]), added: added,
                        timesteps: [timesteps[timesteps.count == 1 ? 0 : row]], on: b)
                    let sample = network(
                        part(latents, [shape[2], shape[3], shape[1]]), at: b.upload(HostTensor([Int32(0)], [1])),
                        prepared, on: b)
                    output += try b.read(sample)
                }
                let values = output.channelsFirst(
                    batch: batch, pixels: shape[2] * shape[3], channels: c.outputChannels)
                return [("sample", HostTensor(values, [batch, c.outputChannels, shape[2], shape[3]]))]
            }
        }
    }

    /// Pixels to the mean of their latents.
    static func autoencoderEncoder(_ configuration: Configuration, _ input: String) throws -> Preparation {
        try check(configuration, is: "autoencoder", ["AutoencoderKL"])
        let c = try AutoencoderKLConfiguration(configuration)
        let channels = c.network.inputChannels
        let inputs = try ComponentInputs(input, component: "vae.encode", required: ["sample": "[B, \(channels), H, W]"])
        let (values, shape) = try inputs.floats("sample", [nil, channels, nil, nil], "[B, \(channels), H, W]")
        guard shape[2] % c.scale == 0, shape[3] % c.scale == 0 else {
            throw inputs.fault("'sample' is \(shape[3])x\(shape[2]), and both sides must be multiples of \(c.scale)")
        }
        return imagePass(values, shape, "latents") { weights, b in
            let network = try AutoencoderKL(weights, c, on: b)
            return { network.encode($0, on: $1) }
        }
    }

    /// Latents to pixels.
    static func autoencoderDecoder(_ configuration: Configuration, _ input: String) throws -> Preparation {
        try check(configuration, is: "autoencoder", ["AutoencoderKL"])
        let c = try AutoencoderKLConfiguration(configuration)
        let channels = c.network.latentChannels
        let inputs = try ComponentInputs(
            input, component: "vae.decode", required: ["latents": "[B, \(channels), h, w]"])
        let (values, shape) = try inputs.floats("latents", [nil, channels, nil, nil], "[B, \(channels), h, w]")
        return imagePass(values, shape, "sample") { weights, b in
            let network = try AutoencoderKL(weights, c, on: b)
            return { network.decode($0, on: $1) }
        }
    }

    /// A pass from images to images.
    private static func imagePass(
        _ values: [Float], _ shape: [Int], _ name: String,
        _ make: @escaping (Weights, any Backend) throws -> (Tensor, any Backend) -> Tensor
    ) -> Preparation {
        let input = HostTensor(values.channelsLast(shape), [shape[0], shape[2], shape[3], shape[1]])
        return { weights, b in
            let network = try make(weights, b)
            return { b in
                let output = network(b.uploadActivations(input), b)
                let size = output.shape
                let values = try b.read(output).channelsFirst(
                    batch: size[0], pixels: size[1] * size[2], channels: size[3])
                return [(name, HostTensor(values, [size[0], size[3], size[1], size[2]]))]
            }
        }
    }
}
