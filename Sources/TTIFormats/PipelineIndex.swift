/// A pipeline's `model_index.json`: which components there are, each in the folder of its name.
package struct PipelineIndex: Sendable {
    package struct Component: Sendable, Hashable {
        /// The folder.
        package let name: String
        /// Where the class is from: "diffusers", "transformers", or a pipeline's own module.
        package let library: String
        package let className: String
    }

    /// The pipeline's class, such as "AmusedPipeline".
    package let className: String
    /// In the order of the file; absent ones (`[null, null]`) are left out.
    package let components: [Component]
    /// Everything that is no component: `_diffusers_version`, `requires_safety_checker` …
    package let settings: JSONObject

    package static let fileName = "model_index.json"

    /// Throws `invalid` when the file is not what a pipeline has, `refused` for a component whose name is a path.
    package init(_ json: JSON, file: String) throws(FormatError) {
        func error(_ what: String) -> FormatError {
            FormatError(.invalid, "model.index", what, at: quoted(file))
        }
        guard let object = json.object else { throw error("the pipeline's index is \(json.kindName), not an object") }
        guard let className = object["_class_name"]?.string else {
            throw error("the pipeline's index has no '_class_name'")
        }
        var components: [Component] = []
        var settings = JSONObject()
        for (key, value) in object {
            guard !key.string.hasPrefix("_"), let pair = value.array, pair.count == 2 else {
                settings.set(key, value)
                continue
            }
            if pair[0].isNull && pair[1].isNull { continue }
            guard let library = pair[0].string, let className = pair[1].string else {
                throw error("the component \(quoted(key.string)) is not described by a library and a class")
            }
            guard isPlainFileName(key.string) else {
                throw FormatError(
                    .refused, "model.path", "the component \(quoted(key.string)) is no plain folder name",
                    at: quoted(file))
            }
            components.append(Component(name: key.string, library: library, className: className))
        }
        self.className = className
        self.components = components
        self.settings = settings
    }

    /// The component of that name; nil when the pipeline has none.
    package subscript(_ name: String) -> Component? { components.first { $0.name == name } }
}

extension CheckpointFolder {
    /// The pipeline's index; nil when this folder is a single component's.
    package func pipelineIndex() throws(FormatError) -> PipelineIndex? {
        guard let json = try jsonIfPresent(PipelineIndex.fileName) else { return nil }
        return try PipelineIndex(json, file: joinPath(path, PipelineIndex.fileName))
    }

    /// Throws `invalid` when this is neither a pipeline nor a component.
    package func checkIsCheckpoint() throws(FormatError) {
        let names = [
            PipelineIndex.fileName, "config.json", "scheduler_config.json", "tokenizer.json", "tokenizer_config.json",
            "spiece.model", "tokenizer.model", "vocab.json",
        ]
        if names.contains(where: contains) { return }
        let contents = folderContents(path)
        var remedy: String?
        if let inner = contents.first(where: {
            FileStatus(path: joinPath(joinPath(path, $0), PipelineIndex.fileName)) != nil
        }) {
            remedy = "perhaps \(quoted(joinPath(path, inner))) was meant"
        } else if let single = contents.first(where: { $0.hasSuffix(".safetensors") || isPickleName($0) }) {
            remedy =
                "a checkpoint of one file must be converted to a diffusers folder first: "
                + singleFileConversion(quoted(joinPath(path, single)))
        } else if let repository {
            remedy = "finish the download with: hf download \(repository)"
        }
        throw FormatError(
            .invalid, "model.layout",
            "the folder is no checkpoint: it has neither 'model_index.json' nor 'config.json'",
            at: quoted(path), try: remedy)
    }
}
