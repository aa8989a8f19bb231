import Glibc
import TTICore
import TTIFormats
import Testing

@Suite struct CheckpointTests {
    let folder = TemporaryFolder()

    private func file(_ names: String...) -> [UInt8] {
        SafetensorsWriter.bytes(names.map { ($0, HostTensor([1, 2] as [Float], [2])) })
    }

    private func index(_ map: [(String, String)]) -> String {
        var weights = JSONObject()
        for (tensor, file) in map { weights.set(ByteString(tensor), JSON(file)) }
        return (["metadata": ["total_size": 16], "weight_map": .members(weights)] as JSON).text()
    }

    private func names(variant: String? = nil) throws -> [String] {
        try CheckpointFolder(path: folder.path, variant: variant).weights().names
    }

    private func refusal(variant: String? = nil) -> FormatError? { failure { _ = try names(variant: variant) } }

    // MARK: Which file is taken

    @Test func `plain weights win over fp16 unless the variant is asked for`() throws {
        folder.write("diffusion_pytorch_model.safetensors", file("plain"))
        folder.write("diffusion_pytorch_model.fp16.safetensors", file("half"))
        #expect(try names() == ["plain"])
        #expect(try names(variant: "fp16") == ["half"])
        #expect(try names(variant: "bf16") == ["plain"])
    }

    @Test func `a variant that is alone is taken`() throws {
        folder.write("model.fp16.safetensors", file("half"))
        #expect(try names() == ["half"])
    }

    @Test func `another single variant is taken and of several one must be chosen`() throws {
        folder.write("model.non_ema.safetensors", file("a"))
        #expect(try names() == ["a"])
        folder.write("model.bf16.safetensors", file("b"))
        #expect(refusal()?.code == "model.weights")
        #expect(refusal()?.message.contains("bf16, non_ema") == true)
        #expect(try names(variant: "bf16") == ["b"])
    }

    @Test func `shards are read through their index`() throws {
        folder.write("model-00001-of-00002.safetensors", file("a", "b"))
        folder.write("model-00002-of-00002.safetensors", file("c"))
        folder.write(
            "model.safetensors.index.json",
            index([
                ("a", "model-00001-of-00002.safetensors"), ("c", "model-00002-of-00002.safetensors"),
                ("b", "model-00001-of-00002.safetensors"),
            ]))
        let files = try CheckpointFolder(path: folder.path).weights()
        #expect(files.names == ["a", "b", "c"])
        #expect(try files.tensor("c")?.floats() == [1, 2])
        #expect(try files.tensor("d") == nil)
        #expect(files.unindexedNames.isEmpty)
    }

    @Test func `shards of a variant have their own index`() throws {
        folder.write("diffusion_pytorch_model.fp16-00001-of-00001.safetensors", file("half"))
        folder.write(
            "diffusion_pytorch_model.safetensors.index.fp16.json",
            index([("half", "diffusion_pytorch_model.fp16-00001-of-00001.safetensors")]))
        #expect(try names() == ["half"])
        folder.write("diffusion_pytorch_model-00001-of-00001.safetensors", file("plain"))
        folder.write(
            "diffusion_pytorch_model.safetensors.index.json",
            index([("plain", "diffusion_pytorch_model-00001-of-00001.safetensors")]))
        #expect(try names() == ["plain"])
        #expect(try names(variant: "fp16") == ["half"])
    }

    @Test func `a tensor that no index names is listed and not served`() throws {
        folder.write("s.safetensors", file("a", "left"))
        folder.write("model.safetensors.index.json", index([("a", "s.safetensors")]))
        let files = try CheckpointFolder(path: folder.path).weights()
        #expect(files.names == ["a"])
        #expect(files.unindexedNames == ["left"])
        #expect(!files.contains("left"))
    }

    // MARK: What is refused

