internal import TTICUDA
internal import TTICore

/// Compiles every kernel for GPUs that need not be there.
struct CompilationChecks {
    let options: CheckOptions
    let report: CheckReport

    func run() {
        for capability in options.compiledCapabilities {
            for activations in [DType.float32, .bfloat16] {
                var (failures, count): ([String], Int) = ([], 1)
                do {
                    let compiled = try KernelCompilation.run(capability: capability, activations: activations)
                    count = compiled.files
                    print("sm_\(capability) \(activations): \(compiled.files) files, \(compiled.bytes >> 10) KiB")
                } catch { failures = ["\(error)"] }
                report.add(
                    "compilation for sm_\(capability)", activations, count: count, failures: failures, unit: "files")
            }
        }
    }
}
