import Glibc
import TTI
import Testing

/// A checkpoint that ships with one thing broken.
struct DamagedCheckpoint: Sendable, CustomTestStringConvertible {
    let name: String
    let checkpoint: String
    let status: Int32
    /// What the message must say.
    let mentions: String
    let damage: @Sendable (Workplace) -> Void

    var testDescription: String { name }

    private static func masked(
        _ name: String, _ status: Int32, _ mentions: String, _ damage: @escaping @Sendable (Workplace) -> Void
    ) -> DamagedCheckpoint {
        DamagedCheckpoint(name: name, checkpoint: "scenes-masked", status: status, mentions: mentions, damage: damage)
    }

    private static func autoregressive(
        _ name: String, _ status: Int32, _ mentions: String, _ damage: @escaping @Sendable (Workplace) -> Void
    ) -> DamagedCheckpoint {
        DamagedCheckpoint(name: name, checkpoint: "scenes-ar", status: status, mentions: mentions, damage: damage)
    }

    private static let weights = "model/transformer/diffusion_pytorch_model.safetensors"
    private static let config = "model/transformer/config.json"
    private static let ar = "model/transformer/model.safetensors"

    static let all: [DamagedCheckpoint] = files + headers + configurations + indices + tokenizers

    private static let files: [DamagedCheckpoint] = [
        masked("no index", 78, "model_index.json") { $0.remove("model/model_index.json") },
        masked("no transformer folder", 78, "transformer") { $0.remove("model/transformer") },
        masked("a file for the folder", 78, "transformer") {
            $0.remove("model/transformer")
            $0.write("model/transformer", "x")
        },
        masked("no configuration", 78, "config.json") { $0.remove(config) },
        masked("no weights", 78, "transformer") { $0.remove(weights) },
        masked("empty weights", 78, "diffusion_pytorch_model") { $0.write(weights, "") },
        masked("four bytes of weights", 78, "diffusion_pytorch_model") { $0.truncate(weights, to: 4) },
        masked("weights cut in the header", 78, "diffusion_pytorch_model") { $0.truncate(weights, to: 200) },
        masked("weights cut in the middle", 78, "diffusion_pytorch_model") { $0.truncate(weights, to: 1_000_000) },
        masked("weights one byte short", 78, "diffusion_pytorch_model") {
            $0.write(weights, $0.read(weights).dropLast())
        },
        masked("weights one byte long", 78, "diffusion_pytorch_model") { $0.write(weights, $0.read(weights) + [0]) },
        masked("a pointer of Git LFS", 78, "LFS") {
            $0.write(weights, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        },
        masked("a web page", 78, "diffusion_pytorch_model") { $0.write(weights, "<!DOCTYPE html><html>404</html>") },
        masked("a pickle under another name", 78, "diffusion_pytorch_model") {
            $0.write(weights, [0x80, 0x02, 0x7d, 0x71, 0x00, 0x2e, 0, 0, 0, 0])
        },
        masked("a zip under another name", 78, "diffusion_pytorch_model") {
            $0.write(weights, [0x50, 0x4b, 3, 4] + Array(repeating: 0, count: 60))
        },
        masked("pickled weights only", 78, "safetensors") {
            $0.remove(weights)
            $0.write("model/transformer/diffusion_pytorch_model.bin", "x")
        },
        masked("weights are a folder", 66, "diffusion_pytorch_model") {
            $0.remove(weights)
            $0.makeFolder(weights)
        },
        masked("weights are a pipe", 66, "diffusion_pytorch_model") {
            $0.remove(weights)
            mkfifo($0[weights], 0o644)
        },
        masked("weights are a device", 77, "diffusion_pytorch_model") { $0.link(weights, to: "/dev/zero") },
        masked("a link out of the folder", 77, "config.json") {
            $0.write("outside.json", "{}")
            $0.link(config, to: $0["outside.json"])
        },
        masked("a link to nothing", 78, "link") { $0.link(weights, to: "gone") },
        masked("a link to itself", 78, "config.json") { $0.link(config, to: "config.json") },
    ]

    private static let headers: [DamagedCheckpoint] = [
        masked("a header of 2^63 bytes", 78, "header") { place in
            place.write(weights, [0, 0, 0, 0, 0, 0, 0, 0x80] + place.read(weights).dropFirst(8))
        },
        masked("a header of 0 bytes", 78, "diffusion_pytorch_model") { place in
            place.write(weights, [UInt8](repeating: 0, count: 8) + place.read(weights).dropFirst(8))
        },
        masked("a header that is no JSON", 78, "JSON") { $0.editHeader(weights, "{", "[") },
        masked("a tensor that is not there", 78, "project_to_hidden.weight") {
            $0.editHeader(weights, "\"project_to_hidden.weight\"", "\"project_to_nowhere.weight\"")
        },
        masked("a tensor of another shape", 78, "[192, 128] was expected") {
            $0.editHeader(weights, "\"shape\":[192,128]", "\"shape\":[128,192]")
        },
        masked("a shape that overflows", 78, "diffusion_pytorch_model") {
            $0.editHeader(weights, "\"shape\":[192,128]", "\"shape\":[9223372036854775807,9223372036854775807]")
        },
        masked("a shape that is no number", 78, "diffusion_pytorch_model") {
            $0.editHeader(weights, "\"shape\":[192,128]", "\"shape\":[192,128.0]")
        },
        masked("a negative extent", 78, "diffusion_pytorch_model") {
            $0.editHeader(weights, "\"shape\":[192,128]", "\"shape\":[192,-128]")
        },
        masked("a type of another size", 78, "diffusion_pytorch_model") {
            $0.editHeader(weights, "\"BF16\",\"shape\":[192,128]", "\"F32\",\"shape\":[192,128]")
        },
        masked("an unknown type", 78, "diffusion_pytorch_model") {
            $0.editHeader(weights, "\"BF16\",\"shape\":[192,128]", "\"Q4_K\",\"shape\":[192,128]")
        },
        masked("integers for weights", 78, "I16") {
            $0.editHeader(weights, "\"BF16\",\"shape\":[192,128]", "\"I16\",\"shape\":[192,128]")
        },
        autoregressive("a tensor too many", 78, "decoder.layers.7") {
            $0.edit("model/transformer/config.json", "\"decoder_layers\": 8", "\"decoder_layers\": 7")
        },
        autoregressive("a layer too few", 78, "decoder.layers.8") {
            $0.edit("model/transformer/config.json", "\"decoder_layers\": 8", "\"decoder_layers\": 9")
        },
        autoregressive("weights cut", 78, "model.safetensors") { $0.truncate(ar, to: 5_000_000) },
    ]

    private static func field(
        _ name: String, _ old: String, _ new: String, _ mentions: String, file: String = config
    ) -> DamagedCheckpoint {
        masked(name, 78, mentions) { $0.edit(file, old, new) }
    }

    private static let configurations: [DamagedCheckpoint] = [
        masked("an empty configuration", 78, "config.json") { $0.write(config, "") },
        masked("a configuration that is no JSON", 78, "line 1") { $0.write(config, "{hidden_size: 3}") },
        masked("a configuration that is a list", 78, "config.json") { $0.write(config, "[]") },
        masked("a configuration in UTF-16", 78, "config.json") { $0.write(config, [0xff, 0xfe, 0x7b, 0, 0x7d, 0]) },
        masked("a configuration of nine million brackets", 78, "config.json") {
            $0.write(config, String(repeating: "[", count: 900_000))
        },
        masked("a configuration of 2 MB", 78, "config.json") {
            $0.write(config, "{\"a\": \"" + String(repeating: "x", count: 2_000_000) + "\"}")
        },
        field("a key twice", "\"hidden_size\": 192", "\"hidden_size\": 192, \"hidden_size\": 64", "hidden_size"),
        field("a width of 0", "\"hidden_size\": 192", "\"hidden_size\": 0", "hidden_size"),
        field("a negative width", "\"hidden_size\": 192", "\"hidden_size\": -192", "hidden_size"),
        field("a huge width", "\"hidden_size\": 192", "\"hidden_size\": 2147483648", "hidden_size"),
        field("a width beyond 64 bits", "\"hidden_size\": 192", "\"hidden_size\": 99999999999999999999", "hidden_size"),
        field("a width in words", "\"hidden_size\": 192", "\"hidden_size\": \"wide\"", "hidden_size"),
        field("a fractional width", "\"hidden_size\": 192", "\"hidden_size\": 192.5", "hidden_size"),
        field("another width", "\"hidden_size\": 192", "\"hidden_size\": 96", "[192"),
        field("a billion layers", "\"num_hidden_layers\": 4", "\"num_hidden_layers\": 1000000000", "num_hidden_layers"),
        field(
            "heads that do not divide", "\"num_attention_heads\": 6", "\"num_attention_heads\": 7",
            "num_attention_heads"),
        field(
            "a text encoder of another width", "\"hidden_size\": 128", "\"hidden_size\": 256", "encoder_hidden_size",
            file: "model/text_encoder/config.json"),
        field(
            "a projection of another width", "\"projection_dim\": 128", "\"projection_dim\": 64", "cond_embed_dim",
            file: "model/text_encoder/config.json"),
        field(
            "a text encoder without projection", "CLIPTextModelWithProjection", "CLIPTextModel", "no projection",
            file: "model/model_index.json"),
        field("four conditions", "\"micro_cond_embed_dim\": 160", "\"micro_cond_embed_dim\": 128", "micro_cond"),
        field("fewer codes than the table", "\"codebook_size\": 1024", "\"codebook_size\": 512", "512"),
        field("an epsilon that is a list", "\"layer_norm_eps\": 1e-06", "\"layer_norm_eps\": []", "layer_norm_eps"),
        field(
            "an activation that nobody knows", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"tanhish\"", "hidden_act",
            file: "model/text_encoder/config.json"),
        field(
            "a decoder block that nobody knows", "\"UpDecoderBlock2D\"", "\"MysteryBlock2D\"", "MysteryBlock2D",
            file: "model/vqvae/config.json"),
        field(
            "a mask token that is a code", "\"mask_token_id\": 1024", "\"mask_token_id\": 3", "mask_token_id",
            file: "model/scheduler/scheduler_config.json"),
        field(
            "a schedule that nobody knows", "\"cosine\"", "\"cosinus\"", "masking_schedule",
            file: "model/scheduler/scheduler_config.json"),
        field(
            "steps in words", "\"num_inference_steps\": 16", "\"num_inference_steps\": \"many\"", "num_inference_steps",
            file: "model/scheduler/scheduler_config.json"),
        masked("no scheduler", 78, "scheduler") { $0.remove("model/scheduler") },
        autoregressive("an image of no tokens", 78, "image_height") {
            $0.edit("model/transformer/config.json", "\"image_height\": 16", "\"image_height\": 0")
        },
        autoregressive("a longer image than positions", 78, "embed_positions") {
            $0.edit("model/transformer/config.json", "\"image_height\": 16", "\"image_height\": 32")
        },
        autoregressive("an unknown activation", 78, "activation_function") {
            $0.edit("model/transformer/config.json", "\"gelu\"", "\"swoosh\"")
        },
    ]

    private static let indices: [DamagedCheckpoint] = [
        masked("an index that is no JSON", 78, "model_index.json") { $0.write("model/model_index.json", "{") },
        masked("an index without a class", 78, "_class_name") { $0.write("model/model_index.json", "{}") },
        masked("a class that nobody knows", 78, "StableCascade") {
            $0.edit("model/model_index.json", "AmusedPipeline", "StableCascade")
        },
        masked("a component outside", 77, "..") {
            $0.edit("model/model_index.json", "\"text_encoder\": [", "\"../text_encoder\": [")
        },
        masked("a component that is a number", 78, "transformer") {
            $0.edit("model/model_index.json", "\"transformer\": [\n    \"diffusers\"", "\"transformer\": [\n    3")
        },
        masked("shards outside", 77, "..") {
            $0.remove(weights)
            $0.write(
                weights + ".index.json", "{\"metadata\": {}, \"weight_map\": {\"a\": \"../../../etc/passwd\"}}")
        },
        masked("an absolute shard", 77, "/etc/passwd") {
            $0.remove(weights)
            $0.write(weights + ".index.json", "{\"weight_map\": {\"a\": \"/etc/passwd\"}}")
        },
        masked("a shard that is missing", 78, "00001-of-00002") {
            $0.remove(weights)
            $0.write(
                weights + ".index.json",
                "{\"weight_map\": {\"a\": \"diffusion_pytorch_model-00001-of-00002.safetensors\"}}")
        },
        masked("a shard index without a map", 78, "weight_map") {
            $0.remove(weights)
            $0.write(weights + ".index.json", "{\"metadata\": {}}")
        },
        masked("a pickled shard", 78, "") {
            $0.remove(weights)
            $0.write(weights + ".index.json", "{\"weight_map\": {\"a\": \"pytorch_model.bin\"}}")
            $0.write("model/transformer/pytorch_model.bin", "x")
        },
    ]

    private static let tokenizers: [DamagedCheckpoint] = [
        masked("no tokenizer", 78, "tokenizer") { $0.remove("model/tokenizer") },
        masked("an empty tokenizer folder", 78, "tokenizer") {
            $0.remove("model/tokenizer")
            $0.makeFolder("model/tokenizer")
        },
        masked("a tokenizer that is no JSON", 78, "tokenizer.json") {
            $0.write("model/tokenizer/tokenizer.json", "{\"model\":")
        },
        masked("a tokenizer without a model", 78, "tokenizer.json") {
            $0.write("model/tokenizer/tokenizer.json", "{}")
        },
        masked("a model type that nobody knows", 78, "tokenizer.json") {
            $0.edit("model/tokenizer/tokenizer.json", "\"BPE\"", "\"XYZ\"")
        },
        masked("a vocabulary with a huge id", 78, "tokenizer") {
            $0.remove("model/tokenizer/tokenizer.json")
            $0.edit("model/tokenizer/vocab.json", ":", ": 2147483648, \"zzz\":")
        },
        masked("a vocabulary that is a list", 78, "vocab.json") {
            $0.remove("model/tokenizer/tokenizer.json")
            $0.write("model/tokenizer/vocab.json", "[1, 2]")
        },
        masked("merges of nothing known", 78, "merges.txt") {
            $0.remove("model/tokenizer/tokenizer.json")
            $0.write("model/tokenizer/merges.txt", "#version: 0.2\nzzqq qqzz\n")
        },
        autoregressive("a spiece.model that is empty", 78, "spiece.model") {
            $0.write("model/tokenizer/spiece.model", "")
        },
        autoregressive("a spiece.model that is cut", 78, "spiece.model") {
            $0.truncate("model/tokenizer/spiece.model", to: 300)
        },
        autoregressive("a spiece.model of noise", 78, "spiece.model") {
            $0.write(
                "model/tokenizer/spiece.model", (0..<4000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) })
        },
        autoregressive("a tokenizer with more ids than the table", 78, "vocab") {
            $0.edit("model/transformer/config.json", "\"vocab_size\": 345", "\"vocab_size\": 300")
        },
    ]
}