    @Test(arguments: ["pytorch_model.bin", "diffusion_pytorch_model.bin", "model.ckpt", "weights.pt", "x.pth"])
    func `pickles are refused with the command that converts them`(name: String) throws {
        folder.write(name, [0x80, 2])
        let error = try #require(refusal())
        #expect(error.kind == .invalid)
        #expect(error.code == "model.pickle")
        #expect(error.message.contains(name))
        #expect(error.message.contains("save_file"))
    }

    @Test(arguments: [
        "../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\b", "a\u{0}b", "x\u{1b}[2J",
        String(repeating: "x", count: 300), "\u{202e}x",
    ])
    func `an index cannot name a file elsewhere`(shard: String) throws {
        folder.write("model.safetensors.index.json", index([("a", shard)]))
        let error = try #require(refusal())
        #expect(error.kind == .refused)
        #expect(error.code == "model.path")
        #expect(!error.message.unicodeScalars.contains { isDangerous($0) })
    }

    @Test func `a missing shard is named and the others counted`() throws {
        folder.write("a.safetensors", file("a"))
        folder.write("c.safetensors", file("c"))
        folder.write(
            "model.safetensors.index.json",
            index([("a", "a.safetensors"), ("b", "b.safetensors"), ("c", "c.safetensors")]))
        let error = try #require(refusal())
        #expect(error.kind == .invalid)
        #expect(error.code == "model.shard")
        #expect(error.message.contains("'b.safetensors'"))
        #expect(error.message.contains("(2 of 3 present)"))
    }

