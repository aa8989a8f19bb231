internal import CTTIKernels
package import TTICore

/// What the CPU multiplies with: a matrix `[outputs, segments · depth]` in the panels of CTTIKernels' linear.h.
final class Panels {
    let outputs: Int
    /// Runs of inputs that lie apart in what is multiplied: the rows of a kernel; one for a matrix.
    let segments: Int
    let depth: Int
    /// float32 or bfloat16.
    let elements: Tensor

    init(outputs: Int, segments: Int, depth: Int, _ elements: Tensor) {
        self.outputs = outputs
        self.segments = segments
        self.depth = depth
        self.elements = elements
    }

    var inputs: Int { segments * depth }
    var count: Int { ctti_panel_count(outputs) }
    var isWide: Bool { elements.dtype == .float32 }
}

extension CPUBackend {
    package func prepare(matrix: HostTensor, for use: MatrixUse) throws(DeviceError) -> PreparedMatrix {
        precondition(matrix.shape.rank == 2, "a matrix \(matrix.shape)")
        return PreparedMatrix(
            outputs: matrix.shape[0], inputs: matrix.shape[1], byteCount: matrix.elementCount * weightType.byteCount,
            form: weightType == .int8 ? try quantize(matrix) : try pack(matrix, as: weightType))
    }

    func pack(_ matrix: HostTensor, segments: Int = 1, as dtype: DType) throws(DeviceError) -> Panels {
        let inputs = matrix.shape[1]
        let bytes = matrix.elementCount == 0 ? nil : unsafe matrix.bytes?.baseAddress
        guard let bytes = unsafe bytes else { return try allocatePanels(matrix.shape[0], inputs, segments, dtype) }
        return unsafe try pack(matrix.shape[0], inputs, segments: segments, as: dtype, scratch: 32 * inputs) {
            first, count, scratch in
            let source = unsafe bytes + first * inputs * matrix.dtype.byteCount
            guard matrix.dtype != dtype else { return unsafe source }
            unsafe CPUBackend.convert(source, matrix.dtype, to: scratch, dtype, count: count * inputs)
            return UnsafeRawPointer(scratch)
        }
    }

    private func allocatePanels(
        _ outputs: Int, _ inputs: Int, _ segments: Int, _ dtype: DType
    ) throws(DeviceError) -> Panels {
        let packedInputs = segments * ctti_packed_depth(dtype == .float32, inputs / segments)
        let elements = try allocateOwned([ctti_panel_elements(outputs, packedInputs)], dtype)
        return Panels(outputs: outputs, segments: segments, depth: inputs / segments, elements)
    }

