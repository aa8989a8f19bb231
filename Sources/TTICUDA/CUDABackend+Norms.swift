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
        let (kernel, rowsOfBlock) = rowKernel(width: width, isWhole: addresses % 16 == 0, vectors: [1, 2, 4, 8, 16])
        // A product with a matrix of int8 may come next.
        let integers =
            weightType == .int8 && kernel != "any" && !isDecoding(x)
            ? placeForIntegers(rows: x.rowCount, width: width) : nil
        launch(
            "norm_\(kernel)", grid: (x.rowCount.dividedUp(by: rowsOfBlock), 1, 1), threads: 128,
            tti_row_norm(
                y: result.device, x: x.device, weight: parameters.weight.device, bias: parameters.bias.device,
                modulation: modulation.device, integers: integers?.rows ?? 0, scales: integers?.scales ?? 0,
                rows: Int32(x.rowCount),
                rows_of_entry: Int32(modulation.map { rowsOfModulation(x, $0) } ?? max(1, x.rowCount)),
                width: Int32(width), stride: Int32(rowStride(width)), norm: parameters.deviceKind,
                is_settled: modulation.map(isSettled) == true ? 1 : 0, epsilon: parameters.epsilon))
        latestIntegers = integers.map {
            IntegersOfNorm(result: result, integers: $0, turn: device.turn)
        }
        return result
    }
}
