internal import TTICore

/// What is asked for on the command line.
struct CheckOptions {
    /// What is held against what.
    enum Check: String, CaseIterable {
        /// Results against the reference's, operands and memory around untouched.
        case reference
        /// Entries of a batch against each entry alone, bit for bit.
        case batch
        /// Overrides against the defaults that they replace.
        case fused
        /// A replay against the first time, bit for bit.
        case replay
        /// A result that goes to the place of something else against one that stays, bit for bit.
        case moved
        /// How long each takes on a GPU, in microseconds, its operands in memory; only when it is asked for.
        case time
        /// How long each takes as one of many layers: weights in memory, activations in a cache; only when it is asked for.
        case chain
        /// Whole models: the checkpoints that ship against the same on the CPU, batches against each image alone, replays
        /// against direct work; only when it is asked for.
        case models
        /// What comes of a kernel that reads where nothing is; only when it is asked for, and last: the device is lost then.
        case fault
    }

    struct Failure: Error {
        let text: String
    }

    var backend = "cuda"
    var types: [DType] = [.float32, .bfloat16, .int8]
    var attention = AttentionForm.flash
    var checks: [Check] = [.reference, .batch, .fused, .replay, .moved]
    /// Parts of names of cases; empty for all.
    var filters: [String] = []
    /// Where the checkpoints are that ship.
    var checkpoints = "Checkpoints"
    /// Small images and few steps.
    var isQuick = false
    /// Where a summary goes.
    var json: String?
    /// Compute capabilities that kernels are compiled for, without a device, instead of all checks.
    var compiledCapabilities: [Int] = []
    var isHelp = false

    static let help = """
        tti-check [--backend cpu|cuda] [--dtype f32|bf16|int8]... [--check reference|batch|fused|replay|moved|time|chain|models|fault]...
                  [--filter TEXT]... [--attention flash|eager] [--checkpoints FOLDER] [--quick] [--json FILE]
        tti-check --compile 80,90,100 [--json FILE]

        Holds every operation of a backend against the Double-precision reference: results, batches, fused operations,
        replays, results that move; with --check models, the checkpoints that ship against the same on the CPU (--quick: small images, few
        steps; --filter: by name); with --check fault, a GPU against a kernel that reads where nothing is. --compile compiles every kernel for GPUs of these compute capabilities, which need not be
        there. Exit 1 when something is not as it should be.
        """

    init(_ arguments: [String]) throws(Failure) {
        var rest = arguments[...]
        var (types, checks): ([DType], [Check]) = ([], [])
        func value(_ option: String) throws(Failure) -> String {
            guard let value = rest.popFirst() else { throw Failure(text: "\(option) needs a value") }
            return value
        }
        while let argument = rest.popFirst() {
            switch argument {
            case "--backend": backend = try value(argument)
            case "--dtype":
                let name = try value(argument)
                guard let type = ["f32": DType.float32, "bf16": .bfloat16, "int8": .int8][name] else {
                    throw Failure(text: "--dtype '\(name)' is not one of f32, bf16, int8")
                }
                types.append(type)
            case "--check":
                let name = try value(argument)
                guard let check = Check(rawValue: name) else { throw Failure(text: "--check '\(name)' is not known") }
                checks.append(check)
            case "--attention":
                let name = try value(argument)
                guard let form = AttentionForm(rawValue: name) else {
                    throw Failure(text: "--attention '\(name)' is not flash or eager")
                }
                attention = form
            case "--filter": filters.append(try value(argument))
            case "--checkpoints": checkpoints = try value(argument)
            case "--quick": isQuick = true
            case "--json": json = try value(argument)
            case "--compile":
                let list = try value(argument)
                compiledCapabilities = list.split(separator: ",").compactMap { Int($0) }
                guard !compiledCapabilities.isEmpty, compiledCapabilities.allSatisfy({ $0 >= 80 && $0 < 1000 }) else {
                    throw Failure(text: "--compile '\(list)' is no list such as 80,90,100")
                }
            case "--help": isHelp = true
            default: throw Failure(text: "'\(argument)' is not known")
            }
        }
        guard ["cpu", "cuda"].contains(backend) else {
            throw Failure(text: "--backend '\(backend)' is not cpu or cuda")
        }
        guard backend == "cuda" || !checks.contains(.fault) else {
            throw Failure(text: "--check fault is for a GPU; on a processor it would end the process")
        }
        if !types.isEmpty { self.types = types }
        if !checks.isEmpty { self.checks = checks }
    }
}
