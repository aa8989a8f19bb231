internal import CTTIKernels
import TTICore

// Products of rounded rows, which AMX's tiles and VDPBF16PS multiply: rows are rounded to bfloat16 first, all of them, then
// cut up.

/// How rounded rows lie, and how a product of them is cut up: the bits do not depend on it.
private struct RoundedRows {
    /// Units of 16 rows; there is room for whole ones.
    let units: Int
    /// With zeros.
    let depth: Int
    /// Elements from row to row: an odd number of lines, so that rows begin in different sets of the cache.
    let stride: Int
    /// Blocks of units of a mebibyte, which stay in the second-level cache beside a panel.
    let blocks: Int

    init(rows: Int, inputs: Int) {
        units = (rows + 15) / 16
        depth = ctti_packed_depth(false, inputs)
        stride = depth + (depth / 32 % 2 == 0 ? 32 : 0)
        blocks = max(1, min(units, (units * 16 * stride + (1 << 18)) / (1 << 19)))
    }

    /// In floats.
    var scratchCount: Int { units * 16 * stride / 2 }

    /// Parts of at least about a microsecond.
    func parts(of panels: Int, threads: Int) -> Int {
        min(panels, max(1, min(max(1, units * panels * depth / 4096), 8 * threads) / blocks))
    }
}

extension CPUBackend {
    func multiplyRounded(_ product: ctti_product, _ rows: ProductRows, panels: Int) {
        let form = unsafe RoundedRows(rows: product.rows, inputs: product.segment_depth)
        unsafe withScratch(form.scratchCount) { scratch in
            let halves = unsafe UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt16.self)
            unsafe round(product, rows, to: halves, form)
            unsafe multiply(halves, product, form, panels: panels)
        }
    }

    private func round(
        _ product: ctti_product, _ rows: ProductRows, to halves: UnsafeMutablePointer<UInt16>, _ form: RoundedRows
    ) {
        let (inputs, stride) = unsafe (product.segment_depth, product.row_stride)
        unsafe forEach(
            rows, of: product.x, stride: stride, count: product.rows, width: inputs, cost: inputs
        ) { first, count, x in
            unsafe ctti_round_rows(
                halves + first * form.stride, form.stride, x, stride, count, inputs, form.depth)
        }
    }

    private func multiply(
        _ halves: UnsafeMutablePointer<UInt16>, _ product: ctti_product, _ form: RoundedRows, panels: Int
    ) {
        var product = unsafe product
        unsafe product.row_stride = form.stride
        let (units, blocks) = (form.units, form.blocks)
        let parts = form.parts(of: panels, threads: pool.threadCount)
        let isa = isa
        pool.forEach(blocks * parts) { index in
            let (block, part) = (index / parts, index % parts)
            unsafe withUnsafePointer(to: product) { product in
                unsafe ctti_multiply_rounded(
                    isa, product, halves, units * block / blocks, units * (block + 1) / blocks, panels * part / parts,
                    panels * (part + 1) / parts)
            }
        }
    }

    /// A gated feed-forward whose products round their rows: what is between them is only ever read as bfloat16, so it is
    /// written as that.
    func gateRounded(
        _ x: Tensor, _ norm: NormParameters?, _ wide: Panels, inputBias: Tensor?, _ narrow: Panels, outputBias: Tensor?,
        activation: Activation, order: GateOrder, adding residual: Tensor?, into y: Tensor
    ) {
        let width = narrow.inputs
        var first = unsafe product(x, wide, y, bias: nil, activation, adding: nil)
        unsafe first.outputs = 2 * width
        if let inputBias {
            precondition(inputBias.elementCount == 2 * width, "bias \(inputBias.shape) to \(2 * width) outputs")
            unsafe first.bias = UnsafePointer(inputBias.floats)
        }
        var second = unsafe product(x, narrow, y, bias: outputBias, .identity, adding: residual)
        unsafe second.segment_depth = width
        let outer = RoundedRows(rows: x.rowCount, inputs: wide.inputs)
        let inner = RoundedRows(rows: x.rowCount, inputs: width)
        let gateFirst = order == .gateFirst
        unsafe withScratch(outer.scratchCount + inner.scratchCount) { scratch in
            let halves = unsafe UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt16.self)
            let gated = unsafe halves + 2 * outer.scratchCount
            unsafe round(first, norm.map { .normed($0) } ?? .plain, to: halves, outer)
            unsafe first.row_stride = outer.stride
            let (product, units, blocks, panels) = unsafe (first, outer.units, outer.blocks, width / 32)
            let parts = outer.parts(of: panels, threads: pool.threadCount)
            let isa = isa
            pool.forEach(blocks * parts) { index in
                let (block, part) = (index / parts, index % parts)
                unsafe withUnsafePointer(to: product) { product in
                    unsafe ctti_multiply_rounded_gated(
                        isa, product, halves, gateFirst, gated, inner.stride, units * block / blocks,
                        units * (block + 1) / blocks, panels * part / parts, panels * (part + 1) / parts)
                }
            }
            unsafe multiply(gated, second, inner, panels: narrow.count)
        }
    }
}
