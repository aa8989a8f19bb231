import TTICore
import Testing

struct TensorTests {
    private func tensor(_ shape: Shape, _ dtype: DType = .float32) -> Tensor {
        Tensor(buffer: Buffer(address: 1 << 20, byteCount: 1 << 20) {}, byteOffset: 64, shape: shape, dtype: dtype)
    }

    @Test func `a shape knows its extents from both ends`() {
        let shape: Shape = [2, 3, 5]
        #expect(shape.rank == 3 && shape[0] == 2 && shape[-1] == 5 && shape.last == 5 && shape.elementCount == 30)
        #expect(shape.replacingLast(7) == [2, 3, 7])
        #expect(shape.description == "[2, 3, 5]")
        #expect(Shape([]).elementCount == 1)
        #expect(Shape([4, 0]).elementCount == 0)
        #expect(([1, 2] as Shape) != ([1, 2, 1] as Shape))
    }

    @Test func `views share memory`() {
        let whole = tensor([4, 3, 2])
        #expect(whole.byteCount == 96 && whole.rowCount == 12)
        let part = whole.prefixRows(1..<3)
        #expect(part.shape == [2, 3, 2] && part.byteOffset == 64 + 24 && part.buffer === whole.buffer)
        #expect(part.address == whole.address + 24)
        #expect(whole.reshaped([24]).byteOffset == 64)
        let columns = tensor([4, 6]).columns(1, of: 3)
        #expect(columns.start == 2 && columns.count == 2)
        #expect(tensor([4, 0]).rowCount == 0)
    }

    @Test func `an arena gives the same places after a rewind, and remembers its peak`() {
        let arena = Arena(buffer: Buffer(address: 0, byteCount: 4096) {})
        let first = arena.allocate([3], .float32)
        let mark = arena.mark
        let second = arena.allocate([65], .float32)
        #expect(first.byteOffset == 0 && mark == Arena.alignment && second.byteOffset == Arena.alignment)
        #expect(arena.mark == 3 * Arena.alignment && arena.peak == arena.mark)
        arena.rewind(to: mark)
        #expect(arena.allocate([1], .int8).byteOffset == second.byteOffset)
        #expect(arena.peak == 3 * Arena.alignment)
        arena.resetPeak()
        #expect(arena.peak == 2 * Arena.alignment)
    }

    @Test func `a buffer is released when its last tensor goes`() {
        var released = 0
        do {
            let buffer = Buffer(address: 16, byteCount: 8) { released += 1 }
            let view = Tensor(buffer: buffer, byteOffset: 0, shape: [2], dtype: .float32).prefixRows(0..<1)
            #expect(view.shape == [1] && released == 0)
        }
        #expect(released == 1)
    }

    @Test func `sizes are checked without wrapping`() {
        #expect(CheckedSize.product([3, 4, 5]) == 60)
        #expect(CheckedSize.product([]) == 1)
        #expect(CheckedSize.product([.max, 2]) == nil)
        #expect(CheckedSize.product([-1, 2]) == nil)
        #expect(CheckedSize.product([1 << 40, 0, 1 << 40]) == nil)
        #expect(CheckedSize.product([7, 0]) == 0)
        #expect(CheckedSize.sum(.max, 1) == nil)
        #expect(CheckedSize.roundUp(5, toMultipleOf: 8) == 8)
        #expect(CheckedSize.roundUp(.max, toMultipleOf: 8) == nil)
    }
}
