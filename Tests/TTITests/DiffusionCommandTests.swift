import TTI
import TTICore
import TTIFormats
import TTITestSupport
import Testing

/// `generate`, `run`, `inspect` and `bench` on a tiny checkpoint of latent diffusion.
@Suite struct DiffusionCommandTests {
    let place = Workplace()

    init() throws {
        for name in ["sd15", "sdxl"] { try DiffusionFixture(name).writeCheckpoint(to: place[name]) }
    }

    private func run(_ arguments: String...) -> Outcome { CommandProcess.run(arguments + ["-q"], in: place.path) }

    /// A small image of the tiny checkpoint.
    private func generate(_ arguments: String...) -> Outcome {
        CommandProcess.run(["generate", "a red cube", "-m", "sd15", "--steps", "3", "-q"] + arguments, in: place.path)
    }

    private func members(_ outcome: Outcome) throws -> JSON { try JSON(outcome.output, file: "output") }

    @Test func `every scheduler makes a picture of its own, the same every time`() throws {
        var pictures: Set<[UInt8]> = []
        for scheduler in DiffusionScheduler.allCases.map(\.rawValue) {
            let outcome = generate("-s", "1", "--scheduler", scheduler, "-o", "a.png", "--json")
            #expect(outcome.status == 0, "\(outcome)")
            let json = try members(outcome)
            #expect(json["mode"]?.string == "diffusion" && json["steps"]?.integer == 3)
            #expect(json["settings"]?["scheduler"]?.string == scheduler)
            let pixels = try PNG.decode(path: place["a.png"])
            #expect(pixels.width == 16 && pixels.height == 16)
            pictures.insert(pixels.bytes)
            #expect(generate("-s", "1", "--scheduler", scheduler, "-o", "b.png", "-t", "1").status == 0)
            #expect(place.read("a.png") == place.read("b.png"))
            #expect(generate("--from", "a.png", "-o", "c.png").status == 0)
            #expect(place.read("a.png") == place.read("c.png"))
        }
        #expect(pictures.count == 5)
    }

