internal import TTICPU
internal import TTICUDA
internal import TTICore

extension CheckOptions {
    /// The backend that is checked.
    func makeBackend(_ type: DType) throws -> any Backend {
        if backend == "cpu" {
            let processor = CPUBackend(weightType: type, threads: 2)
            processor.attentionForm = attention
            return processor
        }
        let device = try CUDABackend(weightType: type)
        device.attentionForm = attention
        return device
    }

    /// What it runs on.
    func deviceName() throws -> String { backend == "cpu" ? "cpu" : try CUDAReport.device(ordinal: 0).name }
}
