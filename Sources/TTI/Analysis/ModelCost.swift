internal import TTIAccounting
package import TTICore
internal import TTIModels

/// What a model costs, from its shapes alone.
package struct ModelCost: Sendable {
    package let name: String
    /// What was counted, and where its sizes are from.
    package let source: String
    /// Numbers in all weights that were counted.
    package let parameters: Int
    package let stages: [StageCost]

    package var flops: Int { stages.reduce(0) { $0 + $1.flops } }
    package var operandBytes: Int { stages.reduce(0) { $0 + $1.operandBytes } }
    /// FLOP of an image for each byte of weights, however often they are read (Golden et al. 2024).
    package func intensityByCapacity(_ precision: Precision) -> Double {
        Double(flops) / Double(parameters * (precision == .float32 ? 4 : 2))
    }
}

/// How a model is looked at.
package struct ModelSizes: Sendable, Hashable {
    /// Pixels of the finished image's side; nil: what the model is made for.
    package var side: Int?
    /// Of a video; nil: what the model is made for.
    package var frames: Int?
    package var images = 1
    /// Tokens of a language model's prompt, and as many that it writes.
    package var tokens: Int?
    /// Steps of the first loop; nil: what the paper uses.
    package var steps: Int?
    package var precision = Precision.bfloat16
    package var attention = AttentionForm.flash

    package init() {}

    /// Bytes of an activation and of a weight.
    var elementBytes: Int { precision == .float32 ? 4 : 2 }
    private var type: DType { precision == .float32 ? .float32 : .bfloat16 }
    var preset: PresetStage.Sizes { PresetStage.Sizes(side: side, images: images, steps: steps) }

    /// A backend that counts as a device in this precision would.
    var counter: AccountingBackend {
        AccountingBackend(weightType: type, cacheType: type, activationType: type)
    }
}

extension ModelCost {
    /// The suite of "Generative AI Beyond LLMs", in its order.
    package static let suite = [
        "llama2", "imagen", "stable-diffusion", "muse", "parti", "production", "make-a-video", "phenaki",
    ]

    /// - Parameter name: of the suite, or a preset of `bench`.
    package init(_ name: String, _ sizes: ModelSizes) throws(TTIError) {
        self = try translatingErrors {
            let counted: ModelCost =
                switch name {
                case "llama2": SuiteModels.llama2(sizes)
                case "imagen": try SuiteModels.imagen(sizes)
                case "stable-diffusion": try ModelCost(name, SuiteModels.sources[name] ?? "", preset: "sd15", sizes)
                case "muse": try SuiteModels.muse(sizes)
                case "parti": try SuiteModels.parti(sizes)
                case "production": try ModelCost(name, SuiteModels.sources[name] ?? "", preset: "sdxl", sizes)
                case "make-a-video": try SuiteModels.makeAVideo(sizes)
                case "phenaki": try SuiteModels.phenaki(sizes)
                default: try ModelCost(name, "the published configuration", preset: name, sizes)
                }
            return sizes.attention == .eager ? counted.eager(elementBytes: sizes.elementBytes) : counted
        }
    }

    /// A shape of `bench`, run on a backend that counts.
    init(_ name: String, _ source: String, preset: String, _ sizes: ModelSizes) throws {
        var (stages, counts): ([StageCost], [Int]) = ([], [])
        for stage in try PresetStage.stages(preset: preset, sizes.preset) {
            let counter = sizes.counter
            stages.append(try stage.cost(on: counter).cost)
            counts.append(counter.preparedParameterCount)
        }
        // Text and steps are of one network, which the first of them holds whole.
        let parameters = counts.count == 3 ? max(counts[0], counts[1]) + counts[2] : counts.max() ?? 0
        self.init(name: name, source: source, parameters: parameters, stages: stages)
    }

    /// The same with all scores written and read again: after the product, by the softmax twice, by the second product. The
    /// arithmetic stays.
    private func eager(elementBytes: Int) -> ModelCost {
        ModelCost(
            name: name, source: source, parameters: parameters,
            stages: stages.map { stage in
                stage.mapped { operation in
                    guard let shape = operation.attention else { return [operation] }
                    let bytes = shape.scoreCount * elementBytes
                    func part(_ name: String, _ flops: Int, read: Int, written: Int, _ shape: AttentionShape?)
                        -> OperationRecord
                    {
                        OperationRecord(
                            name: name, kind: operation.kind, shapes: operation.shapes, flops: flops, bytesRead: read,
                            bytesWritten: written, attention: shape)
                    }
                    let width = shape.heads * shape.headWidth
                    let (query, keys) = (shape.rows * shape.queries * width, shape.rows * shape.keys * width)
                    let products = 2 * shape.scoreCount * shape.headWidth
                    return [
                        part("attentionScores", products, read: (query + keys) * elementBytes, written: bytes, shape),
                        part("attentionSoftmax", 4 * shape.scoreCount, read: bytes, written: bytes, nil),
                        part(
                            "attentionMix", products, read: bytes + keys * elementBytes, written: query * elementBytes,
                            nil),
                    ]
                }
            })
    }
}
