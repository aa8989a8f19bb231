internal import CTTIKernels
internal import Glibc
import TTICore

// Elements of host tensors in the types that a CPU computes with.
extension CPUBackend {
    /// Traps when there is no such conversion. The source need not be aligned.
    static func convert(
        _ source: UnsafeRawPointer, _ from: DType, to target: UnsafeMutableRawPointer, _ dtype: DType, count: Int
    ) {
        switch dtype {
        case .float32:
            unsafe widen(source, from, to: target.assumingMemoryBound(to: Float.self), count: count)
        case .bfloat16:
            unsafe narrow(source, from, to: target.assumingMemoryBound(to: UInt16.self), count: count)
        case .int32:
            switch from {
            case .int32, .uint32: unsafe target.copyMemory(from: source, byteCount: count * 4)
            case .int64:
                let integers = unsafe target.assumingMemoryBound(to: Int32.self)
                for index in 0..<count {
                    unsafe integers[index] = Int32(
                        truncatingIfNeeded: source.loadUnaligned(fromByteOffset: index * 8, as: Int64.self))
                }
            default: preconditionFailure("\(from) as int32")
            }
        default: preconditionFailure("\(from) as \(dtype)")
        }
    }

    /// As float32.
    static func widen(_ source: UnsafeRawPointer, _ dtype: DType, to target: UnsafeMutablePointer<Float>, count: Int) {
        switch dtype {
        case .float32: unsafe memcpy(target, source, count * 4)
        case .bfloat16: unsafe ctti_float32_of_bfloat16(target, source, count)
        case .float16: unsafe ctti_float32_of_float16(target, source, count)
        case .float64: unsafe ctti_float32_of_float64(target, source, count)
        case .float8e4m3: unsafe ctti_float32_of_float8_e4m3(target, source, count)
        case .float8e5m2: unsafe ctti_float32_of_float8_e5m2(target, source, count)
        case .uint8, .bool:
            for index in 0..<count { unsafe target[index] = Float(source.load(fromByteOffset: index, as: UInt8.self)) }
        default: preconditionFailure("\(dtype) as float32")
        }
    }

    private static func narrow(
        _ source: UnsafeRawPointer, _ dtype: DType, to target: UnsafeMutablePointer<UInt16>, count: Int
    ) {
        switch dtype {
        case .bfloat16: unsafe memcpy(target, source, count * 2)
        case .float32: unsafe ctti_bfloat16_of_float32(target, source, count)
        case .float16: unsafe ctti_bfloat16_of_float16(target, source, count)
        case .float8e4m3: unsafe ctti_bfloat16_of_float8_e4m3(target, source, count)
        case .float8e5m2: unsafe ctti_bfloat16_of_float8_e5m2(target, source, count)
        case .float64:
            for index in 0..<count {
                let value = unsafe source.loadUnaligned(fromByteOffset: index * 8, as: Double.self)
                unsafe target[index] = BFloat16(Float(value)).bits
            }
        default: preconditionFailure("\(dtype) as bfloat16")
        }
    }
}
