internal import Glibc
internal import TTICore
package import TTIFormats

/// A file of make_diffusion_fixtures.py: what diffusers makes of a tiny checkpoint, and what the checkpoint consists of.
package struct DiffusionFixture {
    package let fixture: Fixture
    /// What was asked for, one object for each `latents.N` and `sample.N`.
    package let cases: [JSON]

    /// - Parameter name: "sd15", "sd21" or "sdxl".
    package init(_ name: String) throws {
        fixture = try Fixture("generation/diffusion-\(name)")
        cases = try DiffusionFixture.json("cases", fixture).array ?? []
    }

    private static func json(_ key: String, _ fixture: Fixture) throws -> JSON {
        guard let text = fixture.metadata(key) else { throw Fixture.Missing(description: "no '\(key)'") }
        return try JSON(Array(text.utf8), file: key)
    }

    package var prompt: String { fixture.metadata("prompt") ?? "" }

    /// `[1, channels, height, width]` as `[height, width, channels]`.
    package func channelsLast(_ name: String) throws -> [Double] {
        let tensor = try fixture.tensor(name)
        let values = tensor.doubles()
        let (channels, pixels) = (tensor.shape[1], tensor.shape[2] * tensor.shape[3])
        return (0..<values.count).map { values[$0 % channels * pixels + $0 / channels] }
    }

    /// Writes the checkpoint: weights that the formula gives, as float32, and the tokenizer of a checkpoint that ships.
    /// - Parameter path: a folder that is not there yet.
    package func writeCheckpoint(to path: String) throws {
        unsafe mkdir(path, 0o755)
        let configurations = try DiffusionFixture.json("configurations", fixture)
        let shapes = try DiffusionFixture.json("shapes", fixture)
        var index = JSONObject()
        index.set("_class_name", JSON(fixture.metadata("class") ?? ""))
        index.set("safety_checker", .list([.null, .null]))
        for (key, name) in try DiffusionFixture.json("classes", fixture).object ?? JSONObject() {
            let component = key.string
            let folder = path + "/" + component
            unsafe mkdir(folder, 0o755)
            let isText = component.hasPrefix("text")
            index.set(key, [isText ? "transformers" : "diffusers", name])
            write(configurations[component]?.bytes() ?? [], folder + "/config.json")
            var shapeFromName: [String: Shape] = [:]
            for (name, extents) in shapes[component]?.object ?? JSONObject() {
                shapeFromName[name.string] = Shape((extents.array ?? []).compactMap(\.integer))
            }
            let tensors = ClosedFormWeights.tensors(shapeFromName).sorted { $0.key < $1.key }.map {
                (name: $0.key, tensor: ClosedFormWeights.calm($0.value))
            }
            write(
                SafetensorsWriter.bytes(tensors),
                folder + (isText ? "/model.safetensors" : "/diffusion_pytorch_model.safetensors"))
            if isText { try copyTokenizer(component == "text_encoder" ? "tokenizer" : "tokenizer_2", path, &index) }
        }
        unsafe mkdir(path + "/scheduler", 0o755)
        let scheduler = try DiffusionFixture.json("scheduler", fixture)
        index.set("scheduler", ["diffusers", scheduler["_class_name"] ?? .null])
        write(scheduler.bytes(), path + "/scheduler/scheduler_config.json")
        write(JSON.members(index).bytes(), path + "/model_index.json")
    }

    private func copyTokenizer(_ name: String, _ path: String, _ index: inout JSONObject) throws {
        unsafe mkdir(path + "/" + name, 0o755)
        let source = Fixture.path("../../Checkpoints/scenes-masked/tokenizer")
        for file in folderContents(source) {
            write(try readFile(source + "/" + file, limit: 1 << 24), path + "/" + name + "/" + file)
        }
        index.set(ByteString(name), ["transformers", "CLIPTokenizer"])
    }

    private func write(_ bytes: [UInt8], _ path: String) {
        guard let file = unsafe fopen(path, "w") else { preconditionFailure("cannot write \(path)") }
        unsafe fwrite(bytes, 1, bytes.count, file)
        unsafe fclose(file)
    }
}

/// A folder that is gone with the last reference to it.
package final class ScratchFolder {
    package let path: String

    package init() {
        path = "/tmp/tti-ar-diffusion-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        unsafe mkdir(path, 0o755)
    }

    deinit { ScratchFolder.remove(path) }

    private static func remove(_ path: String) {
        guard FileStatus(path: path, followsLinks: false)?.kind == .folder else {
            unsafe unlink(path)
            return
        }
        for name in folderContents(path) { remove(path + "/" + name) }
        unsafe rmdir(path)
    }
}
