/// Memory of one device. Freed when the last tensor over it goes.
package final class Buffer {
    /// A host pointer's or a device pointer's bit pattern; 0 where nothing is computed (accounting).
    package let address: UInt
    /// How many bytes there are.
    package let byteCount: Int
    private let release: () -> Void

    package init(address: UInt, byteCount: Int, release: @escaping () -> Void) {
        self.address = address
        self.byteCount = byteCount
        self.release = release
    }

    deinit { release() }
}

/// Contiguous row-major elements in a device's memory. A value: cheap to pass, and never strided.
///
/// Images are `[batch, height, width, channels]`, sequences `[batch, tokens, width]`.
package struct Tensor {
    package let buffer: Buffer
    /// Where the first element is, in bytes from the start of the buffer.
    package let byteOffset: Int
    package let shape: Shape
    package let dtype: DType

    package init(buffer: Buffer, byteOffset: Int, shape: Shape, dtype: DType) {
        self.buffer = buffer
        self.byteOffset = byteOffset
        self.shape = shape
        self.dtype = dtype
    }

    package var elementCount: Int { shape.elementCount }
    package var byteCount: Int { elementCount * dtype.byteCount }
    /// The address of the first element.
    package var address: UInt { buffer.address + UInt(byteOffset) }
    /// The product of all extents but the last.
    package var rowCount: Int { shape.last == 0 ? 0 : elementCount / shape.last }

    /// Whether the two share memory.
    package func overlaps(_ other: Tensor?) -> Bool {
        guard let other else { return false }
        return address < other.address + UInt(other.byteCount) && other.address < address + UInt(byteCount)
    }

    /// The same elements in another shape; traps when the counts differ.
    package func reshaped(_ shape: Shape) -> Tensor {
        precondition(shape.elementCount == elementCount, "\(self.shape) as \(shape)")
        return Tensor(buffer: buffer, byteOffset: byteOffset, shape: shape, dtype: dtype)
    }

    /// The entries `range` of the first axis: contiguous, so nothing is copied.
    package func prefixRows(_ range: Range<Int>) -> Tensor {
        precondition(range.upperBound <= shape[0], "rows \(range) of \(shape)")
        let rowBytes = shape[0] == 0 ? 0 : byteCount / shape[0]
        var part = shape
        part[0] = range.count
        return Tensor(
            buffer: buffer, byteOffset: byteOffset + range.lowerBound * rowBytes, shape: part, dtype: dtype)
    }

    /// All columns of the last axis, for operations that read a part of each row.
    package var columns: Columns { Columns(tensor: self, start: 0, count: shape.last) }

    /// Part `index` of `count` equal parts of the last axis, such as the queries in `[batch, tokens, 3 * width]`.
    package func columns(_ index: Int, of count: Int) -> Columns {
        precondition(shape.last % count == 0, "\(count) equal parts of \(shape)")
        let width = shape.last / count
        return Columns(tensor: self, start: index * width, count: width)
    }
}

/// A range of columns of a tensor's last axis: how one product's output serves as queries, keys and values without a
/// copy. The only strided thing that an operation takes.
package struct Columns {
    package let tensor: Tensor
    package let start: Int
    package let count: Int
}
