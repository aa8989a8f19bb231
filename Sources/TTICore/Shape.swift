/// The extents of a tensor, outermost first: `[batch, tokens, width]`. At most eight.
package struct Shape: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
    private var extents: SIMD8<Int32>
    private var count: Int32

    /// Traps when there are more than eight extents, or one that does not fit 31 bits.
    package init(_ extents: [Int]) {
        precondition(extents.count <= 8, "a shape has at most eight extents, not \(extents.count)")
        self.extents = SIMD8(repeating: 1)
        self.count = Int32(extents.count)
        for (axis, extent) in extents.enumerated() {
            precondition(extent >= 0 && extent <= Int(Int32.max), "an extent of \(extent) in \(extents)")
            self.extents[axis] = Int32(extent)
        }
    }

    package init(arrayLiteral extents: Int...) { self.init(extents) }

    /// How many extents there are.
    package var rank: Int { Int(count) }

    /// The extent of an axis; negative axes count from the end.
    package subscript(axis: Int) -> Int {
        get { Int(extents[axis < 0 ? rank + axis : axis]) }
        set { extents[axis < 0 ? rank + axis : axis] = Int32(newValue) }
    }

    /// The product of the extents; 1 for a scalar.
    package var elementCount: Int {
        var product = 1
        for axis in 0..<rank { product *= self[axis] }
        return product
    }

    /// The extents as an array.
    package var array: [Int] { (0..<rank).map { self[$0] } }

    /// The innermost extent.
    package var last: Int { self[-1] }

    /// The same shape with another innermost extent.
    package func replacingLast(_ extent: Int) -> Shape {
        var shape = self
        shape[-1] = extent
        return shape
    }

    package var description: String { "[" + array.map(String.init).joined(separator: ", ") + "]" }
}
