import Glibc
import TTIFormats

/// The CUDA driver and compiler that run kernels on the processor (Tests/CUDAOnCPU), built once for all tests.
enum CUDAOnCPU {
    /// The folder of the two libraries; nil where they cannot be built: no clang++.
    static let libraries: String? = {
        let named = getenv("TTI_CUDA_ON_CPU").map { String(cString: $0) } ?? ""
        if !named.isEmpty { return named }
        let script = CommandProcess.repository + "/Tests/CUDAOnCPU/build"
        guard FileStatus(path: script) != nil, let compiler else { return nil }
        let folder = scratch.path + "/libraries"
        let outcome = CommandProcess.run(
            program: script, [folder], in: scratch.path, environment: ["PATH": path, "CXX": compiler])
        precondition(outcome.status == 0, "\(outcome)")
        return folder
    }()

    /// Lives as long as the tests.
    private static nonisolated(unsafe) let scratch = Workplace()
    private static let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"

    /// clang++, by its path.
    private static let compiler: String? = path.split(separator: ":").lazy.map { "\($0)/clang++" }
        .first { access($0, X_OK) == 0 }

    /// The environment of a process that finds them.
    /// - Parameter cache: where compiled kernels are kept; nil: a folder that all tests share.
    static func environment(cache: String? = nil, _ more: [String: String] = [:]) -> [String: String] {
        var variables = [
            "PATH": path, "TTI_CUDA_PATH": libraries ?? "/nowhere",
            "TTI_CUDA_CACHE": cache ?? scratch.path + "/kernels",
        ]
        if let compiler { variables["TTI_CUDA_ON_CPU_CXX"] = compiler }
        return variables.merging(more) { $1 }
    }
}
