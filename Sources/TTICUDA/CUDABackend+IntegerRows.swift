internal import CTTICUDA
internal import TTICore

/// Rows as 8-bit integers, which products with matrices of int8 read.
struct IntegerRows {
    /// The address of `[rows, stride]` int8; past a row's end are zeros.
    let rows: UInt64
    /// Of `[rows]` float32: what a unit of a row stands for.
    let scales: UInt64
}

/// A norm's result, as the norm itself made integers of it.
struct IntegersOfNorm {
    let result: Tensor
    let integers: IntegerRows
    /// `CUDADevice.turn` after the norm.
    let turn: Int
}

extension CUDABackend {
    /// Elements from one row of a matrix, or of integers, to the next: they begin at multiples of 128 bytes.
    func rowStride(_ width: Int) -> Int {
        width.dividedUp(by: 128 / weightType.byteCount) * (128 / weightType.byteCount)
    }

    /// Where the integers of `rows` rows of this width go.
    func placeForIntegers(rows: Int, width: Int) -> IntegerRows {
        IntegerRows(
            rows: scratch("rows in int8", rows * rowStride(width)).device,
            scales: scratch("scales of rows", rows * 4).device)
    }

    /// Makes integers of x.
    func integers(of x: Tensor) -> IntegerRows {
        let width = x.shape.last
        let place = placeForIntegers(rows: x.rowCount, width: width)
        let (kernel, rowsOfBlock) = rowKernel(width: width, isWhole: x.device % 16 == 0, vectors: [1, 2, 4, 8, 16, 32])
        launch(
            "quantise_\(kernel)", grid: (x.rowCount.dividedUp(by: rowsOfBlock), 1, 1), threads: 128,
            tti_quantise_rows(
                y: place.rows, scales: place.scales, x: x.device, rows: Int32(x.rowCount), width: Int32(width),
                stride: Int32(rowStride(width))))
        return place
    }

    /// The integers that a norm made of x, when nothing has been asked for since.
    func integersOfNorm(_ x: Tensor) -> IntegerRows? {
        guard let known = latestIntegers, known.turn == device.turn, known.result.address == x.address,
            known.result.byteCount == x.byteCount, known.result.shape.last == x.shape.last
        else { return nil }
        return known.integers
    }

    /// Which kernel holds a row in registers (rows.cuh): as many vectors of 16 bytes as each lane of a warp would have; from 4
    /// on, four warps have a row. `any` where none does.
    /// - Parameter isWhole: whether addresses are multiples of 16.
    func rowKernel(width: Int, isWhole: Bool, vectors sizes: [Int]) -> (name: String, rowsOfBlock: Int) {
        let vectors = width.dividedUp(by: 32 * lanes)
        guard isWhole, width % lanes == 0, let held = sizes.first(where: { vectors <= $0 }) else { return ("any", 4) }
        return ("\(held)", held < 4 ? 4 : 1)
    }
}