    /// Some panels on each thread, so that no second copy of a matrix is ever whole.
    ///
    /// - Parameters:
    ///   - scratch: floats that `rows` may use.
    ///   - rows: where `count` rows of the matrix from `first` on are, in the panels' type.
    func pack(
        _ outputs: Int, _ inputs: Int, segments: Int, as dtype: DType, scratch: Int,
        rows: (_ first: Int, _ count: Int, _ scratch: UnsafeMutablePointer<Float>) -> UnsafeRawPointer
    ) throws(DeviceError) -> Panels {
        let panels = try allocatePanels(outputs, inputs, segments, dtype)
        let packedInputs = segments * ctti_packed_depth(dtype == .float32, inputs / segments)
        let target = unsafe panels.elements.pointer
        unsafe pool.forEach(panels.count, scratch: scratch) { panel, scratch in
            let first = panel * 32
            let left = min(32, outputs - first)
            let source = unsafe rows(first, left, scratch)
            let start = unsafe target + first * packedInputs * dtype.byteCount
            if panels.isWide {
                unsafe ctti_pack_float32(
                    start.assumingMemoryBound(to: Float.self), source, left, segments, panels.depth)
            } else {
                unsafe ctti_pack_bfloat16(
                    start.assumingMemoryBound(to: UInt16.self), source, left, segments, panels.depth)
            }
        }
        return panels
    }

    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        precondition(x.shape.last == weight.inputs, "\(x.shape) · [\(weight.outputs), \(weight.inputs)]ᵀ")
        let y = allocate(x.shape.replacingLast(weight.outputs), .float32)
        if y.elementCount > 0 {
            hold(.linear(x, .plain, weight, bias: bias, activation), bias: bias, adding: residual, into: y)
        }
        return y
    }

    /// Where a product makes its rows integers or bfloat16 first, it norms them on the way: the norm's result is never written.
    /// The bits are those of two operations.
    package func normLinear(
        _ x: Tensor, _ norm: NormParameters, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation
    ) -> Tensor {
        let rounds = (weight.form as? Panels).map { roundsRows($0, tokens: tokens(x)) } ?? false
        guard weightType == .int8 || rounds else {
            return linear(self.norm(x, norm), weight, bias: bias, activation: activation, adding: nil)
        }
        precondition(x.shape.last == weight.inputs, "\(x.shape) · [\(weight.outputs), \(weight.inputs)]ᵀ")
        checkNorm(x, norm)
        let y = allocate(x.shape.replacingLast(weight.outputs), .float32)
        if y.elementCount > 0 {
            hold(.linear(x, .normed(norm), weight, bias: bias, activation), bias: bias, adding: nil, into: y)
        }
        return y
    }

    /// Rows are joined where a product copies them anyway: as integers or bfloat16, or some at a time.
    package func joinedLinear(_ x: Tensor, _ other: Tensor, _ weight: PreparedMatrix, bias: Tensor?) -> Tensor {
        let width = x.shape.last + other.shape.last
        precondition(
            width == weight.inputs && x.shape.replacingLast(1) == other.shape.replacingLast(1),
            "\(x.shape) beside \(other.shape) · [\(weight.outputs), \(weight.inputs)]ᵀ")
        let y = allocate(x.shape.replacingLast(weight.outputs), .float32)
        if y.elementCount > 0 {
            hold(.linear(x, .joined(other), weight, bias: bias, .identity), bias: bias, adding: nil, into: y)
        }
        return y
    }

    /// - Parameter rows: normed ones only where they become integers or bfloat16.
    func multiply(
        _ x: Tensor, _ rows: ProductRows, _ weight: PreparedMatrix, bias: Tensor?, _ activation: Activation,
        adding residual: Tensor?, into y: Tensor
    ) {
        if weightType == .int8 {
            let panels = unsafe unsafeDowncast(weight.form, to: Int8Panels.self)
            return multiply(x, panels, into: y, bias: bias, activation, adding: residual, rows: rows)
        }
        let panels = unsafe unsafeDowncast(weight.form, to: Panels.self)
        var product = unsafe product(x, panels, y, bias: bias, activation, adding: residual)
        unsafe product.row_stride = x.shape.last
        unsafe multiply(
            product, rows, panels: panels.count, rounded: roundsRows(panels, tokens: tokens(x)))
    }

    /// The tokens of one entry of the batch.
    func tokens(_ x: Tensor) -> Int { x.shape.rank < 3 ? 1 : x.rowCount / max(1, x.shape[0]) }

    /// Whether a product rounds its rows to bfloat16, which AMX's tiles and VDPBF16PS multiply: by the tokens (or pixels) of
    /// one entry of the batch, never by the batch.
    func roundsRows(_ panels: Panels, tokens: Int) -> Bool {
        (instructionSet == .amx || instructionSet == .avx512bf16) && !panels.isWide && tokens >= 16
    }

    /// A product of all rows of `x`; traps when an operand's shape is wrong.
    func product(
        _ x: Tensor, _ panels: Panels?, _ y: Tensor, bias: Tensor?, _ activation: Activation, adding residual: Tensor?
    ) -> ctti_product {
        let inputs = panels?.inputs ?? 0
        let outputs = y.shape.last
        if let bias { precondition(bias.elementCount == outputs, "bias \(bias.shape) to \(y.shape)") }
        if let residual { precondition(residual.shape == y.shape, "residual \(residual.shape) to \(y.shape)") }
        return unsafe ctti_product(
            x: x.floats, row_stride: inputs, segments: 1, segment_depth: inputs, segment_stride: 0,
            panels: panels?.elements.pointer, bias: bias.map { unsafe UnsafePointer($0.floats) },
            residual: residual.map { unsafe UnsafePointer($0.floats) }, y: y.floats, output_stride: outputs,
            rows: y.rowCount, outputs: outputs, activation: activation.kernel, wide: panels?.isWide ?? false,
            group_stride: 0, group_output_stride: 0)
    }

    /// Cut up as the threads like it: the bits do not depend on it.
    func multiply(_ product: ctti_product, _ form: ProductRows = .plain, panels: Int, rounded: Bool) {
        if rounded { return unsafe multiplyRounded(product, form, panels: panels) }
        if case .normed = form { preconditionFailure("rows of a norm in float32") }
        let (rows, inputs) = unsafe (product.rows, product.segments * product.segment_depth)
        // Blocks of rows that stay in the second-level cache.
        let rowBlocks = (rows + 111) / 112
        // Parts of at least about a microsecond, eight for each thread (four of a few rows). Few rows stream the weights: parts of
        // at most 256 KB, which measured best, or of four panels, which some processors read beside each other. Many may be
        // copied for each part.
        let microseconds = panels * inputs * max(4, rows / rowBlocks) / 4096
        let streamed = unsafe min(panels / 4, panels * 32 * inputs * (product.wide ? 4 : 2) / (256 << 10))
        let shared = ((rows <= 8 ? 4 : 8) * pool.threadCount + rowBlocks - 1) / rowBlocks
        let parts = min(panels, max(1, rows < 16 ? streamed : 1, min(microseconds, shared)))
        let isa = isa
        func multiplyPart(_ product: ctti_product, _ rows: Range<Int>, _ part: Int) {
            unsafe withUnsafePointer(to: product) { product in
                unsafe ctti_multiply(
                    isa, product, rows.lowerBound, rows.upperBound, panels * part / parts, panels * (part + 1) / parts)
            }
        }
        func block(_ index: Int) -> Range<Int> { rows * index / rowBlocks..<rows * (index + 1) / rowBlocks }
        let stride = unsafe product.row_stride
        var joined: JoinedRows?
        if case .joined(let other) = form { unsafe joined = JoinedRows(product.x, width: stride, other) }
        guard unsafe joined != nil || (rows >= 16 && stride % 512 == 0) else {
            return pool.forEach(rowBlocks * parts) { index in
                unsafe multiplyPart(product, block(index / parts), index % parts)
            }
        }
        // Rows a multiple of 2 KiB apart lie in one or two sets of the first-level cache, and a tile of them overfills these:
        // each block is copied with its rows a line further apart. So are rows that are joined.
        let copyStride = inputs % 512 == 0 ? inputs + 16 : inputs
        unsafe pool.forEach(rowBlocks * parts, scratch: (rows + rowBlocks - 1) / rowBlocks * copyStride) {
            index, copy in
            let own = block(index / parts)
            var apart = unsafe product
            for row in 0..<own.count {
                let target = unsafe copy + row * copyStride
                if let joined = unsafe joined {
                    unsafe joined.copy(own.lowerBound + row, to: target)
                } else {
                    unsafe target.update(from: product.x + (own.lowerBound + row) * stride, count: inputs)
                }
            }
            unsafe apart.x = UnsafePointer(copy)
            unsafe apart.row_stride = copyStride
            unsafe apart.y += own.lowerBound * product.output_stride
            if let residual = unsafe product.residual {
                unsafe apart.residual = residual + own.lowerBound * product.output_stride
            }
            unsafe multiplyPart(apart, 0..<own.count, index % parts)
        }
    }

    package func embed(_ ids: Tensor, _ table: Tensor) -> Tensor {
        precondition(table.shape.rank == 2, "a table \(table.shape)")
        let (rows, width) = (table.shape[0], table.shape[1])
        let y = allocate(ids.shape.appending(width), .float32)
        let (source, target, size) = unsafe (table.pointer, y.floats, width * table.dtype.byteCount)
        let list = unsafe ids.integers
        for index in 0..<ids.elementCount {
            let id = unsafe list[index]
            precondition(id >= 0 && Int(id) < rows, "id \(id) in a table of \(rows) rows")
            unsafe CPUBackend.widen(source + Int(id) * size, table.dtype, to: target + index * width, count: width)
        }
        return y
    }
}

extension Activation {
    var kernel: ctti_activation { ctti_activation(UInt32(rawValue)) }
}
