internal import CTTIKernels
import TTICore

/// A matrix `[outputs, segments · depth]` in 8-bit integers, in the panels of CTTIKernels' linear_int8.h: each output's weights
/// have a scale of their own.
final class Int8Panels {
    let outputs: Int
    let segments: Int
    let depth: Int
    /// int8.
    let elements: Tensor
    /// `[outputs, up to a multiple of 32]` float32: what a unit stands for.
    let scales: Tensor
    /// `[the same]` int32: 128 · the sum of an output's weights.
    let zeros: Tensor

    init(outputs: Int, segments: Int, depth: Int, elements: Tensor, scales: Tensor, zeros: Tensor) {
        self.outputs = outputs
        self.segments = segments
        self.depth = depth
        self.elements = elements
        self.scales = scales
        self.zeros = zeros
    }

    var count: Int { ctti_panel_count(outputs) }
    var inputs: Int { segments * depth }
    /// With the zeros that fill runs up.
    var paddedInputs: Int { segments * ctti_packed_int8_depth(depth) }
}

extension CPUBackend {
    func quantize(_ matrix: HostTensor) throws(DeviceError) -> Int8Panels {
        let (outputs, inputs) = (matrix.shape[0], matrix.shape[1])
        let bytes = matrix.elementCount == 0 ? nil : unsafe matrix.bytes?.baseAddress
        guard let bytes = unsafe bytes else { return try allocateInt8Panels(outputs, segments: 1, depth: inputs) }
        return unsafe try quantize(outputs, segments: 1, depth: inputs, scratch: 32 * inputs) { first, count, scratch in
            unsafe CPUBackend.widen(
                bytes + first * inputs * matrix.dtype.byteCount, matrix.dtype, to: scratch, count: count * inputs)
        }
    }

    private func allocateInt8Panels(_ outputs: Int, segments: Int, depth: Int) throws(DeviceError) -> Int8Panels {
        let (count, padded) = (ctti_panel_count(outputs), segments * ctti_packed_int8_depth(depth))
        return Int8Panels(
            outputs: outputs, segments: segments, depth: depth,
            elements: try allocateOwned([count * 32 * padded], .int8),
            scales: try allocateOwned([count * 32], .float32), zeros: try allocateOwned([count * 32], .int32))
    }

    /// Some panels on each thread.
    ///
    /// - Parameters:
    ///   - scratch: floats that `rows` may use.
    ///   - rows: leaves `count` rows of the matrix from `first` on at the beginning of its scratch.
    func quantize(
        _ outputs: Int, segments: Int, depth: Int, scratch: Int,
        rows: (_ first: Int, _ count: Int, _ scratch: UnsafeMutablePointer<Float>) -> Void
    ) throws(DeviceError) -> Int8Panels {
        let panels = try allocateInt8Panels(outputs, segments: segments, depth: depth)
        let target = unsafe panels.elements.pointer.assumingMemoryBound(to: Int8.self)
        let (scales, zeros, padded) = unsafe (panels.scales.floats, panels.zeros.integers, panels.paddedInputs)
        unsafe pool.forEach(panels.count, scratch: scratch) { panel, scratch in
            let first = panel * 32
            unsafe rows(first, min(32, outputs - first), scratch)
            unsafe ctti_pack_int8(
                target + first * padded, scales + first, zeros + first, scratch, outputs - first, segments, depth)
        }
        return panels
    }

    /// Rows are quantised as they come, each with a scale of its own; sums are exact, so the path changes no bit.
    func multiply(
        _ x: Tensor, _ panels: Int8Panels, into y: Tensor, bias: Tensor?, _ activation: Activation,
        adding residual: Tensor?, rows: ProductRows = .plain
    ) {
        if let residual { precondition(residual.shape == y.shape, "residual \(residual.shape) to \(y.shape)") }
        unsafe withQuantizedRows(x, rows, panels, bias: bias) { product in
            var product = unsafe product
            unsafe product.residual = residual.map { unsafe UnsafePointer($0.floats) }
            unsafe product.y = y.floats
            unsafe product.activation = activation.kernel
            // Blocks of rows that stay in the second-level cache, and parts as for other products.
            let (rows, padded, isa, onTiles) = unsafe (product.rows, panels.paddedInputs, isa, isOnTiles(product.rows))
            let units = (rows + 15) / 16
            let blocks = unsafe max(1, min(units, (units * 16 * product.row_stride + (3 << 18)) / (3 << 19)))
            let quarters = panels.count * 32 * padded / (256 << 10)
            let streamed = rows <= 2 ? min(panels.count / 4, quarters) : quarters
            let wanted = panels.count * padded * max(4, rows / blocks) / (onTiles ? 65536 : 16384)
            let shared = (rows <= 8 ? 4 : 8) * pool.threadCount / blocks
            let parts = min(panels.count, max(1, streamed, min(wanted, shared)))
            pool.forEach(blocks * parts) { index in
                let (block, part) = (index / parts, index % parts)
                unsafe withUnsafePointer(to: product) { product in
                    unsafe ctti_multiply_int8(
                        isa, onTiles, product, units * block / blocks * 16,
                        min(rows, units * (block + 1) / blocks * 16), panels.count * part / parts,
                        panels.count * (part + 1) / parts)
                }
            }
        }
    }

