// Feeds damaged input to the readers, in this process: whatever it is, they must give a value or a typed error.
//
//     tti-fuzz [--seconds N] [--seed S] [json|safetensors|index|png|tokenizer|all]
//
// A name stands for all targets that begin with it: `tokenizer` for `tokenizer-document`, `tokenizer-merges` …
//
// A crash ends the process; the input that did it is in the file that was announced, and `--seed` runs the same inputs
// again. `--input FILE` gives a reader exactly one file.

var seconds = 10.0
var seed = UInt64.random(in: 0...UInt64.max)
var chosen = "all"
var input: String?
var arguments = CommandLine.arguments.dropFirst()

while let argument = arguments.popFirst() {
    switch argument {
    case "--seconds":
        guard let value = arguments.popFirst().flatMap(Double.init), value > 0 else {
            usage("--seconds needs a number")
        }
        seconds = value
    case "--seed":
        guard let value = arguments.popFirst().flatMap(UInt64.init) else { usage("--seed needs a number") }
        seed = value
    case "--input":
        guard let value = arguments.popFirst() else { usage("--input needs a file") }
        input = value
    case "--help", "-h": usage(nil)
    default:
        guard argument == "all" || fuzzTargets.contains(where: { isNamed($0, argument) }) else {
            usage("unknown target '\(argument)'")
        }
        chosen = argument
    }
}

func isNamed(_ target: FuzzTarget, _ name: String) -> Bool { target.name == name || target.name.hasPrefix(name + "-") }

let targets = fuzzTargets.filter { chosen == "all" || isNamed($0, chosen) }
if let input {
    runOnce(input, targets)
} else {
    for target in targets { fuzz(target, seconds: seconds / Double(targets.count), seed: seed) }
}
