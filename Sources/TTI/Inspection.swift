internal import TTIAccounting
internal import TTICore
package import TTIFormats
internal import TTIGeneration
internal import TTIModels
internal import TTIText

/// What a checkpoint holds, and everything that is wrong with it.
package struct Inspection: Sendable {
    /// One folder of a pipeline.
    package struct Component: Sendable {
        package let name: String
        package var className: String
        /// Numbers in all tensors.
        package var parameters = 0
        /// Tensors by their element type as the files call it.
        package var tensorsOfType: [(dtype: String, count: Int)] = []
        package var bytes = 0
        package var files: [String] = []
        /// Tensors that no part of the network reads.
        package var unread: [String] = []
        /// What else there is to say: "673 ids".
        package var remarks: [String] = []
        package var problems: [TTIError] = []
    }

    package let path: String
    /// The pipeline's class; nil for a single component.
    package private(set) var className: String?
    package private(set) var components: [Component] = []
    /// What is wrong with the whole.
    package private(set) var problems: [TTIError] = []

    /// Everything that is wrong, that of the components included.
    package var allProblems: [TTIError] {
        let ofComponents = components.flatMap(\.problems)
        // What the pipeline says of a component, the component has said already.
        return ofComponents + problems.filter { problem in !ofComponents.contains { $0.message == problem.message } }
    }

    /// - Parameter isVerifying: whether every number of the weights is looked at.
    package init(_ folder: CheckpointFolder, isVerifying: Bool) {
        path = folder.path
        do throws(TTIError) {
            try translatingErrors {
                guard let index = try folder.pipelineIndex() else {
                    let name = fileName(folder.path)
                    components = [Inspection.component(name, nil, isVerifying) { () throws(FormatError) in folder }]
                    return
                }
                className = index.className
                components = index.components.map { component in
                    Inspection.component(component.name, component.className, isVerifying) { () throws(FormatError) in
                        try folder.folder(component.name)
                    }
                }
                _ = try PipelineCheckpoint(folder)
            }
        } catch { problems.append(error) }
    }

    private static func component(
        _ name: String, _ className: String?, _ isVerifying: Bool, _ open: () throws(FormatError) -> CheckpointFolder
    ) -> Component {
        var component = Component(name: name, className: className ?? "")
        do throws(TTIError) {
            try translatingErrors {
                let folder = try open()
                if name.hasPrefix("tokenizer") || (className == nil && folder.contains("tokenizer_config.json")) {
                    let tokenizer = try loadTokenizer(folder)
                    component.remarks.append("\(tokenizer.vocabularySize) ids")
                    return
                }
                if name == "scheduler" {
                    _ = try folder.schedulerConfiguration()
                    return
                }
                if !folder.contains("config.json"), !folder.contains("model.safetensors"),
                    !folder.contains("diffusion_pytorch_model.safetensors"), className != nil,
                    !["text_encoder", "transformer", "vqvae", "unet", "vae"].contains(where: name.hasPrefix)
                {
                    return
                }
                let configuration = try folder.configuration()
                if component.className.isEmpty { component.className = Inspection.className(configuration) }
                let files = try folder.weights()
                component.count(files)
                try component.readNetwork(configuration, files)
                if isVerifying { try component.verify(files) }
            }
        } catch { component.problems.append(error) }
        return component
    }

    private static func className(_ configuration: Configuration) -> String {
        let json = configuration.json
        return json["_class_name"]?.string ?? json["architectures"]?.array?.first?.string ?? json["model_type"]?.string
            ?? "?"
    }
}

extension Inspection.Component {
    /// Counts tensors and bytes.
    fileprivate mutating func count(_ files: TensorFiles) {
        self.files = files.files.map { fileName($0.path ?? $0.name) }
        bytes = files.byteCount
        var counts: [String: Int] = [:]
        for name in files.names {
            guard let entry = files.entry(name) else { continue }
            counts[entry.dtypeName, default: 0] += 1
            parameters += CheckedSize.product(entry.extents) ?? 0
        }
        tensorsOfType = counts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Builds the network on a backend that only counts: every tensor is asked for by name and shape.
    fileprivate mutating func readNetwork(_ configuration: Configuration, _ files: TensorFiles) throws {
        let weights = Weights.checkpoint(files)
        let counter = AccountingBackend(weightType: .float32, cacheType: .float32)
        do {
            switch className {
            case "CLIPTextModel", "CLIPTextModelWithProjection":
                _ = try CLIPTextModel(weights, CLIPTextConfiguration(configuration, className: className), on: counter)
                weights.ignore(CLIPTextModel.ignores)
            case "UVit2DModel":
                _ = try UVit2D(weights, UVit2DConfiguration(configuration), on: counter)
                weights.ignore(UVit2D.ignores)
            case "PartiForImageGeneration", "parti":
                _ = try Parti(weights, PartiConfiguration(configuration), on: counter)
                weights.ignore(Parti.ignores)
            case "UNet2DConditionModel":
                _ = try UNet(weights, UNetConfiguration(configuration), on: counter)
                weights.ignore(UNet.ignores)
            case "AutoencoderKL":
                _ = try AutoencoderKL(weights, AutoencoderKLConfiguration(configuration), on: counter)
                weights.ignore(AutoencoderKL.ignores)
            case "VQModel":
                _ = try VQGAN(weights, VQGANConfiguration(configuration), on: counter)
                weights.ignore(VQGAN.ignores)
            default:
                remarks.append("a network that tti-ar does not know yet; only its files were checked")
                return
            }
        } catch let error as ModelError {
            switch error {
            case .checkpoint(let error): throw error
            case .device(let error): throw error
            }
        }
        unread = weights.unread
        if let first = unread.first {
            problems.append(
                TTIError(
                    .invalidCheckpoint, "model.unread",
                    "\(unread.count) tensors belong to no part of the network, the first is \(quoted(first)): \(quoted(name)); check that "
                        + "the configuration belongs to these weights"))
        }
    }

    /// Looks at every number; one that is not finite is wrong, a tensor of equal numbers is worth a remark.
    fileprivate mutating func verify(_ files: TensorFiles) throws {
        var constantCount = 0
        for name in files.names {
            guard let tensor = try files.tensor(name), tensor.dtype.isFloatingPoint, tensor.elementCount > 0 else {
                continue
            }
            let values = tensor.floats()
            let badCount = values.count { !$0.isFinite }
            if badCount > 0 {
                problems.append(
                    TTIError(
                        .invalidCheckpoint, "model.not-finite",
                        "\(badCount) numbers of the tensor \(quoted(name)) are not finite: \(quoted(files.fileName(of: name)))"
                    ))
            }
            if values.count > 1, tensor.shape.rank > 1, values.allSatisfy({ $0 == values[0] }) { constantCount += 1 }
        }
        remarks.append("all numbers looked at")
        if constantCount > 0 { remarks.append("\(constantCount) matrices of one repeated number") }
    }
}
