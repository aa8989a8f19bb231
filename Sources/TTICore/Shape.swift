/// The extents of a tensor, outermost first: `[batch, tokens, width]`. At most eight.
@usableFromInline package struct Shape: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
    private var extents: SIMD8<Int32>
    private var count: Int32

    /// Traps when there are more than eight extents, or one that does not fit 31 bits.
    ///
    /// Inlined, as the literal is, so that the list is not on the heap: a step makes shapes by the hundred.
    @inlinable @inline(__always) package init(_ extents: [Int]) {
        self.init(rank: extents.count)
        for axis in 0..<extents.count { self[axis] = extents[axis] }
    }

    @inlinable @inline(__always) package init(arrayLiteral extents: Int...) { self.init(extents) }

    /// Two or three extents without a list, for steps: a function that has a kilobyte on its stack already has its lists on the
    /// heap.
    package init(_ first: Int, _ second: Int, _ third: Int? = nil) {
        self.init(rank: third == nil ? 2 : 3)
        self[0] = first
        self[1] = second
        if let third { self[2] = third }
    }

    /// As many extents, all of them 1.
    @usableFromInline init(rank: Int) {
        precondition(rank <= 8, "a shape has at most eight extents, not \(rank)")
        extents = SIMD8(repeating: 1)
        count = Int32(rank)
    }

    /// How many extents there are.
    package var rank: Int { Int(count) }

    /// The extent of an axis; negative axes count from the end.
    @usableFromInline package subscript(axis: Int) -> Int {
        get { Int(extents[axis < 0 ? rank + axis : axis]) }
        set {
            precondition(newValue >= 0 && newValue <= Int(Int32.max), "an extent of \(newValue) in \(self)")
            extents[axis < 0 ? rank + axis : axis] = Int32(newValue)
        }
    }

    /// The extents of some axes.
    package subscript(axes: Range<Int>) -> Shape {
        var shape = Shape(rank: axes.count)
        for axis in axes { shape[axis - axes.lowerBound] = self[axis] }
        return shape
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

    /// The same shape with one more extent, innermost.
    package func appending(_ extent: Int) -> Shape {
        var shape = Shape(rank: rank + 1)
        for axis in 0..<rank { shape[axis] = self[axis] }
        shape[-1] = extent
        return shape
    }

    @usableFromInline package var description: String { "[" + array.map(String.init).joined(separator: ", ") + "]" }
}
