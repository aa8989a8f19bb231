/// A trie over bytes: which of many texts begin at a place, in one walk.
///
/// The edges lie in one hash table keyed by (node, byte), multiplied by an odd number drawn once per process: a walk
/// costs one look a byte whatever the fan-out, and a file cannot aim at collisions.
struct ByteTrie: Sendable {
    static let root: UInt32 = 0

    /// (node << 8 | byte) + 1; 0 is an empty slot.
    private var keys: [UInt64]
    private var children: [UInt32]
    /// The value that ends at a node, or -1.
    private var values: [Int32] = [-1]
    private var edgeCount = 0

    private static let multiplier = UInt64.random(in: .min ... .max) | 1

    init() {
        keys = Array(repeating: 0, count: 64)
        children = Array(repeating: 0, count: 64)
    }

    /// Adds a text. A text that is there already gets the new value.
    mutating func insert(_ text: some Sequence<UInt8>, value: Int) {
        var node = Self.root
        for byte in text {
            if let child = child(of: node, byte) {
                node = child
                continue
            }
            if (edgeCount + 1) * 2 > keys.count { grow() }
            let key = Self.key(node, byte)
            let slot = slot(of: key)
            node = UInt32(values.count)
            keys[slot] = key
            children[slot] = node
            values.append(-1)
            edgeCount += 1
        }
        values[Int(node)] = Int32(value)
    }

    /// The node after one more byte; nil where no text goes on like this.
    func child(of node: UInt32, _ byte: UInt8) -> UInt32? {
        let slot = slot(of: Self.key(node, byte))
        return keys[slot] == 0 ? nil : children[slot]
    }

    /// The value of the text that ends here.
    func value(at node: UInt32) -> Int? {
        let value = values[Int(node)]
        return value < 0 ? nil : Int(value)
    }

    /// The longest text that begins at `start`, with the index after it.
    func longestMatch(in bytes: ArraySlice<UInt8>, at start: Int) -> (value: Int, end: Int)? {
        var node = Self.root
        var best: (value: Int, end: Int)?
        var index = start
        while index < bytes.endIndex, let next = child(of: node, bytes[index]) {
            node = next
            index += 1
            if let value = value(at: node) { best = (value, index) }
        }
        return best
    }

    private static func key(_ node: UInt32, _ byte: UInt8) -> UInt64 { UInt64(node) << 8 + UInt64(byte) + 1 }

    private func slot(of key: UInt64) -> Int {
        // The high bits of the product depend on all bits of the key.
        var slot = Int((key &* Self.multiplier) >> 32) & (keys.count - 1)
        while keys[slot] != 0, keys[slot] != key { slot = (slot + 1) & (keys.count - 1) }
        return slot
    }

    private mutating func grow() {
        let (oldKeys, oldChildren) = (keys, children)
        keys = Array(repeating: 0, count: oldKeys.count * 2)
        children = Array(repeating: 0, count: oldKeys.count * 2)
        for (key, child) in zip(oldKeys, oldChildren) where key != 0 {
            let slot = slot(of: key)
            keys[slot] = key
            children[slot] = child
        }
    }
}
