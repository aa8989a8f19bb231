import TTICore

extension HostTensor {
    /// Tensors one below the other along their first axis: three `[width, inputs]` become `[3 · width, inputs]`.
    ///
    /// Bytes are copied as they are when all have one type, else all become float32. Only shapes in, only shapes out.
    static func stacked(_ parts: [HostTensor]) -> HostTensor {
        precondition(!parts.isEmpty, "nothing to stack")
        if parts.count == 1 { return parts[0] }
        var shape = parts[0].shape
        shape[0] = parts.reduce(0) { $0 + $1.shape[0] }
        let dtype = parts[0].dtype
        guard parts.allSatisfy({ unsafe $0.bytes != nil }) else { return HostTensor(shape: shape, dtype: dtype) }
        guard parts.allSatisfy({ $0.dtype == dtype }) else {
            return HostTensor(parts.flatMap { $0.floats() }, shape)
        }
        let byteCount = shape.elementCount * dtype.byteCount
        let allocation = HostAllocation(byteCount: byteCount)
        var offset = 0
        for part in parts {
            guard let bytes = unsafe part.bytes else { continue }
            unsafe UnsafeMutableRawBufferPointer(rebasing: allocation.bytes[offset...]).copyMemory(from: bytes)
            offset += bytes.count
        }
        return unsafe HostTensor(
            shape: shape, dtype: dtype,
            bytes: UnsafeRawBufferPointer(rebasing: allocation.bytes[0..<byteCount]), storage: allocation)
    }

    /// The first entries along the first axis, nothing copied.
    func prefix(_ count: Int) -> HostTensor {
        var part = shape
        part[0] = count
        guard let bytes = unsafe bytes, let storage else { return HostTensor(shape: part, dtype: dtype) }
        let all = unsafe UnsafeRawBufferPointer(rebasing: bytes[0..<part.elementCount * dtype.byteCount])
        return unsafe HostTensor(shape: part, dtype: dtype, bytes: all, storage: storage)
    }

    /// A transposed convolution's 2×2 kernel `[inputs, outputs, 2, 2]` as the matrix `[4 · outputs, inputs]` that gives
    /// each input pixel its four output pixels, in the order that `depthToSpace` takes: row (2 · dy + dx) · outputs + o.
    func transposedConvolutionMatrix() -> HostTensor {
        let (inputs, outputs) = (shape[0], shape[1])
        let target: Shape = [4 * outputs, inputs]
        guard let source = unsafe bytes else { return HostTensor(shape: target, dtype: dtype) }
        let size = dtype.byteCount
        let allocation = HostAllocation(byteCount: elementCount * size)
        for input in 0..<inputs {
            for output in 0..<outputs {
                for corner in 0..<4 {
                    let from = ((input * outputs + output) * 4 + corner) * size
                    let to = ((corner * outputs + output) * inputs + input) * size
                    for byte in 0..<size { unsafe allocation.bytes[to + byte] = source[from + byte] }
                }
            }
        }
        return unsafe HostTensor(
            shape: target, dtype: dtype,
            bytes: UnsafeRawBufferPointer(rebasing: allocation.bytes[0..<elementCount * size]), storage: allocation)
    }
}
