/// Makes damaged inputs from valid ones; the same seed makes the same ones.
struct Mutator {
    private var state: UInt64
    private let words: [[UInt8]]

    init(seed: UInt64, target: FuzzTarget) {
        state = seed
        words = target.words.map { Array($0.utf8) }
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// In 0..<bound; 0 when there is no number.
    private mutating func below(_ bound: Int) -> Int { bound <= 1 ? 0 : Int(next() % UInt64(bound)) }

    mutating func mutant(of pool: [[UInt8]]) -> [UInt8] {
        var bytes = pool.isEmpty ? [] : pool[below(pool.count)]
        for _ in 0...below(4) { mutate(&bytes, pool) }
        if bytes.count > 1 << 16 { bytes.removeLast(bytes.count - 1 << 16) }
        return bytes
    }

    private mutating func mutate(_ bytes: inout [UInt8], _ pool: [[UInt8]]) {
        let place = below(bytes.count)
        let length = min(below(16) + 1, bytes.count - place)
        switch below(12) {
        case 0 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8(below(8))
        case 1 where !bytes.isEmpty: bytes[place] = UInt8(truncatingIfNeeded: next())
        case 2: bytes.insert(UInt8(truncatingIfNeeded: next()), at: place)
        case 3: bytes.removeSubrange(place..<place + length)
        case 4: bytes.insert(contentsOf: bytes[place..<place + length], at: below(bytes.count))
        case 5: bytes.removeLast(bytes.count - place)
        case 6 where !words.isEmpty: bytes.insert(contentsOf: words[below(words.count)], at: place)
        case 7 where !words.isEmpty:
            let word = words[below(words.count)]
            bytes.replaceSubrange(place..<min(bytes.count, place + word.count), with: word)
        case 8: changeNumber(&bytes, from: place)
        case 9 where !pool.isEmpty:
            // The beginning of this, the end of another.
            let other = pool[below(pool.count)]
            bytes = Array(bytes[..<place]) + other[below(other.count)...]
        case 10:
            // A binary number of four bytes, of the kind that breaks arithmetic.
            let values: [UInt32] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 255, 256, 65_535, 100_000_000]
            let value = values[below(values.count)]
            for index in 0..<4 where place + index < bytes.count {
                bytes[place + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index)))
            }
        default:
            let other = below(bytes.count)
            if !bytes.isEmpty { bytes.swapAt(place, other) }
        }
    }

    /// Replaces the next decimal number by an interesting one.
    private mutating func changeNumber(_ bytes: inout [UInt8], from place: Int) {
        let isDigit: (UInt8) -> Bool = { (0x30...0x39).contains($0) }
        guard let start = bytes[place...].firstIndex(where: isDigit) else { return }
        let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
        let values = [
            "0", "1", "-1", "4", "8", "127", "4294967296", "9223372036854775807", "9223372036854775808", "1e9", "0.5",
        ]
        let old = Int(String(decoding: bytes[start..<end], as: UTF8.self)) ?? 0
        let new = below(3) == 0 ? String(old &+ below(3) &- 1) : values[below(values.count)]
        bytes.replaceSubrange(start..<end, with: new.utf8)
    }
}
