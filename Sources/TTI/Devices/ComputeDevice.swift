internal import TTICore

/// Where the work is done.
public enum ComputeDevice: Sendable, Hashable {
    /// The first GPU when it can be used, else the CPU; decided when something is loaded, never later.
    case automatic
    /// The CPU; nil: every core that this process may use.
    case cpu(threads: Int? = nil)
    /// A GPU by its number, through CUDA.
    case cuda(ordinal: Int = 0)
}

/// How weights are held and multiplied. Sums, norms, softmax and sampling are float32 always.
public enum Precision: String, Sendable, CaseIterable {
    /// The fastest that the tests hold to their tolerances: bf16 on a GPU; on a CPU bf16 where decoding is bound by the bytes
    /// of the weights (autoregressive), f32 elsewhere.
    case automatic = "auto"
    /// 32-bit floating point.
    case float32 = "f32"
    /// The upper half of it. On a GPU what lies between the operations is bf16 then too.
    case bfloat16 = "bf16"
    /// 8-bit integers in matrices, each output's weights and each row of activations with a scale of its own; tables, keys
    /// and values in bf16, and so are convolutions but on a processor with AMX.
    case int8

    /// Of a backend's matrices.
    init(_ weightType: DType) {
        switch weightType {
        case .bfloat16: self = .bfloat16
        case .int8: self = .int8
        default: self = .float32
        }
    }
}

/// Which checkpoint to load.
public enum CheckpointSource: Sendable, Hashable {
    /// One that ships, by what it does.
    case demo(GenerationMode)
    /// A folder, the name of a checkpoint that ships, or `org/name` in the local Hugging Face cache.
    case named(String)
}
