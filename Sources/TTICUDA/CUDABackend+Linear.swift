internal import CTTICUDA
package import TTICore

/// A matrix `[outputs, inputs]`, row after row, or in panels of eight rows (weights.cu), as decoding reads them; rows begin at
/// multiples of 128 bytes and end in zeros.
final class DeviceMatrix {
    let outputs: Int
    let inputs: Int
    /// Elements from one row to the next.
    let stride: Int
    /// `[outputs, stride]` float32, bfloat16 or int8; in panels, outputs are a multiple of eight.
    let elements: Tensor
    let isInPanels: Bool
    /// `[outputs]` float32: what a unit of int8 stands for.
    let scales: Tensor?
    /// Of those that come before it where there is one token.
    var norms: [NormOfMatrix] = []

    init(outputs: Int, inputs: Int, stride: Int, elements: Tensor, isInPanels: Bool, scales: Tensor?) {
        self.outputs = outputs
        self.inputs = inputs
        self.stride = stride
        self.elements = elements
        self.isInPanels = isInPanels
        self.scales = scales
    }

    var rowBytes: Int { stride * elements.dtype.byteCount }

    /// Bytes from an output to the next in its panel, and from 64 bytes of an output to the next.
    var outputStep: Int32 { Int32(isInPanels ? 64 : rowBytes) }
    var blockStep: Int32 { isInPanels ? 512 : 64 }
}

extension NormParameters {
    /// As Parameters.h has it.
    var deviceKind: Int32 {
        switch kind {
        case .layer: Int32(TTI_LAYER_NORM.rawValue)
        case .rms: Int32(TTI_RMS_NORM.rawValue)
        }
    }
}

extension CUDABackend {
    package func prepare(matrix: HostTensor, for use: MatrixUse) throws(DeviceError) -> PreparedMatrix {
        precondition(matrix.shape.rank == 2, "a matrix \(matrix.shape)")
        let (outputs, inputs) = (matrix.shape[0], matrix.shape[1])
        let stride = rowStride(inputs)
        // The kernels of decoding in float32 read rows.
        let isInPanels = use == .tokens && activationType == .bfloat16
        let elements = try allocateOwned([isInPanels ? (outputs + 7) / 8 * 8 : outputs, stride], weightType)
        let block = isInPanels ? 64 / weightType.byteCount : 0
        var scales: Tensor?
        if weightType == .int8 {
            let own = try allocateOwned([outputs], .float32)
            quantise(matrix, to: elements, own, stride: stride, block: block)
            scales = own
        } else {
            write(matrix, to: elements, rows: outputs, stride: stride, block: block)
        }
        return PreparedMatrix(
            outputs: outputs, inputs: inputs, byteCount: matrix.elementCount * weightType.byteCount,
            form: DeviceMatrix(
                outputs: outputs, inputs: inputs, stride: stride, elements: elements, isInPanels: isInPanels,
                scales: scales))
    }

    private func quantise(_ matrix: HostTensor, to elements: Tensor, _ scales: Tensor, stride: Int, block: Int) {
        guard let bytes = unsafe matrix.bytes, matrix.elementCount > 0 else { return }
        guard let from = CUDABackend.convertible[matrix.dtype] else {
            return quantise(
                HostTensor(matrix.floats(), matrix.shape), to: elements, scales, stride: stride, block: block)
        }
        let width = matrix.shape[1]
        unsafe staging.send(bytes, rowBytes: width * matrix.dtype.byteCount) { address, rows in
            launch(
                "quantise_weights", grid: (rows.count, 1, 1), threads: 256,
                tti_quantise_weights(
                    y: elements.device, scales: scales.device, x: address.device, rows: Int64(rows.count),
                    width: Int64(width), stride: Int64(stride), first_row: Int64(rows.lowerBound), from: from,
                    block: Int32(block)))
        }
    }

    /// The matrix as it is, or a copy in rows when it lies in panels: what many tokens are multiplied with.
    private func inRows(_ matrix: DeviceMatrix) -> DeviceMatrix {
        matrix.isInPanels ? copy(matrix, "matrix in rows", "rows_of_panels", outputs: matrix.outputs) : matrix
    }

    /// The matrix as it is, or a copy in panels where decoding can read nothing else: int8 (panels.cuh).
    private func inPanels(_ matrix: DeviceMatrix) -> DeviceMatrix {
        guard matrix.elements.dtype == .int8, !matrix.isInPanels else { return matrix }
        return copy(matrix, "matrix in panels", "panels_of_rows", outputs: (matrix.outputs + 7) / 8 * 8)
    }

