/// The type of a tensor's elements.
package enum DType: String, Sendable, Hashable, CaseIterable {
    case float64, float32, float16, bfloat16
    /// Of files only: 4 bits of exponent and no infinity (the "fn" form), 5 bits and infinities (the upper half of float16).
    case float8e4m3, float8e5m2
    case int64, int32, int16, int8
    case uint64, uint32, uint16, uint8, bool

    /// Bytes of one element.
    package var byteCount: Int {
        switch self {
        case .float64, .int64, .uint64: 8
        case .float32, .int32, .uint32: 4
        case .float16, .bfloat16, .int16, .uint16: 2
        case .int8, .uint8, .bool, .float8e4m3, .float8e5m2: 1
        }
    }

    /// What a program whose matrices are of this type holds everything else in: kernels, tables, keys and values. bfloat16
    /// beside int8.
    package var besideMatrices: DType { self == .int8 ? .bfloat16 : self }

    /// Whether elements are floating-point numbers.
    package var isFloatingPoint: Bool {
        switch self {
        case .float64, .float32, .float16, .bfloat16, .float8e4m3, .float8e5m2: true
        default: false
        }
    }
}

/// The upper half of a binary32 number, as bfloat16 holds it.
package struct BFloat16: Sendable, Hashable {
    /// Sign, 8 bits of exponent, 7 bits of mantissa.
    package var bits: UInt16

    package init(bits: UInt16) { self.bits = bits }

    /// Rounds to nearest, ties to even; a NaN stays a NaN.
    package init(_ value: Float) {
        let word = value.bitPattern
        if value.isNaN {
            bits = UInt16(truncatingIfNeeded: word >> 16) | 0x40
        } else {
            let rounding = 0x7fff + ((word >> 16) & 1)
            bits = UInt16(truncatingIfNeeded: (word &+ rounding) >> 16)
        }
    }

    /// The same number, exactly.
    package var float: Float { Float(bitPattern: UInt32(bits) << 16) }
}
