import TTICore
import Testing

struct NumberTests {
    @Test func `bfloat16 rounds to nearest, ties to even`() {
        #expect(BFloat16(1).bits == 0x3f80)
        // Halfway between 1 and the next number, and between that and the one after.
        #expect(BFloat16(Float(bitPattern: 0x3f80_8000)).bits == 0x3f80)
        #expect(BFloat16(Float(bitPattern: 0x3f81_8000)).bits == 0x3f82)
        #expect(BFloat16(Float(bitPattern: 0x3f80_8001)).bits == 0x3f81)
        #expect(BFloat16(-0.0).bits == 0x8000)
        #expect(BFloat16(.infinity).bits == 0x7f80)
        #expect(BFloat16(Float.greatestFiniteMagnitude).bits == 0x7f80)
        #expect(BFloat16(Float(bitPattern: 0x7f80_0001)).float.isNaN)
        #expect(BFloat16(Float(bitPattern: 0xffff_ffff)).float.isNaN)
    }

    @Test func `every bfloat16 survives the way through binary32`() {
        for bits in UInt16.min...UInt16.max {
            let number = BFloat16(bits: bits)
            if number.float.isNaN { continue }
            #expect(BFloat16(number.float) == number)
        }
    }

    @Test func `halves are widened exactly`() {
        #expect(widenHalf(0x3c00) == 1)
        #expect(widenHalf(0xc000) == -2)
        #expect(widenHalf(0x7bff) == 65504)
        #expect(widenHalf(0x0001) == 0x1p-24)
        #expect(widenHalf(0x83ff) == -0x1.ff8p-15)
        #expect(widenHalf(0x0400) == 0x1p-14)
        #expect(widenHalf(0x7c00) == .infinity && widenHalf(0xfc00) == -.infinity)
        #expect(widenHalf(0x7e00).isNaN)
        #expect(widenHalf(0x8000).sign == .minus && widenHalf(0x8000) == 0)
    }

    @Test func `numbers of eight bits are widened exactly`() {
        for byte in UInt8.min...UInt8.max {
            let (exponent, mantissa) = (Int(byte >> 3 & 0xf), Float(byte & 7))
            let magnitude =
                exponent == 0
                ? mantissa * 0x1p-9 : (1 + mantissa / 8) * Float(sign: .plus, exponent: exponent - 7, significand: 1)
            let value = widenE4M3(byte)
            if byte & 0x7f == 0x7f {
                #expect(value.isNaN)
            } else {
                #expect(value == (byte < 0x80 ? magnitude : -magnitude) && value.sign == (byte < 0x80 ? .plus : .minus))
            }
        }
    }

    @Test func `host tensors copy, convert and reshape`() {
        let numbers = HostTensor([1, 2.5, -3, 4] as [Float], [2, 2])
        #expect(numbers.floats() == [1, 2.5, -3, 4] && numbers.elementCount == 4)
        #expect(numbers.reshaped([4]).shape == [4])
        #expect(HostTensor([1, -2] as [Int32], [2]).floats() == [1, -2])
        let shapeOnly = HostTensor(shape: [3], dtype: .float16)
        #expect(shapeOnly.floats() == [0, 0, 0] && shapeOnly.reshaped([3, 1]).shape == [3, 1])
    }

    @Test func `element types know their sizes`() {
        #expect(DType.allCases.map(\.byteCount) == [8, 4, 2, 2, 1, 1, 8, 4, 2, 1, 8, 4, 2, 1, 1])
        #expect(
            DType.allCases.filter(\.isFloatingPoint)
                == [.float64, .float32, .float16, .bfloat16, .float8e4m3, .float8e5m2])
    }
}