    /// - Parameter outputs: those that the copy has room for.
    private func copy(_ matrix: DeviceMatrix, _ name: String, _ kernel: String, outputs: Int) -> DeviceMatrix {
        let byteCount = outputs * matrix.rowBytes
        let buffer = Buffer(address: scratch(name, byteCount), byteCount: byteCount) {}
        launch(
            kernel, elements: matrix.outputs * matrix.rowBytes, each: 16,
            tti_rows_of_panels(
                y: buffer.address.device, x: matrix.elements.device, rows: Int64(matrix.outputs),
                stride: Int64(matrix.rowBytes), is_int8: matrix.elements.dtype == .int8 ? 1 : 0))
        // Products ask for weights before they wait.
        device.isNextInOrder = true
        let elements = Tensor(
            buffer: buffer, byteOffset: 0, shape: [outputs, matrix.stride], dtype: matrix.elements.dtype)
        return DeviceMatrix(
            outputs: matrix.outputs, inputs: matrix.inputs, stride: matrix.stride, elements: elements,
            isInPanels: !matrix.isInPanels, scales: matrix.scales)
    }

    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        product(x, weight, norm: nil, bias: bias, activation, adding: residual)
    }

    /// Tiles and Hopper's units read both where they are; for the others they are joined between kernels.
    package func joinedLinear(_ x: Tensor, _ other: Tensor, _ weight: PreparedMatrix, bias: Tensor?) -> Tensor {
        precondition(x.shape.replacingLast(1) == other.shape.replacingLast(1), "\(x.shape) beside \(other.shape)")
        checkActivations(other)
        return product(x, joined: other, weight, norm: nil, bias: bias, .identity, adding: nil)
    }

    package func normLinear(
        _ x: Tensor, _ norm: NormParameters, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation
    ) -> Tensor {
        // With many tokens every block would do the norm of its rows again.
        isDecoding(x)
            ? product(x, weight, norm: norm, bias: bias, activation, adding: nil)
            : product(self.norm(x, norm), weight, norm: nil, bias: bias, activation, adding: nil)
    }

    package func gatedFeedForward(
        _ x: Tensor, _ norm: NormParameters?, input: PreparedMatrix, inputBias: Tensor?, output: PreparedMatrix,
        outputBias: Tensor?, activation: Activation, order: GateOrder, adding residual: Tensor?
    ) -> Tensor {
        let normed = norm.map { self.norm(x, $0) } ?? x
        let gated = gatedLinear(normed, input, bias: inputBias, activation, order)
        return linear(gated, output, bias: outputBias, activation: .identity, adding: residual)
    }

    /// gate(linear(x, weight) + bias): in one kernel where Hopper's own units do it.
    private func gatedLinear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, _ activation: Activation, _ order: GateOrder
    ) -> Tensor {
        let mark = arena.mark
        let y = allocate(x.shape.replacingLast(weight.outputs / 2), activationType)
        let product = RowsProduct(
            x: x, matrix: unsafe unsafeDowncast(weight.form, to: DeviceMatrix.self), bias: bias, activation: activation,
            residual: nil, gate: order, integers: integersOfNorm(x), y: y)
        guard y.elementCount > 0, weight.outputs % 2 == 0, !isDecoding(x), !product.matrix.isInPanels,
            suitsHopper(product)
        else {
            arena.rewind(to: mark)
            return gate(linear(x, weight, bias: bias, activation: .identity, adding: nil), activation, order)
        }
        checkActivations(x)
        if let bias { precondition(bias.elementCount == weight.outputs, "bias \(bias.shape) to \(y.shape)") }
        hold(y, of: [x] + (bias.map { [$0] } ?? []), adding: nil) { [weak self] y, _ in
            var product = product
            product.y = y
            self?.multiply(product)
        }
        return y
    }

    /// Whether each entry of the batch has one token: matrix-vector work.
    func isDecoding(_ x: Tensor) -> Bool { x.shape.rank < 3 || x.rowCount == x.shape[0] }

    /// - Parameter joined: a tensor whose rows come behind those of x.
    private func product(
        _ x: Tensor, joined: Tensor? = nil, _ weight: PreparedMatrix, norm: NormParameters?, bias: Tensor?,
        _ activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        precondition(
            x.shape.last + (joined?.shape.last ?? 0) == weight.inputs,
            "\(x.shape) · [\(weight.outputs), \(weight.inputs)]ᵀ")
        checkActivations(x)
        let y = allocate(x.shape.replacingLast(weight.outputs), activationType)
        if let bias { precondition(bias.elementCount == weight.outputs, "bias \(bias.shape) to \(y.shape)") }
        if let residual {
            precondition(residual.shape == y.shape, "residual \(residual.shape) to \(y.shape)")
            checkActivations(residual)
        }
        let matrix = unsafe unsafeDowncast(weight.form, to: DeviceMatrix.self)
        if y.elementCount == 0 { return y }
        let isDecoding = isDecoding(x)
        let integers = joined == nil ? integersOfNorm(x) : nil
        hold(y, of: [x, joined, bias].compactMap { $0 }, adding: residual) { [weak self] y, _ in
            guard let self else { return }
            var (x, joined) = (x, joined)
            if let other = joined, isDecoding || matrix.elements.dtype == .int8 || !canRead(x, joined: other) {
                (x, joined) = (joinedRows(x, other), nil)
            }
            if isDecoding {
                decode(x, matrix, norm: norm, bias: bias, activation, adding: residual, into: y)
            } else {
                multiply(
                    RowsProduct(
                        x: x, joined: joined, matrix: inRows(matrix), bias: bias, activation: activation,
                        residual: residual,
                        integers: integers, y: y))
            }
        }
        return y
    }

    /// The address of a bias as kernels read it: float32. Those that a step chooses (by its index) come as activations.
    func floatBias(_ bias: Tensor?) -> UInt64 {
        guard let bias, bias.dtype != .float32 else { return bias.device }
        let count = bias.elementCount
        let converted = scratch("bias", 4 * count)
        launch(
            "convert", elements: count,
            tti_convert(
                y: converted.device, x: bias.device, rows: 1, width: Int64(count), y_stride: Int64(count),
                first_row: 0, from: Int32(TTI_BFLOAT16.rawValue), to: Int32(TTI_FLOAT32.rawValue), block: 0))
        return converted.device
    }

    /// How many times eight outputs a block makes. One block for each multiprocessor, or for two thirds of them at least, when it
    /// can ask for all its weights at once (64 KB): then the next product's block fits beside it, and asks for its own before
    /// this one ends. Of larger matrices two blocks are under way, and how long they take is about their turns times what a
    /// block makes and half a start (article GPU). Int8 with few inputs: eight outputs, whose weights become bfloat16 while x is
    /// on its way, or as many as there are, for which x is read once.
    private func tilesOfBlock(eights: Int, outputBytes: Int, isInt8: Bool) -> Int {
        let sizes = [1, 2, 3, 4]
        let places = device.multiprocessorCount
        func blocks(_ tiles: Int) -> Int { (eights + tiles - 1) / tiles }
        if isInt8, outputBytes <= 2048, let tiles = [1, 4].first(where: { blocks($0) <= 2 * places }) { return tiles }
        let alone = sizes.last { blocks($0) <= places && (3 * blocks($0) >= 2 * places || $0 == 1) }
        if let alone, alone * 8 * outputBytes <= 64 << 10 { return alone }
        func time(_ tiles: Int) -> Int { (blocks(tiles) + 2 * places - 1) / (2 * places) * (2 * tiles + 1) }
        return sizes.min { time($0) < time($1) } ?? 4
    }

    /// The most that a block asks of the shared memory for rows, so that two blocks fit a multiprocessor.
    private static let sharedBytes = 96 << 10

    /// One pass over the weights for up to 16 rows.
    private func decode(
        _ x: Tensor, _ prepared: DeviceMatrix, norm: NormParameters?, bias: Tensor?, _ activation: Activation,
        adding residual: Tensor?, into y: Tensor
    ) {
        let matrix = inPanels(prepared)
        var parameters = tti_decode_linear(
            y: y.device, x: x.device, bias: floatBias(bias), residual: residual.device, weight: matrix.elements.device,
            scales: matrix.scales.device, norm_weight: (norm?.weight).device,
            norm_bias: (norm?.bias).device, norm_sums: 0, rows: Int32(x.rowCount), group: 1,
            inputs: Int32(matrix.inputs), stride: Int32(matrix.stride), outputs: Int32(matrix.outputs),
            output_step: matrix.outputStep, block_step: matrix.blockStep,
            activation: Int32(activation.rawValue), norm: norm?.deviceKind ?? Int32(TTI_NO_NORM.rawValue),
            epsilon: norm?.epsilon ?? 0)
        if let norm, activationType == .bfloat16 {
            guard let known = normOfMatrix(norm, prepared, lyingAs: matrix) else { return }
            parameters.norm_weight = known.halves.device
            parameters.norm_bias = 0
            parameters.norm_sums = known.sums.device
        }
        let plan =
            activationType == .float32
            ? floatPlan(matrix, rows: x.rowCount, hasNorm: norm != nil)
            : tensorCorePlan(matrix, rows: x.rowCount, hasNorm: norm != nil, isAligned: x.device % 16 == 0)
        parameters.group = Int32(plan.group)
        let outputs = plan.outputs
        launch(
            plan.kernel,
            grid: ((matrix.outputs + outputs - 1) / outputs, (x.rowCount + plan.group - 1) / plan.group, 1),
            threads: 256, shared: plan.sharedBytes, parameters)
    }

    /// How a product of few rows is done.
    private struct DecodePlan {
        var kernel: String
        /// Rows that share a pass over the weights.
        var group: Int
        /// Outputs of a block.
        var outputs: Int
        var sharedBytes: Int
    }

    /// decode_linear_float.cu
    private func floatPlan(_ matrix: DeviceMatrix, rows: Int, hasNorm: Bool) -> DecodePlan {
        let padded = (matrix.inputs + 127) / 128 * 128
        let normBytes = hasNorm ? padded * 8 : 0
        let group = min(rows, 8, max(1, (CUDABackend.sharedBytes - normBytes) / (padded * 4)))
        return DecodePlan(
            kernel: "decode_linear_float_\(group <= 2 ? 2 : 8)", group: group, outputs: 8,
            sharedBytes: max(group * padded * 4 + normBytes, 8 * group * 8 * 4))
    }

    /// decode_linear.cuh
    private func tensorCorePlan(_ matrix: DeviceMatrix, rows: Int, hasNorm: Bool, isAligned: Bool) -> DecodePlan {
        precondition(matrix.elements.byteCount <= Int(UInt32.max), "a matrix of \(matrix.elements.byteCount) bytes")
        let isInt8 = matrix.elements.dtype == .int8
        let (warps, inputsOfBlock) = (8, isInt8 ? 64 : 32)
        let blocks = (matrix.inputs + inputsOfBlock - 1) / inputsOfBlock
        let share = (blocks + warps - 1) / warps
        let tiles = tilesOfBlock(
            eights: (matrix.outputs + 7) / 8, outputBytes: blocks * inputsOfBlock * matrix.elements.dtype.byteCount,
            isInt8: isInt8)
        let name = "decode_\(hasNorm ? "norm_" : "")linear_\(isInt8 ? "int8" : "bfloat16")_"
        func sums(_ tiles: Int, _ group: Int) -> Int { warps * group * (tiles * 8 * 4 + 8) }

        // A row of x as the warps have it, `depth` blocks at a time.
        func rowBytes(depth: Int) -> Int { warps * ((share + depth - 1) / depth * depth) * inputsOfBlock * 2 }
        func normBytes(depth: Int) -> Int { hasNorm ? 2 * rowBytes(depth: depth) : 0 }

        // x in shared memory, `depth` blocks of weights under way.
        func staged(_ tiles: Int, depth: Int, most: Int, suffix: String = "") -> DecodePlan {
            let rowBytes = rowBytes(depth: depth) + 64
            let free = CUDABackend.sharedBytes - normBytes(depth: depth)
            let group = min(rows, most, max(1, free / (rowBytes + sums(tiles, 1))))
            return DecodePlan(
                kernel: "\(name)\(tiles)\(suffix)", group: group, outputs: tiles * 8,
                sharedBytes: group * rowBytes + normBytes(depth: depth) + sums(tiles, group))
        }

        // Rows that one tall operand has room for.
        let fewest = 8
        let depths = isInt8 ? [1: 8, 2: 4] : [1: 16, 2: 8]
        if rows <= fewest, share <= 4, matrix.inputs % 8 == 0, isAligned, !isInt8 || share <= 2 || tiles == 1 {
            let depth = isInt8 && share <= 2 ? 2 : 4
            return DecodePlan(
                kernel: "\(name)\(tiles)_short\(isInt8 && depth == 4 ? "4" : "")", group: rows, outputs: tiles * 8,
                sharedBytes: normBytes(depth: depth) + sums(tiles, rows))
        }
        if hasNorm, rows > fewest {
            let plan = staged(min(tiles, 2), depth: isInt8 ? 2 : 4, most: 16, suffix: "_rows")
            if plan.group > fewest { return plan }
        }
        return staged(tiles, depth: depths[tiles] ?? 4, most: hasNorm ? fewest : 16)
    }
}
