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
        if let modulation { checkActivations(modulation) }
        let addresses =
            x.device | result.device | modulation.device | parameters.weight.device | parameters.bias.device
        let isWhole = addresses % 16 == 0 && width * activationType.byteCount % 16 == 0
        // Vectors of 16 bytes for each lane of a warp; from 4 on, four warps have a row.
        let vectors = width.dividedUp(by: 32 * lanes)
        let held = isWhole ? [1, 2, 4, 8, 16].first { vectors <= $0 } : nil
        let rowsOfBlock = (held ?? 1) < 4 ? 4 : 1
        launch(
            held.map { "norm_\($0)" } ?? "norm_any", grid: (x.rowCount.dividedUp(by: rowsOfBlock), 1, 1), threads: 128,
            tti_row_norm(
                y: result.device, x: x.device, weight: parameters.weight.device, bias: parameters.bias.device,
                modulation: modulation.device, rows: Int32(x.rowCount),
                rows_of_entry: Int32(modulation.map { rowsOfModulation(x, $0) } ?? max(1, x.rowCount)),
                width: Int32(width), norm: parameters.deviceKind,
                is_settled: modulation.map(isSettled) == true ? 1 : 0, epsilon: parameters.epsilon))
        return result
    }
}
