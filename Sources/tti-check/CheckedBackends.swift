internal import TTICPU
internal import TTICUDA
internal import TTICore

extension CheckOptions {
    /// The backend that is checked.
    func makeBackend(_ type: DType) throws -> any Backend {
        backend == "cpu" ? CPUBackend(weightType: type, threads: 2) : try CUDABackend(weightType: type)
    }

    /// What it runs on.
    func deviceName() throws -> String { backend == "cpu" ? "cpu" : try CUDAReport.device(ordinal: 0).name }
}
