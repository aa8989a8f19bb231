/// The memory of a step: one buffer, given out from the bottom up and rewound as a whole.
///
/// A step that begins at the same mark gets the same addresses every time, which is what lets it be recorded, and what
/// keeps allocation out of it. Running out is a fault of the plan that sized the arena, and traps.
package final class Arena {
    /// The memory; its byte count is the capacity.
    package let buffer: Buffer
    /// Every tensor starts at a multiple of this many bytes.
    package static let alignment = 256
    /// Where the next tensor goes, in bytes.
    package private(set) var mark = 0
    /// The highest mark so far.
    package private(set) var peak = 0

    package init(buffer: Buffer) { self.buffer = buffer }

    /// Traps when the arena is full.
    package func allocate(_ shape: Shape, _ dtype: DType) -> Tensor {
        let tensor = Tensor(buffer: buffer, byteOffset: mark, shape: shape, dtype: dtype)
        let end = (mark + tensor.byteCount + Arena.alignment - 1) & ~(Arena.alignment - 1)
        precondition(end <= buffer.byteCount, "arena of \(buffer.byteCount) bytes: no room for \(dtype) \(shape)")
        mark = end
        peak = max(peak, end)
        return tensor
    }

    /// Gives back everything that was allocated since `mark` was read.
    package func rewind(to mark: Int) {
        precondition(mark <= self.mark, "rewinding forwards")
        self.mark = mark
    }

    /// Forgets the highest mark, so that the next request's own peak can be read.
    package func resetPeak() { peak = mark }
}