@Suite struct DamagedCheckpointTests {
    @Test(arguments: DamagedCheckpoint.all)
    func `a damaged checkpoint is one line, the right code, and nothing on disk`(_ damaged: DamagedCheckpoint) {
        let place = Workplace()
        place.makeFolder("out")
        place.copyCheckpoint(damaged.checkpoint)
        damaged.damage(place)
        let outcome = CommandProcess.run(
            ["generate", "a red cube", "-m", place["model"], "-q", "-o", "x.png"], in: place["out"])
        #expect(outcome.status == damaged.status, "\(outcome)")
        #expect(outcome.errorLines.count == 1 && outcome.errors.hasPrefix("tti-ar: error["), "\(outcome)")
        #expect(outcome.errors.contains(damaged.mentions), "\(outcome)")
        #expect(outcome.output.isEmpty && place.contents("out").isEmpty)
    }

    @Test func `inspect lists everything that is wrong and returns 78`() {
        let place = Workplace()
        place.copyCheckpoint("scenes-masked")
        place.edit("model/transformer/config.json", "\"hidden_size\": 192", "\"hidden_size\": 96")
        place.truncate("model/vqvae/diffusion_pytorch_model.safetensors", to: 1000)
        place.remove("model/tokenizer")
        let outcome = CommandProcess.run(["inspect", "model"], in: place.path)
        #expect(outcome.status == 78, "\(outcome)")
        #expect(outcome.errorLines.count == 1)
        #expect(outcome.lines.count { $0.contains("wrong: ") } >= 3, "\(outcome)")
        #expect(outcome.text.contains("text_encoder"))
    }

    @Test func `inspect --verify finds a number that is not finite`() {
        let place = Workplace()
        place.copyCheckpoint("scenes-ar")
        var bytes = place.read("model/transformer/model.safetensors")
        bytes[bytes.count - 1] = 0x7f
        bytes[bytes.count - 2] = 0xc0
        place.write("model/transformer/model.safetensors", bytes)
        #expect(CommandProcess.run(["inspect", "model"], in: place.path).status == 0)
        let outcome = CommandProcess.run(["inspect", "model", "--verify", "--json"], in: place.path)
        #expect(outcome.status == 78 && outcome.isOneError("model.not-finite"), "\(outcome)")
        #expect(outcome.text.contains("\"valid\":false"))
    }

    @Test(arguments: ["scenes-masked", "scenes-ar", "scenes-diffusion"])
    func `nothing is wrong with what ships`(_ name: String) {
        let place = Workplace()
        let outcome = CommandProcess.run(["inspect", name, "--verify"], in: place.path)
        #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome)")
        #expect(outcome.text.contains("nothing wrong"))
    }
}
