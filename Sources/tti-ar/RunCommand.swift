internal import TTI
internal import TTIFormats

/// `tti-ar run`: one forward pass of one network, for comparison with any other implementation.
enum RunCommand: Command {
    static let syntax = CommandSyntax(
        name: "run", operands: "COMPONENT", operandCount: 1...1,
        summary: "One forward pass of one network: tensors in, tensors out, as in the reference's forward signature.",
        options: [
            Option("-m, --checkpoint, --model", "DIR|NAME", "The pipeline's folder, or the component's own."),
            Option("--input", "FILE", "The network's inputs, safetensors."),
            Option("-o, --output", "FILE", "Where its outputs go, safetensors; replaced in one step if it exists."),
            Option("--incremental", nil, "decoder: through the key-value cache, one token a step."),
            Option("--unconditional", nil, "decoder: with the model's null condition instead of the text."),
            CommonOptions.variant, CommonOptions.backend,
            Option("--dtype", "auto|f32|bf16|int8", "How weights are held (auto: f32, as this is for comparison)."),
            CommonOptions.threads, CommonOptions.json, CommonOptions.quiet, CommonOptions.help,
        ],
        notes: [
            "Components: \(ComponentRunner.names.joined(separator: ", ")).",
            "text_encoder, text_encoder_2, encoder: input_ids [B,T], attention_mask [B,T] if wanted. transformer: input_ids [B,h,w], "
                + "encoder_hidden_states [B,T,D], pooled_text_emb [B,P], micro_conds [B,5]. decoder: input_ids [B,T] or "
                + "encoder_hidden_states [B,T,D], decoder_input_ids [B,N] with the start token first. vqvae.encode: sample "
                + "[B,3,H,W]. vqvae.decode: codes [B,h,w]. unet: sample [B,C,h,w], timestep [B] or [1], encoder_hidden_states "
                + "[B,T,D], and for SDXL text_embeds [B,P], time_ids [B,6]. vae.encode: sample [B,3,H,W]. vae.decode: latents "
                + "[B,C,h,w].",
        ])

    static func run(_ arguments: Arguments) throws {
        let values = arguments.values
        guard let component = arguments.operands.first else {
            throw usage("argument", "which network? one of \(ComponentRunner.names.joined(separator: ", "))")
        }
        guard ComponentRunner.names.contains(component) else {
            let nearest = nearestName(to: component, among: ComponentRunner.names).map { "; did you mean \($0)?" } ?? ""
            throw usage(
                "component",
                "there is no component \(quoted(component, limit: 60)), but "
                    + ComponentRunner.names.joined(separator: ", ") + nearest)
        }
        func required(_ name: String) throws(TTIError) -> String {
            guard let path = try values.path(name) else { throw usage("option", "'tti-ar run' needs --\(name)") }
            return path
        }
        var form = ComponentRunner.Form()
        form.isIncremental = values.isOn("incremental")
        form.isUnconditional = values.isOn("unconditional")
        if component != "decoder", form.isIncremental || form.isUnconditional {
            throw usage("option", "--incremental and --unconditional belong to the component 'decoder'")
        }
        let checkpoint = try required("checkpoint")
        let input = try required("input")
        let output = try required("output")
        let device = try values.chosenDevice()
        let precision = try values.precision()
        try translatingErrors {
            try AtomicFile.check(output, ifExists: .overwrite)
            guard FileStatus(path: input) != nil else {
                throw TTIError(.missingInput, "input.missing", "there is no file \(quoted(input))")
            }
        }
        let folder = try CheckpointSource.named(checkpoint).folder(variant: try values.path("variant"))
        var progress = Progress(isQuiet: values.isOn("quiet"))
        progress.begin("running \(component)")
        let result = try ComponentRunner.run(
            component, in: folder, input: input, form: form, device: device, precision: precision)
        try translatingErrors { _ = try AtomicFile.write(result.file, to: output, ifExists: .overwrite) }
        let shapes = result.shapes.map { "\($0.name) \($0.extents)" }
        progress.end("\(harmless(output)): \(shapes.joined(separator: ", "))")
        if values.isOn("json") {
            var tensors = JSONObject()
            for (name, extents) in result.shapes { tensors.set(ByteString(name), .list(extents.map { JSON($0) })) }
            try Output.json([
                "component": JSON(component), "output": JSON(output), "tensors": .members(tensors),
                "peak_memory_bytes": JSON(result.peakMemory),
            ])
        }
    }
}
