internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func norm(_ x: Tensor, _ parameters: NormParameters) -> Tensor { norm(x, parameters, modulation: nil) }

    package func normModulate(_ x: Tensor, _ norm: NormParameters, _ modulation: Tensor) -> Tensor {
        self.norm(x, norm, modulation: modulation)
    }

    private func norm(_ x: Tensor, _ parameters: NormParameters, modulation: Tensor?) -> Tensor {
        checkActivations(x)
        let width = x.shape.last
        let result = allocate(x.shape, activationType)
        var isWhole = (x.address | result.address | UInt(width * activationType.byteCount)) % 16 == 0
        if let modulation {
            checkActivations(modulation)
            isWhole = isWhole && modulation.address % 16 == 0
        }
        let vectors = (width + 32 * lanes - 1) / (32 * lanes)
        let held = isWhole ? [1, 2, 4, 8].first { vectors <= $0 } : nil
        launch(
            held.map { "norm_\($0)" } ?? "norm_any", grid: ((x.rowCount + 3) / 4, 1, 1), threads: 128,
            tti_row_norm(
                y: result.device, x: x.device, weight: parameters.weight.device, bias: parameters.bias.device,
                modulation: modulation.device, rows: Int64(x.rowCount),
                rows_of_entry: Int64(modulation.map { rowsOfModulation(x, $0) } ?? max(1, x.rowCount)),
                width: Int32(width), norm: parameters.deviceKind, epsilon: parameters.epsilon))
        return result
    }
}
