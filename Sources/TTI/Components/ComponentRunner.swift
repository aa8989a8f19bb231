internal import TTIAccounting
internal import TTICore
package import TTIFormats
internal import TTIModels

/// One forward pass of one network of a checkpoint: what `tti-ar run` does. Names and layouts of tensors are those of the
/// reference's forward signature.
package struct ComponentRunner {
    /// What can be run.
    package static let names = [
        "text_encoder", "text_encoder_2", "transformer", "encoder", "decoder", "vqvae.encode", "vqvae.decode", "unet",
        "vae.encode", "vae.decode",
    ]

    /// How a decoder is run.
    package struct Form: Sendable {
        /// Through the key-value cache, one token a step.
        package var isIncremental = false
        /// With the model's null condition.
        package var isUnconditional = false

        package init() {}
    }

    /// What came out.
    package struct Result: Sendable {
        /// A safetensors file.
        package let file: [UInt8]
        package let shapes: [(name: String, extents: [Int])]
        /// Bytes of weights and of the arena, as counted beforehand.
        package let peakMemory: Int
    }

    typealias Outputs = [(name: String, tensor: HostTensor)]

    /// A network that is on a backend, ready for one pass that reads its results.
    typealias Pass = (any Backend) throws -> Outputs
    /// Makes the network and its pass.
    typealias Preparation = (Weights, any Backend) throws -> Pass

    /// - Parameters:
    ///   - folder: a pipeline's or the component's own.
    /// - Throws: `TTIError`.
    package static func run(
        _ component: String, in folder: CheckpointFolder, input: String, form: Form, device: ChosenDevice,
        precision: Precision
    ) throws(TTIError) -> Result {
        try translatingErrors {
            let network = try folderOfNetwork(component, folder)
            let configuration = try network.configuration()
            let preparation: Preparation =
                switch component {
                case "text_encoder", "text_encoder_2":
                    try textEncoder(
                        configuration, className: folder.pipelineIndex()?[component]?.className, input)
                case "transformer": try maskedTransformer(configuration, input)
                case "encoder": try partiEncoder(configuration, input)
                case "decoder": try partiDecoder(configuration, input, form)
                case "vqvae.encode": try vqganEncoder(configuration, input)
                case "vqvae.decode": try vqganDecoder(configuration, input)
                case "unet": try unet(configuration, input)
                case "vae.encode": try autoencoderEncoder(configuration, input)
                default: try autoencoderDecoder(configuration, input)
                }
            // For comparison: float32 everywhere unless told otherwise.
            let weightType = device.weightType(precision == .automatic ? .float32 : precision, onCPU: .float32)
            // What it takes is counted first, from shapes alone.
            let counter = AccountingBackend(device.types(weightType))
            _ = try preparation(.shapesOnly(dtype: .float32), counter)(counter)
            try MemoryNeed(weights: counter.preparedByteCount, work: counter.arena.peak).check(on: device)
            let backend = try makeBackend(device, weightType)
            let pass = try preparation(.checkpoint(network.weights()), backend)
            try backend.reserve(arenaBytes: counter.arena.peak)
            let outputs = try pass(backend)
            try backend.synchronize()
            for (name, tensor) in outputs where tensor.dtype == .float32 && !tensor.floats().allSatisfy(\.isFinite) {
                throw TTIError(
                    .notANumber, "numerics.not-finite",
                    "the output '\(name)' has numbers that are not finite; try --dtype f32")
            }
            return Result(
                file: SafetensorsWriter.bytes(outputs), shapes: outputs.map { ($0.name, $0.tensor.shape.array) },
                peakMemory: counter.preparedByteCount + counter.arena.peak)
        }
    }

    /// The folder of the component's weights.
    private static func folderOfNetwork(_ component: String, _ folder: CheckpointFolder) throws -> CheckpointFolder {
        guard try folder.pipelineIndex() != nil else { return folder }
        let name =
            switch component {
            case "encoder", "decoder": "transformer"
            case "vqvae.encode", "vqvae.decode": "vqvae"
            case "vae.encode", "vae.decode": "vae"
            default: component
            }
        guard folder.contains(name) else {
            throw TTIError(
                .usage, "usage.component",
                "this checkpoint has no \(component): \(quoted(folder.path)); 'tti-ar inspect' lists what it has")
        }
        return try folder.folder(name)
    }

    /// Throws when the configuration is another network's.
    static func check(_ configuration: Configuration, is wanted: String, _ names: [String]) throws(TTIError) {
        let found = configuration.json["_class_name"]?.string ?? configuration.json["model_type"]?.string
        guard let found, !names.contains(found) else { return }
        throw TTIError(
            .usage, "usage.component", "this is no \(wanted) but \(quoted(found, limit: 60)): \(configuration.place)")
    }

    /// A pass over the network's own arena; the results that it reads are the host's.
    static func outputs(_ b: any Backend, _ tensors: [(String, Tensor)]) throws -> Outputs {
        try tensors.map { name, tensor in
            (name, HostTensor(try b.read(tensor), tensor.shape))
        }
    }
}
