package import TTICore

extension ReferenceBackend {
    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        let tokens = tokensOfEntry(x)
        let source =
            weightType == .int8 && (roundsRows || tokens > 1)
            ? int8Rounded(x.doubles(), width: weight.inputs) : factors(x, tokens: tokens)
        return multiply(source, x.shape, weight, bias: bias, activation: activation, adding: residual)
    }

    package func normLinear(
        _ x: Tensor, _ norm: NormParameters, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation
    ) -> Tensor {
        roundsRows || tokensOfEntry(x) > 1
            ? linear(self.norm(x, norm), weight, bias: bias, activation: activation, adding: nil)
            : multiply(normalised(x, norm), x.shape, weight, bias: bias, activation: activation, adding: nil)
    }

    private func tokensOfEntry(_ x: Tensor) -> Int { x.shape.rank < 3 ? 1 : x.rowCount / x.shape[0] }

    private func multiply(
        _ source: [Double], _ shapeOfX: Shape, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation,
        adding residual: Tensor?
    ) -> Tensor {
        guard let matrix = weight.form as? ReferenceWeights else { preconditionFailure("a matrix of another backend") }
        let (inputs, outputs) = (weight.inputs, weight.outputs)
        let shape = shapeOfX.replacingLast(outputs)
        precondition(shapeOfX.last == inputs, "\(shapeOfX) times [\(outputs), \(inputs)]")
        checkEnd(bias: bias, residual: residual, outputs: outputs, shape)
        var values = [Double](repeating: 0, count: shape.elementCount)
        for row in 0..<shape.elementCount / max(outputs, 1) {
            for output in 0..<outputs {
                values[row * outputs + output] = dot(source, row * inputs, matrix.values, output * inputs, inputs)
            }
        }
        finish(&values, bias: bias, activation: activation, residual: residual)
        return result(values, shape)
    }

    package func embed(_ ids: Tensor, _ table: Tensor) -> Tensor {
        precondition(table.shape.rank == 2, "a table of \(table.shape)")
        let (rows, width) = (table.shape[0], table.shape[1])
        var values: [Double] = []
        for id in ids.integers() {
            precondition(id >= 0 && id < rows, "id \(id) of a table of \(table.shape)")
            values += table.doubles(id * width..<(id + 1) * width)
        }
        return result(values, Shape(ids.shape.array + [width]))
    }

    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        guard let kernel = weight.form as? ReferenceWeights else { preconditionFailure("a kernel of another backend") }
        precondition(x.shape.rank == 4 && x.shape.last == weight.inputs, "\(x.shape) with \(weight.inputs) inputs")
        let (batch, height, width) = (x.shape[0], x.shape[1], x.shape[2])
        let (inputs, outputs) = (weight.inputs, weight.outputs)
        let size = geometry.outputSize(
            height: height, width: width, kernelHeight: weight.kernelHeight, kernelWidth: weight.kernelWidth)
        let shape: Shape = [batch, size.height, size.width, outputs]
        checkEnd(bias: bias, residual: residual, outputs: outputs, shape)
        let isInteger = kernelType(outputs: outputs, inputs: inputs) == .int8
        let isUpsampled = geometry.upsampling == 2 && geometry.stride == 1
        if isUpsampled && (isInteger || roundsProducts && size.height * size.width >= 16) {
            return convolveUpsampledRounded(
                x, weight, kernel, shape, bias: bias, geometry, activation: activation, adding: residual)
        }
        // All of an image has one unit, but where pixels are rows of a matrix.
        let isMatrix = weight.kernelHeight * weight.kernelWidth == 1 && geometry == ConvolutionGeometry()
        let source =
            isInteger
            ? int8Rounded(x.doubles(), width: isMatrix ? inputs : height * width * inputs)
            : factors(x, tokens: size.height * size.width)
        var values = [Double](repeating: 0, count: shape.elementCount)
        for entry in 0..<batch {
            for row in 0..<size.height {
                for column in 0..<size.width {
                    let target = ((entry * size.height + row) * size.width + column) * outputs
                    for tapRow in 0..<weight.kernelHeight {
                        let y = row * geometry.stride - geometry.top + tapRow
                        if y < 0 || y >= height * geometry.upsampling { continue }
                        for tapColumn in 0..<weight.kernelWidth {
                            let x = column * geometry.stride - geometry.left + tapColumn
                            if x < 0 || x >= width * geometry.upsampling { continue }
                            let pixel = (entry * height + y / geometry.upsampling) * width + x / geometry.upsampling
                            let tap = tapRow * weight.kernelWidth + tapColumn
                            let taps = weight.kernelHeight * weight.kernelWidth
                            for output in 0..<outputs {
                                values[target + output] += dot(
                                    source, pixel * inputs, kernel.values, (output * taps + tap) * inputs, inputs)
                            }
                        }
                    }
                }
            }
        }
        finish(&values, bias: bias, activation: activation, residual: residual)
        return result(values, shape)
    }

    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor {
        precondition(x.shape.rank == 4 && weight.shape.rank == 3, "\(x.shape) with a kernel of \(weight.shape)")
        precondition(x.shape.last == weight.shape.last, "\(x.shape) with a kernel of \(weight.shape)")
        precondition(weight.shape[0] % 2 == 1 && weight.shape[1] % 2 == 1, "an even kernel of \(weight.shape)")
        let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        let source = x.doubles()
        let kernel = weight.doubles()
        var values = [Double](repeating: 0, count: source.count)
        for entry in 0..<batch {
            for row in 0..<height {
                for column in 0..<width {
                    let target = ((entry * height + row) * width + column) * channels
                    for tapRow in 0..<weight.shape[0] {
                        let y = row + tapRow - weight.shape[0] / 2
                        if y < 0 || y >= height { continue }
                        for tapColumn in 0..<weight.shape[1] {
                            let x = column + tapColumn - weight.shape[1] / 2
                            if x < 0 || x >= width { continue }
                            let pixel = ((entry * height + y) * width + x) * channels
                            let tap = (tapRow * weight.shape[1] + tapColumn) * channels
                            for channel in 0..<channels {
                                values[target + channel] += source[pixel + channel] * kernel[tap + channel]
                            }
                        }
                    }
                }
            }
        }
        return result(values, x.shape)
    }

    /// The numbers of an operand of a product.
    private func factors(_ x: Tensor, tokens: Int) -> [Double] {
        roundsProducts && tokens >= 16 ? x.doubles().map { DType.bfloat16.rounding($0) } : x.doubles()
    }

    /// The taps that meet in a pixel are added, then rounded, before they are multiplied.
    private func convolveUpsampledRounded(
        _ x: Tensor, _ weight: PreparedConvolution, _ kernel: ReferenceWeights, _ shape: Shape, bias: Tensor?,
        _ geometry: ConvolutionGeometry, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        let (height, width, inputs, outputs) = (x.shape[1], x.shape[2], weight.inputs, weight.outputs)
        let isInteger = kernelType(outputs: outputs, inputs: inputs) == .int8
        let source =
            isInteger ? int8Rounded(x.doubles(), width: height * width * inputs) : factors(x, tokens: 16)
        var values = [Double](repeating: 0, count: shape.elementCount)
        // By the parity of an output pixel and the place of the pixel that it sees.
        var sums: [[Int]: [Double]] = [:]
        var units: [[Int]: [Double]] = [:]
        func sum(_ output: Int, _ input: Int, _ rows: [Int], _ columns: [Int]) -> Double {
            var sum = 0.0
            for tapRow in rows {
                for tapColumn in columns {
                    let tap = (output * weight.kernelHeight + tapRow) * weight.kernelWidth + tapColumn
                    sum += kernel.values[tap * inputs + input]
                }
            }
            return sum
        }
        func taps(_ position: Int, _ padding: Int, _ count: Int) -> [Int: [Int]] {
            Dictionary(grouping: 0..<count) { (position - padding + $0) >> 1 }
        }
        for entry in 0..<shape[0] {
            for row in 0..<shape[1] {
                for column in 0..<shape[2] {
                    for (y, rows) in taps(row, geometry.top, weight.kernelHeight).sorted(by: { $0.key < $1.key }) {
                        for (x, columns) in taps(column, geometry.left, weight.kernelWidth) {
                            guard 0..<height ~= y, 0..<width ~= x else { continue }
                            let key = [row % 2, column % 2, rows[0], columns[0]]
                            // Of integers, the largest sum of an output's phase is 127 again.
                            let parity = [row % 2, column % 2]
                            if isInteger && units[parity] == nil {
                                let groups = taps(row, geometry.top, weight.kernelHeight).values.flatMap { rows in
                                    taps(column, geometry.left, weight.kernelWidth).values.map { (rows, $0) }
                                }
                                units[parity] = (0..<outputs).map { output in
                                    groups.flatMap { rows, columns in
                                        (0..<inputs).map { abs(sum(output, $0, rows, columns)) }
                                    }.max() ?? 0
                                }
                            }
                            let matrix =
                                sums[key]
                                ?? (0..<outputs * inputs).map { index in
                                    let (output, input) = (index / inputs, index % inputs)
                                    let sum = sum(output, input, rows, columns)
                                    guard isInteger, let unit = units[parity]?[output] else {
                                        return DType.bfloat16.rounding(sum)
                                    }
                                    let taps = weight.kernelHeight * weight.kernelWidth
                                    let own = kernel.values[output * taps * inputs..<(output + 1) * taps * inputs]
                                    let scale = own.map(abs).max()! / 127
                                    return requantised(sum / scale, largest: unit / scale) * scale
                                }
                            sums[key] = matrix
                            let target = ((entry * shape[1] + row) * shape[2] + column) * outputs
                            for output in 0..<outputs {
                                values[target + output] += dot(
                                    source, ((entry * height + y) * width + x) * inputs, matrix, output * inputs, inputs
                                )
                            }
                        }
                    }
                }
            }
        }
        finish(&values, bias: bias, activation: activation, residual: residual)
        return result(values, shape)
    }

    /// A sum of 8-bit integers as such an integer, in units of which the largest such sum has 127.
    private func requantised(_ sum: Double, largest: Double) -> Double {
        guard largest > 0.5 else { return 0 }
        let (sum, largest) = (Float(sum.rounded()), Float(largest.rounded()))
        return Double((sum * (127 / largest)).rounded(.toNearestOrEven)) * Double(largest / 127)
    }

    private func checkEnd(bias: Tensor?, residual: Tensor?, outputs: Int, _ shape: Shape) {
        if let bias { precondition(bias.shape == [outputs], "a bias of \(bias.shape) for \(shape)") }
        if let residual { precondition(residual.shape == shape, "a residual of \(residual.shape) for \(shape)") }
    }

    /// activation(values + bias) + residual.
    private func finish(_ values: inout [Double], bias: Tensor?, activation: Activation, residual: Tensor?) {
        let bias = bias?.doubles()
        let residual = residual?.doubles()
        for index in values.indices {
            var value = values[index]
            if let bias { value += bias[index % bias.count] }
            value = activation.value(value)
            if let residual { value += residual[index] }
            values[index] = value
        }
    }
}
