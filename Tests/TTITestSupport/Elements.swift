package import TTICore

// Elements of any type as binary64 numbers, and back.

extension DType {
    /// The nearest number that this type holds.
    package func rounding(_ value: Double) -> Double {
        switch self {
        case .float64: value
        case .bfloat16: Double(BFloat16(Float(value)).float)
        case .float32: Double(Float(value))
        default: preconditionFailure("rounding to \(self)")
        }
    }
}

/// Rows of `width` numbers as 8-bit integers can hold them, each row with a scale of its own: as CTTIKernels' linear_int8.h.
func int8Rounded(_ values: [Double], width: Int) -> [Double] {
    var result = values
    for start in stride(from: 0, to: values.count, by: max(1, width)) {
        let largest = values[start..<start + width].reduce(Float(0)) { max($0, abs(Float($1))) }
        let (scale, inverse) = (largest / 127, largest > 0x1p-100 ? 127 / largest : 0)
        for index in start..<start + width {
            result[index] = Double((Float(values[index]) * inverse).rounded(.toNearestOrEven)) * Double(scale)
        }
    }
    return result
}

extension HostTensor {
    /// Copies of the given numbers, in binary64.
    package init(_ values: [Double], _ shape: Shape) {
        precondition(values.count == shape.elementCount, "\(values.count) values for \(shape)")
        let allocation = HostAllocation(byteCount: values.count * 8)
        unsafe values.withUnsafeBytes { unsafe allocation.bytes.copyMemory(from: $0) }
        unsafe self.init(
            shape: shape, dtype: .float64,
            bytes: UnsafeRawBufferPointer(rebasing: allocation.bytes[0..<values.count * 8]), storage: allocation)
    }

    /// All elements; traps when only the shape is known.
    package func doubles() -> [Double] {
        guard let bytes = unsafe bytes else { preconditionFailure("\(shape) has no elements, only a shape") }
        switch dtype {
        case .float64:
            return (0..<elementCount).map { unsafe bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self) }
        case .int64:
            return (0..<elementCount).map {
                unsafe Double(Int32(truncatingIfNeeded: bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self)))
            }
        case .int32:
            return (0..<elementCount).map { unsafe Double(bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self)) }
        default: return floats().map { Double($0) }
        }
    }
}

extension Tensor {
    /// The first element's address in host memory.
    var pointer: UnsafeMutableRawPointer {
        guard let pointer = unsafe UnsafeMutableRawPointer(bitPattern: address) else {
            preconditionFailure("a tensor without memory: \(shape)")
        }
        return unsafe pointer
    }

    /// The elements `range` of a tensor in host memory.
    func doubles(_ range: Range<Int>) -> [Double] {
        precondition(range.upperBound <= elementCount, "elements \(range) of \(shape)")
        if range.isEmpty { return [] }
        let count = range.count
        return unsafe [Double](unsafeUninitializedCapacity: count) { target, initialized in
            for index in 0..<count {
                unsafe (target.baseAddress! + index).initialize(to: element(range.lowerBound + index))
            }
            initialized = count
        }
    }

    /// All elements of a tensor in host memory.
    func doubles() -> [Double] { doubles(0..<elementCount) }

    /// All elements of an int32 tensor in host memory.
    func integers() -> [Int] {
        precondition(dtype == .int32, "\(dtype) as int32")
        return doubles().map { Int($0) }
    }

    @inline(__always)
    private func element(_ index: Int) -> Double {
        switch dtype {
        case .float64: unsafe pointer.load(fromByteOffset: index * 8, as: Double.self)
        case .float32: unsafe Double(pointer.load(fromByteOffset: index * 4, as: Float.self))
        case .bfloat16:
            unsafe Double(BFloat16(bits: pointer.load(fromByteOffset: index * 2, as: UInt16.self)).float)
        case .int32: unsafe Double(pointer.load(fromByteOffset: index * 4, as: Int32.self))
        default: preconditionFailure("reading \(dtype)")
        }
    }

    /// Fills the elements from `start` on, rounding to the tensor's type.
    func store(_ values: [Double], at start: Int = 0) {
        precondition(start + values.count <= elementCount, "\(values.count) values at \(start) of \(shape)")
        if values.isEmpty { return }
        for (place, value) in values.enumerated() {
            let index = start + place
            switch dtype {
            case .float64: unsafe pointer.storeBytes(of: value, toByteOffset: index * 8, as: Double.self)
            case .float32: unsafe pointer.storeBytes(of: Float(value), toByteOffset: index * 4, as: Float.self)
            case .bfloat16:
                unsafe pointer.storeBytes(
                    of: BFloat16(Float(value)).bits, toByteOffset: index * 2, as: UInt16.self)
            case .int32: unsafe pointer.storeBytes(of: Int32(value), toByteOffset: index * 4, as: Int32.self)
            default: preconditionFailure("writing \(dtype)")
            }
        }
    }
}

extension Columns {
    /// The columns alone, as `[rows, count]`.
    func doubles() -> [Double] {
        let all = tensor.doubles()
        let stride = tensor.shape.last
        var picked: [Double] = []
        picked.reserveCapacity(tensor.rowCount * count)
        for row in 0..<tensor.rowCount { picked += all[row * stride + start..<row * stride + start + count] }
        return picked
    }
}

/// The sum of products of `count` elements of two arrays.
func dot(_ x: [Double], _ xStart: Int, _ y: [Double], _ yStart: Int, _ count: Int) -> Double {
    precondition(xStart + count <= x.count && yStart + count <= y.count, "a product outside of its arrays")
    return unsafe x.withUnsafeBufferPointer { x in
        unsafe y.withUnsafeBufferPointer { y in
            var lanes = SIMD8<Double>.zero
            var index = 0
            while index + 8 <= count {
                var a = SIMD8<Double>.zero
                var b = SIMD8<Double>.zero
                for lane in 0..<8 {
                    unsafe a[lane] = x[xStart + index + lane]
                    unsafe b[lane] = y[yStart + index + lane]
                }
                lanes += a * b
                index += 8
            }
            var sum = lanes.sum()
            while index < count {
                unsafe sum += x[xStart + index] * y[yStart + index]
                index += 1
            }
            return sum
        }
    }
}