    @Test(arguments: [
        (#"{}"#, "model.index"), (#"[]"#, "model.index"), (#"{"weight_map": {}}"#, "model.index"),
        (#"{"weight_map": []}"#, "model.index"), (#"{"weight_map": {"a": 1}}"#, "model.index"),
        (#"{"weight_map": {"a": null}}"#, "model.index"),
        (#"{"weight_map": {"missing": "a.safetensors"}}"#, "model.index"),
        (#"{"weight_map": {"a": "b.safetensors", "b": "b.safetensors"}}"#, "model.index"),
        (#"{"weight_map": {"a": "a.safetensors", "c": "c.safetensors"}}"#, "model.index"),
        (#"{"weight_map": {"a": "a.safetensors", "a": "a.safetensors"}}"#, "json.syntax"),
        (#"{"weight_map": {"a": "a.bin"}}"#, "model.pickle"), (#"{"weight_map": {"a": "a.txt"}}"#, "model.index"),
        (#"{"weight_map": "#, "json.syntax"), ("", "json.syntax"),
        (#"{"weight_map": {"a": "A.safetensors"}}"#, "model.shard"),
        (#"{"weight_map": {"a": "%61.safetensors"}}"#, "model.shard"),
        (#"{"weight_map": {"a": "folder.safetensors"}}"#, "input.kind"),
    ])
    func `a damaged index is an error`(text: String, code: String) throws {
        folder.write("a.safetensors", file("a"))
        folder.write("b.safetensors", file("b"))
        folder.write("c.safetensors", file("a", "c"))
        folder.write("a.bin", [1])
        folder.write("a.txt", "x")
        folder.makeFolder("folder.safetensors")
        folder.write("model.safetensors.index.json", text)
        #expect(refusal()?.code == code)
    }

    @Test func `too many shards are refused`() throws {
        folder.write("model.safetensors.index.json", index((0..<5000).map { ("t\($0)", "s\($0).safetensors") }))
        #expect(refusal()?.code == "model.index")
    }

    @Test func `a folder without weights says what it has`() throws {
        #expect(refusal()?.code == "model.weights")
        folder.write("other.safetensors", file("a"))
        #expect(refusal()?.message.contains("'other.safetensors'") == true)
    }

    // MARK: Links

    @Test func `links out of the checkpoint are refused and links inside are followed`() throws {
        let outside = TemporaryFolder()
        outside.write("secret/model.safetensors", file("secret"))
        folder.link("model.safetensors", to: outside["secret/model.safetensors"])
        #expect(refusal()?.kind == .refused)
        unlink(folder["model.safetensors"])
        folder.link("model.safetensors", to: "blobs/x")
        #expect(refusal()?.code == "model.incomplete")
        folder.write("blobs/x", file("inside"))
        #expect(try names() == ["inside"])
        unlink(folder["model.safetensors"])
        folder.link("model.safetensors", to: "model.safetensors")
        #expect(refusal()?.code == "model.incomplete")
    }

    @Test func `a component may be shared with a checkpoint beside this one`() throws {
        folder.write("one/model_index.json", #"{"_class_name": "X"}"#)
        folder.write("one/vqvae/diffusion_pytorch_model.safetensors", file("shared"))
        folder.write("two/model_index.json", #"{"_class_name": "Y"}"#)
        folder.write("other/secret/diffusion_pytorch_model.safetensors", file("secret"))
        folder.link("two/vqvae", to: "../one/vqvae")
        folder.link("two/unet", to: "../other/secret")
        let two = try CheckpointFolder(path: folder["two"])
        #expect(try two.folder("vqvae").weights().names == ["shared"])
        #expect(failure { _ = try two.folder("unet") }?.kind == .refused)
        #expect(failure { _ = try two.folder("../one") }?.kind == .refused)
        #expect(failure { _ = try two.folder("absent") }?.code == "model.missing")
        // The path that a person types is followed.
        #expect(try CheckpointFolder(path: folder["two/vqvae"]).weights().names == ["shared"])
    }

    @Test func `pipes and folders are refused at once`() throws {
        mkfifo(folder["model.safetensors"], 0o644)
        #expect(refusal()?.kind == .notRegularFile)
        unlink(folder["model.safetensors"])
        folder.makeFolder("model.safetensors")
        #expect(refusal()?.kind == .notRegularFile)
        rmdir(folder["model.safetensors"])
        folder.link("model.safetensors", to: "/dev/zero")
        #expect(refusal()?.kind == .refused)
        #expect(failure { _ = try MappedFile(path: "/dev/zero") }?.kind == .notRegularFile)
        #expect(failure { _ = try readFile("/dev/zero", limit: 10) }?.kind == .notRegularFile)
    }

    // MARK: The pipeline's index

    @Test func `a pipeline lists its components`() throws {
        let json: JSON = [
            "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0", "requires_safety_checker": true,
            "unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [nil, nil], "sizes": [1, 2, 3],
        ]
        let index = try PipelineIndex(json, file: "x")
        #expect(index.className == "StableDiffusionPipeline")
        #expect(index.components.map(\.name) == ["unet"])
        #expect(index["unet"]?.className == "UNet2DConditionModel")
        #expect(index["safety_checker"] == nil)
        #expect(index.settings["requires_safety_checker"]?.bool == true)
    }

    @Test(arguments: [
        ("[]", FormatError.Kind.invalid), ("{}", .invalid), (#"{"_class_name": 1}"#, .invalid),
        (#"{"_class_name": "X", "a": [1, 2]}"#, .invalid), (#"{"_class_name": "X", "a": ["x", null]}"#, .invalid),
        (#"{"_class_name": "X", "../a": ["x", "y"]}"#, .refused), (#"{"_class_name": "X", "": ["x", "y"]}"#, .refused),
        (#"{"_class_name": "X", "/etc": ["x", "y"]}"#, .refused),
    ])
    func `a damaged pipeline index is an error`(text: String, kind: FormatError.Kind) throws {
        folder.write("model_index.json", text)
        #expect(failure { _ = try CheckpointFolder(path: folder.path).pipelineIndex() }?.kind == kind)
    }

    // MARK: Finding a checkpoint

    private let commit = "0123456789abcdef0123456789abcdef01234567"

    private func find(_ name: String, _ environment: [String: String] = [:]) throws -> CheckpointFolder {
        try CheckpointFolder.find(name, searchFolders: [folder["shipped"]]) { environment[$0] }
    }

    @Test func `a folder beside the user is not taken for a checkpoint that ships`() throws {
        folder.write("shipped/scenes/model_index.json", "{}")
        #expect(try CheckpointFolder.shipped("scenes", in: [folder["shipped"]]).path == folder["shipped/scenes"])
        // "/tmp" is a folder that exists, and a name that is none of the shipped ones.
        #expect(failure { _ = try CheckpointFolder.shipped("/tmp", in: [folder["shipped"]]) }?.kind == .missingPath)
        #expect(failure { _ = try CheckpointFolder.shipped("scene", in: [folder["shipped"]]) }?.kind == .missingPath)
    }

    @Test func `a checkpoint is found by path, by name and in the cache of Hugging Face`() throws {
        folder.write("shipped/scenes/model_index.json", "{}")
        #expect(try find("scenes").path == folder["shipped/scenes"])
        #expect(try find(folder["shipped/scenes"]).path == folder["shipped/scenes"])
        let repository = "hub/models--org--some-model"
        folder.write("\(repository)/blobs/aa", #"{"_class_name": "X"}"#)
        folder.write("hub/blobs/bb/cc", file("a"))
        folder.link("\(repository)/blobs/dd", to: "../../blobs/bb/cc")
        folder.write("\(repository)/refs/main", commit + "\n")
        folder.write("\(repository)/refs/refs/pr/1", commit)
        folder.link("\(repository)/snapshots/\(commit)/model_index.json", to: "../../blobs/aa")
        folder.link("\(repository)/snapshots/\(commit)/unet/model.safetensors", to: "../../../blobs/dd")
        let snapshot = folder["\(repository)/snapshots/\(commit)"]
        for environment in [
            ["HF_HUB_CACHE": folder["hub"], "HF_HOME": "/nowhere"], ["HUGGINGFACE_HUB_CACHE": folder["hub"]],
            ["HF_HOME": folder.path],
        ] {
            let found = try find("org/some-model", environment)
            #expect(found.path == snapshot)
            #expect(found.repository == "org/some-model")
            #expect(try found.folder("unet").weights().names == ["a"])
        }
        let environment = ["HF_HUB_CACHE": folder["hub"]]
        #expect(try find("org/some-model@\(commit)", environment).path == snapshot)
        #expect(try find("org/some-model@refs/pr/1", environment).path == snapshot)
        #expect(failure { _ = try find("org/some-model@other", environment) }?.code == "model.revision")
        #expect(failure { _ = try find("org/some-model@../../x", environment) }?.code == "model.missing")
        #expect(failure { _ = try find("org/absent", environment) }?.kind == .missingPath)
        // A snapshot's path, typed as it is, may lead into the blobs as well.
        #expect(try CheckpointFolder(path: snapshot + "/unet").weights().names == ["a"])
    }

    @Test func `the cache below XDG_CACHE_HOME and HOME is found`() throws {
        for (variable, rest) in [("XDG_CACHE_HOME", "huggingface/hub"), ("HOME", ".cache/huggingface/hub")] {
            folder.write("\(rest)/models--org--name/refs/main", commit)
            folder.write("\(rest)/models--org--name/snapshots/\(commit)/config.json", "{}")
            #expect(try find("org/name", [variable: folder.path]).contains("config.json"))
        }
    }

    @Test func `an unfinished snapshot is named`() throws {
        let environment = ["HF_HUB_CACHE": folder["hub"]]
        folder.write("hub/models--org--name/refs/main", commit)
        #expect(failure { _ = try find("org/name", environment) }?.code == "model.incomplete")
        folder.write("hub/models--org--name/snapshots/\(commit)/README.md", "x")
        #expect(failure { _ = try find("org/name", environment) }?.code == "model.incomplete")
        folder.link("hub/models--org--name/snapshots/\(commit)/config.json", to: "../../blobs/absent")
        #expect(failure { _ = try find("org/name", environment) }?.code == "model.incomplete")
        folder.write("hub/models--org--name/refs/main", "../../../etc")
        #expect(failure { _ = try find("org/name", environment) }?.code == "model.revision")
    }

    @Test func `what is not found suggests what is near`() throws {
        folder.write("shipped/scenes-masked/model_index.json", "{}")
        folder.makeFolder("muse-3B")
        #expect(failure { _ = try find("scenes-maskd") }?.message.contains("'scenes-masked'") == true)
        #expect(failure { _ = try find("nothing-like-it") }?.message.contains("scenes-masked") == true)
        #expect(failure { _ = try find(folder["muse-3b"]) }?.message.contains("muse-3B'") == true)
        #expect(failure { _ = try find("org/model") }?.message.contains("hf download org/model") == true)
        for odd in ["", "/", "a/b/c", "\u{0}", "\u{1b}[2J", String(repeating: "x/", count: 5000)] {
            let error = failure { _ = try find(odd) }
            #expect(error != nil)
            #expect(error?.message.unicodeScalars.contains { isDangerous($0) } == false)
        }
    }

    @Test func `a folder that is no checkpoint says why`() throws {
        folder.write("a/b/model_index.json", "{}")
        #expect(failure { _ = try find(folder["a"]) }?.message.contains("a/b'") == true)
        folder.write("single/v1-5.safetensors", [0])
        #expect(failure { _ = try find(folder["single"]) }?.code == "model.layout")
        #expect(failure { _ = try find(folder["single/v1-5.safetensors"]) }?.kind == .notRegularFile)
    }

    // MARK: Configurations

    private enum Activation: String, CaseIterable { case relu, gelu }

    private func configuration(_ text: String) throws -> Configuration {
        try Configuration(try JSON(Array(text.utf8), file: "config.json"), file: "config.json")
    }

    @Test func `fields are read with default and check`() throws {
        let c = try configuration(
            #"{"n": 3, "x": 0.5, "whole": 1, "b": true, "s": "t", "act": "gelu", "l": [1, 2], "none": null, "o": {"n": 4}}"#
        )
        #expect(try c.integer("n", in: 1...8) == 3)
        #expect(try c.integer("m", default: 7, in: 1...8) == 7)
        #expect(try c.integer("none", default: 7, in: 1...8) == 7)
        #expect(try c.integerIfPresent("none", in: 1...8) == nil)
        #expect(try c.number("x") == 0.5)
        #expect(try c.number("whole") == 1)
        #expect(try c.bool("b") == true)
        #expect(try c.bool("none", default: false) == false)
        #expect(try c.string("s") == "t")
        #expect(try c.choice("act", default: Activation.relu) == .gelu)
        #expect(try c.integers("l", count: 1...4, in: 0...9) == [1, 2])
        #expect(try c.section("o")?.integer("n", in: 0...9) == 4)
        #expect(try c.section("p") == nil)
    }

    @Test func `a wrong field is named with what it has`() throws {
        let c = try configuration(
            #"{"n": "3", "x": "y", "big": 1e9, "huge": 99999999999999999999, "l": [1, -1], "act": "tanh"}"#)
        #expect(
            failure { _ = try c.integer("n", in: 1...8) }?.message
                == "'n' is the string '3', not an integer: 'config.json'")
        #expect(failure { _ = try c.integer("big", in: 1...8) }?.code == "model.config")
        #expect(failure { _ = try c.integer("huge", in: 1...8) }?.code == "model.config")
        #expect(failure { _ = try c.integer("absent", in: 1...8) }?.message.contains("missing") == true)
        #expect(failure { _ = try c.number("x") }?.code == "model.config")
        #expect(failure { _ = try c.number("big", in: 0...1) }?.code == "model.config")
        #expect(failure { _ = try c.integers("l", count: 1...4, in: 0...9) }?.code == "model.config")
        #expect(failure { _ = try c.integers("l", count: 3...3, in: -9...9) }?.code == "model.config")
        #expect(
            failure { _ = try c.choice("act", default: Activation.relu) }?.message.contains("'relu', 'gelu'") == true)
        #expect(failure { _ = try configuration("[]") }?.code == "model.config")
    }

    @Test func `a configuration over a megabyte is refused before it is read`() throws {
        folder.write("config.json", [UInt8](repeating: 0x20, count: 1_000_001))
        #expect(failure { _ = try CheckpointFolder(path: folder.path).configuration() }?.code == "input.size")
    }
}
