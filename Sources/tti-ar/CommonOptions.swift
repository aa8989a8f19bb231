internal import TTI
internal import TTICore
internal import TTIFormats

/// A command of the program.
protocol Command: SendableMetatype {
    static var syntax: CommandSyntax { get }
    static func run(_ arguments: Arguments) throws
}

/// Options that more than one command has.
enum CommonOptions {
    static let help = Option("-h, --help", nil, "Print this and end.")
    static let json = Option(
        "--json", nil, "One JSON object on standard output, one per line where there are several results.")
    static let quiet = Option("-q, --quiet", nil, "No progress on standard error.")
    static let backend = Option(
        "--backend", "auto|cpu|cuda|cuda:N",
        "Where the work is done. auto: the first GPU when it can be used, else the CPU.")
    static let dtype = Option(
        "--dtype", "auto|f32|bf16|int8",
        "How weights are held and multiplied. auto: bf16 on a GPU; on a CPU bf16 for autoregressive decoding, f32 for the rest. int8: matrices, and with AMX convolutions; the rest in bf16."
    )
    static let attention = Option(
        "--attention", "flash|eager",
        "flash: in one pass (the default). eager: with all scores in memory, to see what flash saves.")
    static let threads = Option("-t, --threads", "N", "CPU threads (the cores that this process may use).")
    static let checkpoint = Option(
        "-m, --checkpoint, --model", "DIR|NAME",
        "A folder in Hugging Face or diffusers layout, the name of a checkpoint that ships, or org/name in the local Hugging Face cache."
    )
    static let variant = Option(
        "--variant", "fp16", "Take this variant of weight files where a folder has several (the plain one).")
}

extension OptionValues {
    /// Which device the options ask for.
    func device() throws(TTIError) -> ComputeDevice {
        let threads = try integer("threads", in: 1...4096)
        let name = self["backend"] ?? "auto"
        switch name {
        case "auto":
            guard let threads, try ChosenDevice(.automatic).isCPU else { return .automatic }
            return .cpu(threads: threads)
        case "cpu": return .cpu(threads: threads)
        default:
            let number = name.hasPrefix("cuda:") ? name.dropFirst(5) : "0"
            guard name == "cuda" || name.hasPrefix("cuda:"), let ordinal = Int(number), ordinal >= 0 else {
                throw fault("backend", name, "is none of auto, cpu, cuda, cuda:N")
            }
            return .cuda(ordinal: ordinal)
        }
    }

    /// The device that the options ask for, found on this machine; says why a GPU that is there was not taken.
    func chosenDevice() throws(TTIError) -> ChosenDevice {
        let chosen = try ChosenDevice(device())
        if let refusal = chosen.refusal, !isOn("quiet") {
            Diagnostics.warning("the CPU is used: \(refusal)")
        }
        return chosen
    }

    /// How attention is computed.
    func attention() throws(TTIError) -> AttentionForm { try choice("attention", AttentionForm.self) ?? .flash }

    /// How the options ask for weights to be held.
    func precision() throws(TTIError) -> Precision {
        return try choice("dtype", Precision.self) ?? .automatic
    }
}
