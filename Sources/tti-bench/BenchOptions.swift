internal import TTICPU
internal import TTICore
internal import TTITestSupport

/// What the command line asks for.
struct BenchOptions {
    struct Failure: Error { let text: String }

    static let help = """
        usage: tti-bench [options]

        Measures the operations of the CPU one by one, at shapes that models have.

          --filter TEXT    only cases with TEXT in their name; given more than once, any of the texts
          --all            also the small cases that the tests check
          --isa NAME       portable, avx2, avx512, avx512bf16 or amx (the fastest that this processor has)
          --dtype NAME     weights and cache in f32, bf16 or int8 (bf16)
          --threads N      (the cores that this process may use)
          --seconds X      time for each case (0.5)
          --openblas       our products beside OpenBLAS's, in turns, instead
          --alternatives   Winograd, a partially fused softmax, norms and GELU pass by pass beside ours, in turns, instead
          --list           names only
          --json           an object a line
        """

    var filters: [String] = []
    var isAll = false
    var instructionSet = CPUBackend.InstructionSet.best
    var weightType = DType.bfloat16
    var threads = ThreadPool.defaultThreadCount
    var seconds = 0.5
    var isOpenBLAS = false
    var isAlternatives = false
    var isList = false
    var isJSON = false
    var isHelp = false

    init(_ arguments: [String]) throws(Failure) {
        var rest = arguments[...]
        func value(_ option: String) throws(Failure) -> String {
            guard let value = rest.popFirst() else { throw Failure(text: "\(option) takes a value") }
            return value
        }
        while let argument = rest.popFirst() {
            switch argument {
            case "--filter": filters.append(try value(argument))
            case "--all": isAll = true
            case "--isa":
                let name = try value(argument)
                guard let set = CPUBackend.InstructionSet(rawValue: name) else {
                    throw Failure(text: "--isa is portable, avx2, avx512, avx512bf16 or amx, not '\(name)'")
                }
                guard set.isAvailable else { throw Failure(text: "this processor has no \(name)") }
                instructionSet = set
            case "--dtype":
                let name = try value(argument)
                guard let type = ["f32": DType.float32, "bf16": .bfloat16, "int8": .int8][name] else {
                    throw Failure(text: "--dtype is f32, bf16 or int8, not '\(name)'")
                }
                weightType = type
            case "--threads":
                let text = try value(argument)
                guard let count = Int(text), (1...1024).contains(count) else {
                    throw Failure(text: "--threads is a number from 1 to 1024, not '\(text)'")
                }
                threads = count
            case "--seconds":
                let text = try value(argument)
                guard let number = Double(text), number > 0, number <= 3600 else {
                    throw Failure(text: "--seconds is a number up to 3600, not '\(text)'")
                }
                seconds = number
            case "--openblas": isOpenBLAS = true
            case "--alternatives": isAlternatives = true
            case "--list": isList = true
            case "--json": isJSON = true
            case "--help", "-h": isHelp = true
            default: throw Failure(text: "unknown option '\(argument)'")
            }
        }
    }

    /// The cases asked for.
    var cases: [OpCase] {
        (isAll ? OpCase.all : OpCase.measured).filter { opCase in
            filters.isEmpty || filters.contains { opCase.description.contains($0) }
        }
    }
}
