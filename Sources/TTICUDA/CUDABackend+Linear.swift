internal import CTTICUDA
internal import Glibc
package import TTICore

/// A matrix `[outputs, inputs]` as it came, row after row; rows begin at multiples of 128 bytes and end in zeros.
final class DeviceMatrix {
    let outputs: Int
    let inputs: Int
    /// Elements from one row to the next.
    let stride: Int
    /// `[outputs, stride]` float32, bfloat16 or int8.
    let elements: Tensor
    /// `[outputs]` float32: what a unit of int8 stands for.
    let scales: Tensor?

    init(outputs: Int, inputs: Int, stride: Int, elements: Tensor, scales: Tensor?) {
        self.outputs = outputs
        self.inputs = inputs
        self.stride = stride
        self.elements = elements
        self.scales = scales
    }
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
    package func prepare(matrix: HostTensor) throws(DeviceError) -> PreparedMatrix {
        precondition(matrix.shape.rank == 2, "a matrix \(matrix.shape)")
        let (outputs, inputs) = (matrix.shape[0], matrix.shape[1])
        let unit = 128 / weightType.byteCount
        let stride = (inputs + unit - 1) / unit * unit
        let elements = try allocateOwned([outputs, stride], weightType)
        var scales: Tensor?
        if weightType == .int8 {
            let own = try allocateOwned([outputs], .float32)
            quantise(matrix, to: elements, own, stride: stride)
            scales = own
        } else {
            write(matrix, to: elements, rows: outputs, stride: stride)
        }
        return PreparedMatrix(
            outputs: outputs, inputs: inputs, byteCount: matrix.elementCount * weightType.byteCount,
            form: DeviceMatrix(outputs: outputs, inputs: inputs, stride: stride, elements: elements, scales: scales))
    }

