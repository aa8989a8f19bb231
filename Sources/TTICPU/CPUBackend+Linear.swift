internal import COpenBLAS
internal import CTTIKernels
package import TTICore

/// What the CPU multiplies with: the elements row by row, so that one copy serves our own kernels and OpenBLAS.
final class RowMatrix {
    /// `[outputs, inputs]` in the backend's weight type, or a convolution's `[outputs, kernel height · kernel width ·
    /// inputs]` in float32.
    let rows: Tensor

    init(_ rows: Tensor) { self.rows = rows }
}

extension CPUBackend {
    /// From this many tokens of one batch entry on, a product is OpenBLAS's; below it is bound by the weights' bytes and
    /// our own kernels read them once for eight rows. The batch must not decide: its entries would not be singles' equals.
    static var fewTokens: Int { 8 }

    package func prepare(matrix: HostTensor) throws(DeviceError) -> PreparedMatrix {
        precondition(matrix.shape.rank == 2, "a matrix \(matrix.shape)")
        let rows = try prepare(table: matrix)
        return PreparedMatrix(
            outputs: rows.shape[0], inputs: rows.shape[1], byteCount: rows.byteCount, form: RowMatrix(rows))
    }

    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor {
        let matrix = unsafe unsafeDowncast(weight.form, to: RowMatrix.self)
        precondition(x.shape.last == weight.inputs, "\(x.shape) · [\(weight.outputs), \(weight.inputs)]ᵀ")
        let y = allocate(x.shape.replacingLast(weight.outputs), .float32)
        precondition(bias.map { $0.shape.elementCount == weight.outputs } ?? true, "bias \(bias!.shape) to \(y.shape)")
        precondition(residual.map { $0.shape == y.shape } ?? true, "residual \(residual!.shape) to \(y.shape)")
        guard y.elementCount > 0 else { return y }
        let call = unsafe ctti_linear(
            x: x.floats, weight: matrix.rows.pointer, bias: bias.map { unsafe UnsafePointer($0.floats) },
            residual: residual.map { unsafe UnsafePointer($0.floats) }, y: y.floats, rows: x.rowCount,
            inputs: weight.inputs, outputs: weight.outputs, activation: activation.kernel)
        let tokens = x.shape.rank > 2 ? x.shape[-2] : 1
        if tokens < CPUBackend.fewTokens {
            unsafe multiplyFewRows(call, matrix.rows.dtype)
        } else {
            unsafe multiplyManyRows(call, tokens: tokens, matrix.rows.dtype)
        }
        return y
    }

    /// Chunks of outputs, of about 128 KB of weights: long enough to be streamed, short enough to be shared evenly.
    private func multiplyFewRows(_ call: ctti_linear, _ dtype: DType) {
        let kernels = unsafe ctti_linear_kernels_for(isa).pointee
        let multiply = unsafe dtype == .float32 ? kernels.rows_float32! : kernels.rows_bfloat16!
        let (outputs, rowBytes) = unsafe (call.outputs, call.inputs * dtype.byteCount)
        let chunk = max(16, (128 << 10) / rowBytes & ~15)
        pool.forEach((outputs + chunk - 1) / chunk) { index in
            unsafe withUnsafePointer(to: call) { call in
                unsafe multiply(call, index * chunk, min(outputs, (index + 1) * chunk))
            }
        }
    }

    /// Blocks of one entry's tokens and of outputs, whose sizes depend on the shapes of one entry only.
    private func multiplyManyRows(_ call: ctti_linear, tokens: Int, _ dtype: DType) {
        CPUBackend.useOneThreadInBLAS
        let kernels = unsafe ctti_linear_kernels_for(isa).pointee
        let (inputs, outputs) = unsafe (call.inputs, call.outputs)
        let tokenBlock = min(tokens, 256)
        let outputBlock = min(outputs, max(32, min(256, (128 << 10) / inputs & ~15)))
        let tokenBlocks = (tokens + tokenBlock - 1) / tokenBlock
        let outputBlocks = (outputs + outputBlock - 1) / outputBlock
        let entries = unsafe call.rows / tokens
        let widened = dtype == .float32 ? 16 : outputBlock * inputs
        unsafe pool.forEach(entries * tokenBlocks * outputBlocks, scratch: widened) { index, scratch in
            let (block, column) = (index / outputBlocks, index % outputBlocks * outputBlock)
            let firstToken = block % tokenBlocks * tokenBlock
            let first = block / tokenBlocks * tokens + firstToken
            let rows = min(tokenBlock, tokens - firstToken)
            let columns = min(outputBlock, outputs - column)
            var weights: UnsafePointer<Float>
            if dtype == .float32 {
                unsafe weights = call.weight.assumingMemoryBound(to: Float.self) + column * inputs
            } else {
                unsafe ctti_float32_of_bfloat16(scratch, call.weight + column * inputs * 2, columns * inputs)
                unsafe weights = UnsafePointer(scratch)
            }
            unsafe cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasTrans, blasint(rows), blasint(columns), blasint(inputs), 1,
                call.x + first * inputs, blasint(inputs), weights, blasint(inputs), 0,
                call.y + first * outputs + column, blasint(outputs))
            unsafe withUnsafePointer(to: call) { call in
                unsafe kernels.finish(call, first, first + rows, column, column + columns)
            }
        }
    }

    /// OpenBLAS's own threads would fight the pool's.
    static let useOneThreadInBLAS: Void = openblas_set_num_threads(1)

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
