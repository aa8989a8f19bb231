internal import CTTIKernels
package import TTICore

/// What the CPU multiplies with: a matrix `[outputs, inputs]`, or a convolution's `[outputs, kernel height · kernel width ·
/// inputs]`, in the panels of CTTIKernels' linear.h and in the backend's weight type.
final class Panels {
    let elements: Tensor
    let count: Int

    init(_ elements: Tensor, count: Int) {
        self.elements = elements
        self.count = count
    }
}

extension CPUBackend {
    package func prepare(matrix: HostTensor) throws(DeviceError) -> PreparedMatrix {
        precondition(matrix.shape.rank == 2, "a matrix \(matrix.shape)")
        let (outputs, inputs) = (matrix.shape[0], matrix.shape[1])
        let panels = try unsafe pack(outputs: outputs, inputs: inputs) { [self] first, rows, scratch in
            guard let bytes = unsafe matrix.bytes?.baseAddress else { return nil }
            let source = unsafe bytes + first * inputs * matrix.dtype.byteCount
            if matrix.dtype == weightType { return unsafe source }
            unsafe CPUBackend.convert(source, matrix.dtype, to: scratch, weightType, count: rows * inputs)
            return UnsafeRawPointer(scratch)
        }
        return PreparedMatrix(
            outputs: outputs, inputs: inputs, byteCount: outputs * inputs * weightType.byteCount, form: panels)
    }

    /// Packs a matrix, some panels on each thread.
    /// - Parameter rows: given the first row, how many, and scratch for them, where these rows lie in the backend's weight
    ///   type; nil when only the shape is known.
    func pack(
        outputs: Int, inputs: Int, _ rows: (Int, Int, UnsafeMutableRawPointer) -> UnsafeRawPointer?
    ) throws(DeviceError) -> Panels {
        let count = ctti_panel_count(outputs)
        let elements = try allocateOwned([ctti_panel_elements(outputs, inputs)], weightType)
        let target = unsafe elements.pointer
        let isWide = weightType == .float32
        unsafe pool.forEach(count, scratch: 32 * inputs) { panel, scratch in
            let first = panel * 32
            guard let source = unsafe rows(first, min(32, outputs - first), scratch) else { return }
            // The packer counts from the matrix's beginning.
            let size = weightType.byteCount
            let start = unsafe target + first * inputs * size
            let left = outputs - first
            if isWide {
                unsafe ctti_pack_float32(start.assumingMemoryBound(to: Float.self), source, left, inputs, 0, 1)
            } else {
                unsafe ctti_pack_bfloat16(start.assumingMemoryBound(to: UInt16.self), source, left, inputs, 0, 1)
            }
        }
        return Panels(elements, count: count)
    }

    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        precondition(x.shape.last == weight.inputs, "\(x.shape) · [\(weight.outputs), \(weight.inputs)]ᵀ")
        let y = allocate(x.shape.replacingLast(weight.outputs), .float32)
        guard y.elementCount > 0 else { return y }
        unsafe multiply(
            product(x, weight.form, inputs: weight.inputs, y, bias: bias, activation, adding: residual),
            panels: (y.shape.last + 31) / 32)
        return y
    }

    /// A product of all rows of `x`; traps when an operand's shape is wrong.
    func product(
        _ x: Tensor, _ form: AnyObject, inputs: Int, _ y: Tensor, bias: Tensor?, _ activation: Activation,
        adding residual: Tensor?
    ) -> ctti_product {
        let outputs = y.shape.last
        let panels = unsafe unsafeDowncast(form, to: Panels.self)
        if let bias { precondition(bias.elementCount == outputs, "bias \(bias.shape) to \(y.shape)") }
        if let residual { precondition(residual.shape == y.shape, "residual \(residual.shape) to \(y.shape)") }
        return unsafe ctti_product(
            x: x.floats, row_stride: inputs, segments: 1, segment_depth: inputs, segment_stride: 0,
            panels: panels.elements.pointer, bias: bias.map { unsafe UnsafePointer($0.floats) },
            residual: residual.map { unsafe UnsafePointer($0.floats) }, y: y.floats, rows: y.rowCount, outputs: outputs,
            activation: activation.kernel, wide: weightType == .float32)
    }

    /// Cut up as the threads like it: the bits do not depend on it.
    func multiply(_ product: ctti_product, panels: Int) {
        let (rows, inputs) = unsafe (product.rows, product.segment_depth)
        // Blocks of rows that stay in the second-level cache.
        let rowBlocks = (rows + 111) / 112
        // Parts of at least about a microsecond, at most 256 KB of weights, and eight for each thread in between.
        let microseconds = panels * inputs * max(4, rows / rowBlocks) / 4096
        let smallest = panels * 32 * inputs * weightType.byteCount / (256 << 10)
        let parts = min(panels, max(1, smallest, min(microseconds, 8 * pool.threadCount / rowBlocks)))
        let isa = isa
        pool.forEach(rowBlocks * parts) { index in
            let (block, part) = (index / parts, index % parts)
            unsafe withUnsafePointer(to: product) { product in
                unsafe ctti_multiply(
                    isa, product, rows * block / rowBlocks, rows * (block + 1) / rowBlocks, panels * part / parts,
                    panels * (part + 1) / parts)
            }
        }
    }

    package func embed(_ ids: Tensor, _ table: Tensor) -> Tensor {
        precondition(table.shape.rank == 2, "a table \(table.shape)")
        let (rows, width) = (table.shape[0], table.shape[1])
        let y = allocate(Shape(ids.shape.array + [width]), .float32)
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

func notYet() -> Never { fatalError("not written yet") }