    private func quantise(_ matrix: HostTensor, to elements: Tensor, _ scales: Tensor, stride: Int) {
        guard let bytes = unsafe matrix.bytes, matrix.elementCount > 0 else { return }
        guard let from = CUDABackend.convertible[matrix.dtype] else {
            return quantise(HostTensor(matrix.floats(), matrix.shape), to: elements, scales, stride: stride)
        }
        let width = matrix.shape[1]
        unsafe staging.send(bytes, rowBytes: width * matrix.dtype.byteCount) { address, rows in
            launch(
                "quantise_weights", grid: (rows.count, 1, 1), threads: 256,
                tti_quantise_weights(
                    y: elements.device + UInt64(rows.lowerBound * stride),
                    scales: scales.device + UInt64(4 * rows.lowerBound), x: address.device, rows: Int64(rows.count),
                    width: Int64(width), stride: Int64(stride), from: from))
        }
    }

    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        product(x, weight, norm: nil, bias: bias, activation, adding: residual)
    }

    package func normLinear(
        _ x: Tensor, _ norm: NormParameters, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation
    ) -> Tensor {
        // With many tokens every block would do the norm of its rows again.
        isDecoding(x)
            ? product(x, weight, norm: norm, bias: bias, activation, adding: nil)
            : product(self.norm(x, norm), weight, norm: nil, bias: bias, activation, adding: nil)
    }

    /// Whether each entry of the batch has one token: matrix-vector work.
    private func isDecoding(_ x: Tensor) -> Bool { x.shape.rank < 3 || x.rowCount == x.shape[0] }

    private func product(
        _ x: Tensor, _ weight: PreparedMatrix, norm: NormParameters?, bias: Tensor?, _ activation: Activation,
        adding residual: Tensor?
    ) -> Tensor {
        precondition(x.shape.last == weight.inputs, "\(x.shape) · [\(weight.outputs), \(weight.inputs)]ᵀ")
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
        hold(y, of: [x] + (bias.map { [$0] } ?? []), adding: residual) { [weak self] y in
            guard let self else { return }
            if isDecoding {
                decode(x, matrix, norm: norm, bias: bias, activation, adding: residual, into: y)
            } else {
                multiply(
                    RowsProduct(x: x, matrix: matrix, bias: bias, activation: activation, residual: residual, y: y))
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
                from: Int32(TTI_BFLOAT16.rawValue), to: Int32(TTI_FLOAT32.rawValue)))
        return converted.device
    }

    /// How many times eight outputs a block makes at once, and how many such groups one after the other. One block for each
    /// multiprocessor, when it can ask for all its weights at once (64 KB): then the next product's block fits beside it, and
    /// asks for its own before this one ends. Of larger matrices two blocks are under way.
    private func tilesOfBlock(outputs: Int, outputBytes: Int) -> (tiles: Int, groups: Int) {
        let (sizes, eights) = ([1, 2, 3, 4, 6], (outputs + 7) / 8)
        let alone = sizes.first { (eights + $0 - 1) / $0 <= device.multiprocessorCount }
        if let alone, alone * 8 * outputBytes <= 64 << 10 { return (alone, 1) }
        let tiles = sizes.first { (eights + $0 - 1) / $0 <= 2 * device.multiprocessorCount }
        // Groups come out even, and so do the loads of a warp, four of 64 bytes for each tile.
        return tiles.map { ($0, 1) } ?? (outputs % 32 == 0 && outputBytes % 2048 == 0 ? (4, 2) : (6, 1))
    }

    /// TTI_DECODE_ALONE: bytes of a matrix from which on there is one block a multiprocessor (an experiment).
    private static let form: Int? = unsafe getenv("TTI_DECODE_ALONE").flatMap { unsafe Int(String(cString: $0)) }

    /// Tiles and groups of tiles for one block a multiprocessor (an experiment).
    private func aloneTiles(outputs: Int, loadsOfWarp: Int) -> (tiles: Int, groups: Int)? {
        let each = (outputs / 8 + device.multiprocessorCount - 1) / device.multiprocessorCount
        for tiles in [4, 2, 1, 6, 3] where outputs % (tiles * 8) == 0 {
            let groups = (each + tiles - 1) / tiles
            if groups * tiles > each + each / 8 { continue }
            if groups == 1 || loadsOfWarp % (16 / tiles) == 0 { return (tiles, groups) }
        }
        return nil
    }

    /// The most that a block asks of the shared memory, so that two blocks fit a multiprocessor.
    private static let sharedBytes = 110 << 10

    /// What decode_linear.cu needs to take rows by way of registers; nil when they do not go that way: with a norm there are
    /// at most 2048 inputs, or 4096.
    private func rowFactor(_ x: Tensor, _ matrix: DeviceMatrix, norm: NormParameters?) -> Int? {
        let (inputs, addresses) = (matrix.inputs, x.device | (norm?.weight).device | (norm?.bias).device)
        guard activationType == .bfloat16, inputs % 256 == 0, addresses % 16 == 0,
            inputs <= (norm == nil ? 8192 : 2048) || inputs == (norm == nil ? 16384 : 4096)
        else { return nil }
        return (65536 * 256 + inputs - 1) / inputs
    }

    /// One pass over the weights for up to 16 rows.
    private func decode(
        _ x: Tensor, _ matrix: DeviceMatrix, norm: NormParameters?, bias: Tensor?, _ activation: Activation,
        adding residual: Tensor?, into y: Tensor
    ) {
        let (isFloat, isInt8) = (activationType == .float32, matrix.elements.dtype == .int8)
        let unit = isFloat ? 128 : isInt8 ? 64 : 32
        let padded = (matrix.inputs + unit - 1) / unit * unit
        let factor = rowFactor(x, matrix, norm: norm)
        // As float32, as int8 beside bfloat16, as bfloat16.
        let rowBytes = isFloat ? padded * 4 : isInt8 ? padded * 3 + 128 : padded * 2 + 64
        let normBytes = norm == nil ? 0 : padded * 8
        let eights = (matrix.outputs + 7) / 8
        let matrixBytes = padded * matrix.elements.dtype.byteCount
        var (tiles, groups) = factor == nil ? (1, 1) : tilesOfBlock(outputs: matrix.outputs, outputBytes: matrixBytes)
        if factor != nil, let form = CUDABackend.form, matrixBytes * matrix.outputs >= form,
            let alone = aloneTiles(outputs: matrix.outputs, loadsOfWarp: matrixBytes / 512)
        {
            (tiles, groups) = alone
        }
        // The warps' parts of each output: 12 numbers.
        let partBytes = tiles * 8 * 48 * min(2, groups)
        let fitting = max(1, (CUDABackend.sharedBytes - normBytes) / (rowBytes + partBytes))
        let group = min(x.rowCount, isFloat ? 8 : 16, fitting)
        let shared = group * (rowBytes + partBytes) + normBytes
        let type = isFloat ? "float" : isInt8 ? "int8" : "bfloat16"
        let kernel =
            isFloat
            ? "decode_linear_float_\(group <= 2 ? 2 : 8)"
            : factor == nil
                ? "decode_linear_\(type)_any" : "decode\(norm == nil ? "" : "_norm")_linear_\(type)_\(tiles)"
        let parameters = tti_decode_linear(
            y: y.device, x: x.device, bias: floatBias(bias), residual: residual.device, weight: matrix.elements.device,
            scales: matrix.scales.device, norm_weight: (norm?.weight).device,
            norm_bias: (norm?.bias).device, rows: Int32(x.rowCount), group: Int32(group),
            inputs: Int32(matrix.inputs), stride: Int32(matrix.stride), outputs: Int32(matrix.outputs),
            activation: Int32(activation.rawValue), norm: norm?.deviceKind ?? Int32(TTI_NO_NORM.rawValue),
            epsilon: norm?.epsilon ?? 0, share: 1 / Float(matrix.inputs),
            row_factor: Int32(factor ?? 0), tile_groups: Int32(groups))
        launch(
            kernel, grid: ((eights + tiles * groups - 1) / (tiles * groups), (x.rowCount + group - 1) / group, 1), threads: 256,
            shared: shared, parameters)
    }
}
