/// The merges of a byte-pair model: from two ids to the id of the joined piece, with its rank.
///
/// A hash table of its own, because a word of n characters asks it 4 n times. Keys are multiplied by an odd number drawn once
/// per process, so no file can aim at collisions.
struct MergeTable: Sendable {
    struct Merge: Sendable {
        var rank: Int
        var id: Int
    }

    /// (left << 32 | right) + 1; 0 is an empty slot.
    private var keys: [UInt64]
    /// rank << 32 | id.
    private var values: [UInt64]
    private(set) var count = 0

    private static let multiplier = UInt64.random(in: .min ... .max) | 1

    init(expectedCount: Int = 0) {
        var slots = 16
        while slots < expectedCount * 2 { slots *= 2 }
        keys = Array(repeating: 0, count: slots)
        values = Array(repeating: 0, count: slots)
    }

    subscript(left: Int, right: Int) -> Merge? {
        let slot = slot(of: Self.key(left, right))
        guard keys[slot] != 0 else { return nil }
        return Merge(rank: Int(values[slot] >> 32), id: Int(values[slot] & 0xffff_ffff))
    }

    /// A pair that is there already gets the new merge, as in the reference.
    mutating func set(_ left: Int, _ right: Int, _ merge: Merge) {
        if (count + 1) * 2 > keys.count { grow() }
        let key = Self.key(left, right)
        let slot = slot(of: key)
        if keys[slot] == 0 { count += 1 }
        keys[slot] = key
        values[slot] = UInt64(merge.rank) << 32 | UInt64(merge.id)
    }

    private static func key(_ left: Int, _ right: Int) -> UInt64 { (UInt64(left) << 32 | UInt64(right)) + 1 }

    private func slot(of key: UInt64) -> Int {
        // Folded first, so that left and right both reach the high bits of the product.
        let folded = (key ^ key >> 29) &* Self.multiplier
        var slot = Int(folded >> 32) & (keys.count - 1)
        while keys[slot] != 0, keys[slot] != key { slot = (slot + 1) & (keys.count - 1) }
        return slot
    }

    private mutating func grow() {
        let (oldKeys, oldValues) = (keys, values)
        keys = Array(repeating: 0, count: oldKeys.count * 2)
        values = Array(repeating: 0, count: oldKeys.count * 2)
        for (key, value) in zip(oldKeys, oldValues) where key != 0 {
            let slot = slot(of: key)
            keys[slot] = key
            values[slot] = value
        }
    }
}