    @Test func `the checkpoint says how it is sampled`() throws {
        let json = try members(run("generate", "a red cube", "-m", "sd15", "-s", "1", "-o", "a.png", "--json"))
        #expect(json["steps"]?.integer == 50 && json["settings"]?["guidance"]?.number == 7.5)
        #expect(json["settings"]?["scheduler"]?.string == "pndm")
        place.edit(
            "sd15/scheduler/scheduler_config.json", "{",
            #"{"generation": {"num_inference_steps": 2, "guidance_scale": 3}, "#)
        let own = try members(run("generate", "a red cube", "-m", "sd15", "-s", "1", "-o", "a.png", "--json"))
        #expect(own["steps"]?.integer == 2 && own["settings"]?["guidance"]?.number == 3)
        // as diffusers writes DPM-Solver's default
        place.edit("sd15/scheduler/scheduler_config.json", "{", #"{"lambda_min_clipped": -Infinity, "#)
        #expect(generate("-s", "1", "-o", "a.png", "--scheduler", "dpm++2m").status == 0)
        let plan = run("generate", "a red cube", "-m", "sd15", "--dry-run", "--json", "--mode", "diffusion")
        #expect(plan.status == 0, "\(plan)")
    }

    @Test func `image i is the same at any count and batch`() {
        #expect(generate("-s", "5", "--count", "3", "-o", "all-{seed}.png", "--batch", "3").status == 0)
        #expect(generate("-s", "5", "--count", "3", "-o", "one-{seed}.png", "--batch", "1").status == 0)
        for seed in 5...7 { #expect(place.read("all-\(seed).png") == place.read("one-\(seed).png")) }
        #expect(place.read("all-5.png") != place.read("all-6.png"))
    }

    @Test func `latents go out and in`() throws {
        let outcome = generate(
            "-s", "5", "--count", "2", "-o", "{seed}.png", "--save-latents", "end.st", "--preview", "1")
        #expect(outcome.status == 0, "\(outcome)")
        #expect(place.contents().contains("5.preview.png"))
        let end = try #require(try SafetensorsFile(path: place["end.st"]).tensor("latents"))
        #expect(end.shape == [2, 4, 8, 8] && end.dtype == .float32)
        // the end of the loop, decoded without the scaling factor, is the picture
        place.write(
            "in.st", SafetensorsWriter.bytes([("latents", HostTensor(end.floats().map { $0 / 0.18215 }, end.shape))]))
        #expect(run("run", "vae.decode", "-m", "sd15", "--input", "in.st", "--output", "out.st").status == 0)
        let sample = try #require(try SafetensorsFile(path: place["out.st"]).tensor("sample"))
        #expect(sample.shape == [2, 3, 16, 16])
        let pixels = try PNG.decode(path: place["6.png"]).bytes
        let second = Array(sample.floats()[768...])
        let found = (0..<768).map { index in
            UInt8(min(max(0.5 * second[index % 3 * 256 + index / 3] + 0.5, 0), 1) * 255 + 0.5)
        }
        #expect(zip(found, pixels).allSatisfy { abs(Int($0) - Int($1)) <= 1 })

        let noise = HostTensor((0..<256).map { Float($0 % 17 - 8) / 5 }, [1, 4, 8, 8])
        place.write("noise.st", SafetensorsWriter.bytes([("latents", noise)]))
        #expect(generate("-s", "1", "--init-latents", "noise.st", "-o", "a.png").status == 0)
        #expect(generate("-s", "2", "--init-latents", "noise.st", "-o", "b.png").status == 0)
        #expect(try PNG.decode(path: place["a.png"]).bytes == PNG.decode(path: place["b.png"]).bytes)
        place.write("small.st", SafetensorsWriter.bytes([("latents", HostTensor([Float(1)], [1, 1, 1, 1]))]))
        let refused = generate("--init-latents", "small.st", "-W", "16", "-H", "16")
        #expect(refused.status == 64 && refused.isOneError("usage.latents"), "\(refused)")
    }

    @Test func `a picture to begin with, and a part of it`() throws {
        #expect(generate("-s", "5", "-o", "a.png").status == 0)
        #expect(generate("-s", "6", "--image", "a.png", "--strength", "0", "-o", "kept.png").status == 0)
        #expect(generate("-s", "6", "--image", "a.png", "--strength", "0.7", "-o", "b.png").status == 0)
        #expect(generate("-s", "6", "--image", "a.png", "--strength", "1", "-o", "c.png").status == 0)
        #expect(generate("-s", "6", "-o", "d.png").status == 0)
        let pixels = try ["kept", "b", "c", "d"].map { try PNG.decode(path: place["\($0).png"]).bytes }
        #expect(Set(pixels).count == 3 && pixels[2] == pixels[3])
        // the left half stays
        let mask = RGBPixels(
            width: 16, height: 16, bytes: (0..<768).map { $0 / 3 % 16 >= 8 ? 255 : 0 })
        place.write("mask.png", try PNG.encode(mask))
        #expect(generate("-s", "6", "--image", "a.png", "--mask", "mask.png", "-o", "e.png").status == 0)
        #expect(
            generate("-s", "7", "--image", "a.png", "--mask", "mask.png", "-o", "f.png", "--save-latents", "f.st")
                .status == 0)
        #expect(try PNG.decode(path: place["e.png"]).bytes != PNG.decode(path: place["f.png"]).bytes)
    }

    @Test func `networks one by one, of both kinds of checkpoint`() throws {
        func output(_ component: String, _ checkpoint: String, _ tensors: [(String, HostTensor)]) throws
            -> SafetensorsFile
        {
            place.write("in.st", SafetensorsWriter.bytes(tensors))
            let outcome = run("run", component, "-m", checkpoint, "--input", "in.st", "--output", "out.st")
            #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome)")
            return try SafetensorsFile(path: place["out.st"])
        }
        func numbers(_ shape: Shape) -> HostTensor {
            HostTensor((0..<shape.elementCount).map { Float($0 * 37 % 101) / 50 - 1 }, shape)
        }
        let ids = HostTensor((0..<80).map { Int32($0 % 3 == 0 ? 672 : $0) }, [2, 40])
        #expect(try output("text_encoder", "sd15", [("input_ids", ids)]).contains("pooler_output"))
        let states = try output("text_encoder_2", "sdxl", [("input_ids", ids)])
        #expect(try states.tensor("text_embeds")?.shape == [2, 6])
        let common = [("sample", numbers([2, 4, 6, 4]))]
        let text = numbers([2, 7, 8])
        let both = try output(
            "unet", "sd15",
            common + [("timestep", HostTensor([500, 17] as [Int32], [2])), ("encoder_hidden_states", text)])
        let one = try output(
            "unet", "sd15",
            common + [("timestep", HostTensor([500] as [Float], [1])), ("encoder_hidden_states", text)])
        let (together, alone) = (try #require(try both.tensor("sample")), try #require(try one.tensor("sample")))
        #expect(together.shape == [2, 4, 6, 4])
        // the first row is at the same step, the second is not
        #expect(together.floats()[..<96] == alone.floats()[..<96] && together.floats()[96...] != alone.floats()[96...])
        let xl = try output(
            "unet", "sdxl",
            common + [
                ("timestep", HostTensor([500] as [Int32], [1])), ("encoder_hidden_states", numbers([2, 7, 20])),
                ("text_embeds", numbers([2, 6])), ("time_ids", HostTensor([Int32](repeating: 16, count: 12), [2, 6])),
            ])
        #expect(try xl.tensor("sample")?.shape == [2, 4, 6, 4])
        let latents = try output("vae.encode", "sd15", [("sample", numbers([1, 3, 16, 8]))])
        #expect(try latents.tensor("latents")?.shape == [1, 4, 8, 4])
        let refused = run("run", "vqvae.decode", "-m", "sd15", "--input", "in.st", "--output", "out.st")
        #expect(refused.status == 64 && refused.isOneError("usage.component"), "\(refused)")
    }

    @Test func `inspect finds nothing wrong, and what is`() throws {
        for checkpoint in ["sd15", "sdxl"] {
            let outcome = run("inspect", checkpoint, "--json")
            #expect(outcome.status == 0, "\(outcome)")
        }
        place.edit("sd15/unet/config.json", #""in_channels":4"#, #""in_channels":9"#)
        #expect(run("inspect", "sd15").status == 78)
        let refused = generate("-o", "a.png")
        #expect(refused.status == 78 && refused.isOneError("model"), "\(refused)")
        place.edit("sdxl/unet/config.json", #""addition_embed_type":"text_time""#, #""addition_embed_type":"image""#)
        #expect(run("generate", "x", "-m", "sdxl").isOneError("model.config"))
    }

    @Test func `what belongs to other modes, and what cannot be made`() {
        for (options, name) in [
            (["--temperature", "1"], "usage.mode"), (["--top-k", "3"], "usage.mode"),
            (["--schedule", "cosine"], "usage.mode"),
            (["--save-tokens", "t.st"], "usage.mode"), (["-W", "17"], "usage.size"), (["-H", "18"], "usage.size"),
            (["--mode", "ar"], "usage.mode"),
        ] {
            let outcome = CommandProcess.run(
                ["generate", "x", "-m", "sd15", "-o", "a.png"] + options, in: place.path)
            #expect(outcome.status == 64 && outcome.isOneError(name), "\(options): \(outcome)")
        }
        #expect(!place.contents().contains("a.png"))
    }
}
