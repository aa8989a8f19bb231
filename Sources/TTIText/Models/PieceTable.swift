/// The pieces of a vocabulary, numbered from 0: bytes from id, id from bytes.
///
/// One pool of bytes and a hash table of positions; looking a piece up allocates nothing. The hash is seeded per process,
/// so no file can be made whose pieces all fall into one slot.
struct PieceTable: Sendable {
    private var pool: [UInt8] = []
    private var ends: [Int] = []
    /// Id + 1; 0 is an empty slot. A power of two of them, at least twice as many as pieces.
    private var slots: [UInt32] = []

    var count: Int { ends.count }

    init(expectedCount: Int = 0) {
        slots = Array(repeating: 0, count: Self.slotCount(for: expectedCount))
        ends.reserveCapacity(expectedCount)
    }

    private static func slotCount(for count: Int) -> Int {
        var slots = 16
        while slots < count * 2 { slots *= 2 }
        return slots
    }

    /// Gives the piece the next id; nil, and nothing changed, when it is there already.
    mutating func append(_ piece: [UInt8]) -> Int? {
        if (count + 1) * 2 > slots.count { grow() }
        let slot = slot(of: piece.span)
        guard slots[slot] == 0 else { return nil }
        pool.append(contentsOf: piece)
        ends.append(pool.count)
        slots[slot] = UInt32(count)
        return count - 1
    }

    /// Adds a piece that cannot be looked up: an id that a file has to fill without saying anything.
    mutating func appendUnfindable(_ piece: [UInt8]) {
        pool.append(contentsOf: piece)
        ends.append(pool.count)
    }

    func id(of piece: [UInt8]) -> Int? { id(of: piece.span) }

    func id(of piece: Span<UInt8>) -> Int? {
        let found = slots[slot(of: piece)]
        return found == 0 ? nil : Int(found) - 1
    }

    func bytes(of id: Int) -> ArraySlice<UInt8> { pool[(id == 0 ? 0 : ends[id - 1])..<ends[id]] }

    /// The slot that holds the piece, or the empty one where it belongs.
    private func slot(of piece: Span<UInt8>) -> Int {
        var slot = Self.hash(piece) & (slots.count - 1)
        while slots[slot] != 0, !isEqual(Int(slots[slot]) - 1, piece) { slot = (slot + 1) & (slots.count - 1) }
        return slot
    }

    private static func hash(_ piece: Span<UInt8>) -> Int {
        var hasher = Hasher()
        unsafe piece.withUnsafeBytes { bytes in unsafe hasher.combine(bytes: bytes) }
        return hasher.finalize()
    }

    private func isEqual(_ id: Int, _ piece: Span<UInt8>) -> Bool {
        let start = id == 0 ? 0 : ends[id - 1]
        guard ends[id] - start == piece.count else { return false }
        for offset in 0..<piece.count where pool[start + offset] != piece[offset] { return false }
        return true
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: 0, count: old.count * 2)
        for entry in old where entry != 0 {
            let slot = slot(of: bytes(of: Int(entry) - 1).span)
            slots[slot] = entry
        }
    }
}
