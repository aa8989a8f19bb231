package import TTIFormats
import TTIGeneration

extension CheckpointSource {
    /// The name or path as a person would give it.
    package func name() throws -> String {
        switch self {
        case .named(let name): return name
        case .demo(let mode): return nameOfShippedCheckpoint(for: mode)
        }
    }

    /// The folder: a path, a checkpoint that ships, or one in the local Hugging Face cache.
    package func folder(variant: String? = nil) throws -> CheckpointFolder {
        let name = try name()
        return try translatingErrors {
            switch self {
            case .named:
                try CheckpointFolder.find(name, variant: variant, searchFolders: shippedCheckpointFolders())
            case .demo:
                try CheckpointFolder.shipped(name, variant: variant, in: shippedCheckpointFolders())
            }
        }
    }

    /// How the checkpoint makes images.
    package func mode(variant: String? = nil) throws(TTIError) -> GenerationMode {
        try translatingErrors { GenerationMode(try PipelineCheckpoint(folder(variant: variant)).kind) }
    }
}
