internal import Glibc
internal import TTICore

/// Random tensors of any name and shape, made at the speed of memory: a block of a million normal numbers is drawn once
/// and then scaled, from a start that depends on the tensor's name.
final class RandomWeights: WeightSource {
    private let seed: UInt64
    private let dtype: DType
    private let block: [Float]
    private static let blockCount = 1 << 20

    init(seed: UInt64, dtype: DType) {
        precondition(dtype.isFloatingPoint, "random weights of type \(dtype)")
        self.seed = seed
        self.dtype = dtype
        var generator = SplitMix64(state: seed)
        var block = [Float](repeating: 0, count: Self.blockCount)
        // Box and Muller's pairs.
        for index in stride(from: 0, to: Self.blockCount, by: 2) {
            let radius = (-2 * log(1 - generator.unit())).squareRoot()
            let angle = 2 * Double.pi * generator.unit()
            block[index] = Float(radius * cos(angle))
            block[index + 1] = Float(radius * sin(angle))
        }
        self.block = block
    }

    var names: [String]? { nil }
    func contains(_ name: String) -> Bool { true }
    func place(of name: String?) -> String? { nil }

    func tensor(_ name: String, _ shape: Shape) -> HostTensor? {
        var mean: Float = 0
        var deviation: Float = 0.02
        if shape.rank >= 2 {
            var fanIn = 1.0
            for axis in 1..<shape.rank { fanIn *= Double(shape[axis]) }
            deviation = Float(1 / max(fanIn, 1).squareRoot())
        } else if name.hasSuffix("weight") || name.hasSuffix("gamma") {
            mean = 1
        }
        var generator = SplitMix64(state: seed)
        for byte in name.utf8 { generator = SplitMix64(state: generator.next() ^ UInt64(byte)) }
        let allocation = HostAllocation(byteCount: shape.elementCount * dtype.byteCount)
        var start = Int(generator.next() % UInt64(Self.blockCount))
        var filled = 0
        while filled < shape.elementCount {
            let count = min(shape.elementCount - filled, Self.blockCount - start)
            fill(allocation, from: filled, block[start..<start + count], mean, deviation)
            filled += count
            start = 0
        }
        return unsafe HostTensor(
            shape: shape, dtype: dtype,
            bytes: UnsafeRawBufferPointer(rebasing: allocation.bytes[0..<shape.elementCount * dtype.byteCount]),
            storage: allocation)
    }

    private func fill(
        _ target: HostAllocation, from first: Int, _ block: ArraySlice<Float>, _ mean: Float, _ deviation: Float
    ) {
        unsafe block.withUnsafeBufferPointer { block in
            let count = block.count
            guard let start = unsafe target.bytes.baseAddress else { return }
            let place = unsafe start + first * dtype.byteCount
            switch dtype {
            case .float32:
                let values = unsafe place.bindMemory(to: Float.self, capacity: count)
                for index in 0..<count { unsafe values[index] = mean + deviation * block[index] }
            case .bfloat16:
                let values = unsafe place.bindMemory(to: UInt16.self, capacity: count)
                for index in 0..<count {
                    // The numbers are finite, so rounding needs no care for NaN.
                    let bits = unsafe (mean + deviation * block[index]).bitPattern
                    unsafe values[index] = UInt16(truncatingIfNeeded: (bits &+ (0x7fff &+ ((bits >> 16) & 1))) >> 16)
                }
            case .float16:
                let values = unsafe place.bindMemory(to: Float16.self, capacity: count)
                for index in 0..<count { unsafe values[index] = Float16(mean + deviation * block[index]) }
            case .float64:
                let values = unsafe place.bindMemory(to: Double.self, capacity: count)
                for index in 0..<count { unsafe values[index] = Double(mean + deviation * block[index]) }
            default: preconditionFailure("random weights in \(dtype)")
            }
        }
    }
}

/// Steele, Lea and Flood's generator: enough for weights that nobody trains.
struct SplitMix64 {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// In 0..<1.
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
