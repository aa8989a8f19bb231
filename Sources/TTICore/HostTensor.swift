/// Where the bytes of a host tensor are kept: a mapped file, an array, nowhere (shapes only).
///
/// An owner of memory, which frees it when the last tensor over it goes. Owners live in other rooms too, where a `package`
/// class could not be inherited from.
package protocol HostStorage: AnyObject {}

/// Memory of its own.
@safe
package final class HostAllocation: HostStorage {
    package let bytes: UnsafeMutableRawBufferPointer

    package init(byteCount: Int) {
        // As malloc aligns by itself: what is aligned further, and given back, older C libraries cannot give out again for the
        // next of the same size, and a large network's matrices would leave gigabytes of such holes.
        unsafe bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(byteCount, 1), alignment: 16)
    }

    deinit { unsafe bytes.deallocate() }
}

/// Elements in host memory, as a file or a test holds them: contiguous, row-major, little-endian.
///
/// This is what a `Backend` is given when weights are prepared. `bytes` is nil when only the shape is known (accounting).
/// The address need not be aligned for the element type.
@safe
package struct HostTensor {
    package let shape: Shape
    package let dtype: DType
    package let bytes: UnsafeRawBufferPointer?
    package let storage: (any HostStorage)?

    /// - Parameters:
    ///   - bytes: `shape.elementCount * dtype.byteCount` bytes, kept alive by `storage`; traps when the count differs.
    package init(shape: Shape, dtype: DType, bytes: UnsafeRawBufferPointer, storage: any HostStorage) {
        precondition(bytes.count == shape.elementCount * dtype.byteCount, "\(bytes.count) bytes for \(shape)")
        self.shape = shape
        self.dtype = dtype
        unsafe self.bytes = bytes
        self.storage = storage
    }

    /// A tensor of which only the shape is known.
    package init(shape: Shape, dtype: DType) {
        self.shape = shape
        self.dtype = dtype
        unsafe bytes = nil
        storage = nil
    }

    /// Copies of the given numbers.
    package init(_ values: [Float], _ shape: Shape) {
        precondition(values.count == shape.elementCount, "\(values.count) values for \(shape)")
        let allocation = HostAllocation(byteCount: values.count * 4)
        unsafe values.withUnsafeBytes { unsafe allocation.bytes.copyMemory(from: $0) }
        unsafe self.init(
            shape: shape, dtype: .float32,
            bytes: UnsafeRawBufferPointer(rebasing: allocation.bytes[0..<values.count * 4]), storage: allocation)
    }

    /// Copies of the given numbers.
    package init(_ values: [Int32], _ shape: Shape) {
        precondition(values.count == shape.elementCount, "\(values.count) values for \(shape)")
        let allocation = HostAllocation(byteCount: values.count * 4)
        unsafe values.withUnsafeBytes { unsafe allocation.bytes.copyMemory(from: $0) }
        unsafe self.init(
            shape: shape, dtype: .int32,
            bytes: UnsafeRawBufferPointer(rebasing: allocation.bytes[0..<values.count * 4]), storage: allocation)
    }

    /// How many elements there are.
    package var elementCount: Int { shape.elementCount }

    /// The same elements in another shape; traps when the counts differ.
    package func reshaped(_ shape: Shape) -> HostTensor {
        precondition(shape.elementCount == elementCount, "\(self.shape) as \(shape)")
        guard let bytes = unsafe bytes, let storage else { return HostTensor(shape: shape, dtype: dtype) }
        return unsafe HostTensor(shape: shape, dtype: dtype, bytes: bytes, storage: storage)
    }

    /// A depthwise kernel `[channels, 1, height, width]` as `[height, width, channels]` float32.
    package func channelsLast() -> HostTensor {
        let (channels, height, width) = (shape[0], shape[2], shape[3])
        let source = floats()
        var turned = [Float](repeating: 0, count: source.count)
        for channel in 0..<channels {
            for tap in 0..<height * width { turned[tap * channels + channel] = source[channel * height * width + tap] }
        }
        return HostTensor(turned, [height, width, channels])
    }

    /// All elements as binary32 numbers; zeros when only the shape is known.
    package func floats() -> [Float] {
        guard let bytes = unsafe bytes else { return [Float](repeating: 0, count: elementCount) }
        let count = elementCount
        return unsafe [Float](unsafeUninitializedCapacity: count) { target, initialized in
            for index in 0..<count {
                let value: Float
                switch dtype {
                case .float32: value = unsafe bytes.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
                case .float64: value = unsafe Float(bytes.loadUnaligned(fromByteOffset: index * 8, as: Double.self))
                case .float16: value = unsafe widenHalf(bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
                case .bfloat16:
                    value = unsafe BFloat16(bits: bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)).float
                case .float8e4m3: value = unsafe widenE4M3(bytes[index])
                case .float8e5m2: value = unsafe widenHalf(UInt16(bytes[index]) << 8)
                case .int64: value = unsafe Float(bytes.loadUnaligned(fromByteOffset: index * 8, as: Int64.self))
                case .int32: value = unsafe Float(bytes.loadUnaligned(fromByteOffset: index * 4, as: Int32.self))
                case .int16: value = unsafe Float(bytes.loadUnaligned(fromByteOffset: index * 2, as: Int16.self))
                case .int8: value = unsafe Float(bytes.loadUnaligned(fromByteOffset: index, as: Int8.self))
                case .uint64: value = unsafe Float(bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
                case .uint32: value = unsafe Float(bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
                case .uint16: value = unsafe Float(bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
                case .uint8, .bool: value = unsafe Float(bytes[index])
                }
                unsafe (target.baseAddress! + index).initialize(to: value)
            }
            initialized = count
        }
    }
}

/// A binary16 number as binary32, exactly; subnormals and infinities included.
package func widenHalf(_ half: UInt16) -> Float {
    let sign = UInt32(half & 0x8000) << 16
    let exponent = UInt32(half >> 10) & 0x1f
    let mantissa = UInt32(half & 0x3ff)
    if exponent == 0x1f { return Float(bitPattern: sign | 0x7f80_0000 | mantissa << 13) }
    if exponent == 0 {
        let magnitude = Float(mantissa) * 0x1p-24
        return sign == 0 ? magnitude : -magnitude
    }
    return Float(bitPattern: sign | (exponent + 112) << 23 | mantissa << 13)
}

/// An 8-bit number with 4 bits of exponent as binary32, exactly: no infinity, and NaN where every bit but the sign is set (OCP's
/// E4M3, torch's float8_e4m3fn).
package func widenE4M3(_ byte: UInt8) -> Float {
    let magnitude = byte & 0x7f
    // Exponents differ by 120: a product with 2¹²⁰ is exact, for subnormal numbers too.
    let value = magnitude == 0x7f ? Float.nan : Float(bitPattern: UInt32(magnitude) << 20) * 0x1p120
    return byte & 0x80 == 0 ? value : -value
}