    private func isOnTiles(_ rows: Int) -> Bool { instructionSet == .amx && rows >= 16 }

    /// A product of x, quantised, that writes nowhere yet.
    private func withQuantizedRows(
        _ x: Tensor, _ form: ProductRows, _ panels: Int8Panels, bias: Tensor?,
        _ body: (ctti_int8_product) -> Void
    ) {
        let (rows, inputs, padded, outputs) = (x.rowCount, panels.inputs, panels.paddedInputs, panels.outputs)
        if let bias { precondition(bias.elementCount == outputs, "bias \(bias.shape) to \(outputs) outputs") }
        let wholeRows = (rows + 15) / 16 * 16
        // Rows begin in different sets of the cache: an odd number of lines apart.
        let stride = padded + (padded / 64 % 2 == 0 ? 64 : 0)
        let source = unsafe x.floats
        let isa = isa
        unsafe withScratch(wholeRows * (stride / 4 + 1)) { scratch in
            let scales = unsafe scratch + wholeRows * stride / 4
            let quantized = unsafe UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt8.self)
            unsafe forEach(
                form, of: source, stride: x.shape.last, count: rows, width: inputs, cost: 2 * inputs
            ) { first, count, x in
                unsafe ctti_quantize_rows(
                    isa, quantized + first * stride, stride, scales + first, x, inputs, count, inputs, padded)
            }
            unsafe body(
                ctti_int8_product(
                    x: quantized, row_stride: stride, segments: 1, segment_stride: 0, x_scales: scales,
                    x_scale_step: 1, panels: panels.elements.pointer.assumingMemoryBound(to: Int8.self),
                    scales: panels.scales.floats, zeros: panels.zeros.integers, inputs: padded,
                    bias: bias.map { unsafe UnsafePointer($0.floats) }, residual: nil, y: nil, output_stride: outputs,
                    rows: rows, outputs: outputs, activation: CTTI_IDENTITY, group_stride: 0, group_output_stride: 0))
        }
    }

    /// gate(norm(x) · weightᵀ + bias), some rows and panels at a time: what comes before the gate is twice as large as the result, and
    /// stays in a cache. The bits are those of two operations.
    /// - Parameter y: `[…, width]`; the panels have 2 · width outputs, and the width is a multiple of 32.
    func multiplyGated(
        _ x: Tensor, _ panels: Int8Panels, into y: Tensor, bias: Tensor?, _ activation: Activation, _ order: GateOrder,
        norm: NormParameters?
    ) {
        let (rows, width) = (y.rowCount, y.shape.last)
        let target = unsafe y.floats
        let form: ProductRows = norm.map { .normed($0) } ?? .plain
        unsafe withQuantizedRows(x, form, panels, bias: bias) { product in
            // A panel stays in the first-level cache for all rows of a run, and a mebibyte of rows in the second.
            let rowsOfRun = 256
            let rowsOfBlock = unsafe max(rowsOfRun, (1 << 20) / product.row_stride / rowsOfRun * rowsOfRun)
            let (blocks, panels) = ((rows + rowsOfBlock - 1) / rowsOfBlock, width / 32)
            let (isa, onTiles, kernels) = unsafe (isa, isOnTiles(rows), ctti_elementwise(isa)!)
            unsafe pool.forEach(blocks * panels, scratch: rowsOfRun * 64) { index, halves in
                let (block, panel) = (index / panels, index % panels)
                let end = min(rows, (block + 1) * rowsOfBlock)
                for row in stride(from: block * rowsOfBlock, to: end, by: rowsOfRun) {
                    let count = min(rowsOfRun, end - row)
                    for half in 0..<2 {
                        let own = panel + half * panels
                        var part = unsafe product
                        // Row `row` and output 32 · own come to the beginning of their half.
                        unsafe part.y = halves + half * 32 - row * 64 - own * 32
                        unsafe part.output_stride = 64
                        unsafe ctti_multiply_int8(isa, onTiles, &part, row, row + count, own, own + 1)
                    }
                    unsafe kernels.pointee.gate(
                        target + row * width + panel * 32, width, halves, count, 32, Int32(activation.rawValue),
                        order == .gateFirst)
                }
            }
        }
    }
}
