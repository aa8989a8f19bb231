internal import CTTIKernels
import TTICore

/// What the rows of a product are, of which `x` is the first operand.
enum ProductRows {
    /// Those of x.
    case plain
    /// norm(x)
    case normed(NormParameters)
    /// Those of x, and behind each of them the one of another tensor.
    case joined(Tensor)

    /// Whether what is read beside x lies where `target` does.
    func overlap(_ target: Tensor) -> Bool {
        switch self {
        case .plain: false
        case .normed(let norm): target.overlaps(norm.weight) || target.overlaps(norm.bias)
        case .joined(let other): target.overlaps(other)
        }
    }
}

extension CPUBackend {
    /// Rows that a product makes something else of: `body` gets `count` of them from `first` on. They are read where they are
    /// when nothing is done before, and made one at a time in a cache otherwise.
    /// - Parameters:
    ///   - stride: from one row of x to the next.
    ///   - width: of all that a row has.
    ///   - cost: of a row beside what is done here, in reads and writes of an element.
    func forEach(
        _ rows: ProductRows, of x: UnsafePointer<Float>, stride: Int, count: Int, width: Int, cost: Int,
        _ body: (_ first: Int, _ count: Int, _ x: UnsafePointer<Float>) -> Void
    ) {
        switch rows {
        case .plain:
            forRows(count, cost: cost) { range in
                unsafe body(range.lowerBound, range.count, x + range.lowerBound * stride)
            }
        case .normed(let norm):
            let (weight, bias, kernels) = unsafe (norm.weight?.floats, norm.bias?.floats, ctti_norm(isa)!)
            unsafe forRows(count, cost: cost + 3 * width, scratch: width) { range, normed in
                for row in range {
                    unsafe kernels.pointee.rows(
                        normed, x + row * stride, 1, width, norm.kind == .rms, norm.epsilon, weight, bias, nil)
                    unsafe body(row, 1, normed)
                }
            }
        case .joined(let other):
            let rows = unsafe JoinedRows(x, width: stride, other)
            unsafe forRows(count, cost: cost + 2 * width, scratch: width) { range, joined in
                for row in range {
                    unsafe rows.copy(row, to: joined)
                    unsafe body(row, 1, joined)
                }
            }
        }
    }
}

/// Rows of one tensor, and behind each of them the one of another.
@unsafe struct JoinedRows {
    private let first, second: UnsafePointer<Float>
    private let firstWidth, secondWidth: Int

    /// - Parameter width: of a row of x.
    init(_ x: UnsafePointer<Float>, width: Int, _ other: Tensor) {
        unsafe (first, second) = (x, UnsafePointer(other.floats))
        unsafe (firstWidth, secondWidth) = (width, other.shape.last)
    }

    func copy(_ row: Int, to target: UnsafeMutablePointer<Float>) {
        unsafe target.update(from: first + row * firstWidth, count: firstWidth)
        unsafe (target + firstWidth).update(from: second + row * secondWidth, count: secondWidth)
    }
}
