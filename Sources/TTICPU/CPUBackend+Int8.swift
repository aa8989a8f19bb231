internal import CTTIKernels
import TTICore

/// A matrix `[outputs, inputs]` in 8-bit integers, in the panels of CTTIKernels' linear_int8.h: each output's weights have a
/// scale of their own.
final class Int8Panels {
    let outputs: Int
    let inputs: Int
    /// int8.
    let elements: Tensor
    /// `[outputs, up to a multiple of 32]` float32: what a unit stands for.
    let scales: Tensor
    /// `[the same]` int32: 128 · the sum of an output's weights.
    let zeros: Tensor

    init(outputs: Int, inputs: Int, elements: Tensor, scales: Tensor, zeros: Tensor) {
        self.outputs = outputs
        self.inputs = inputs
        self.elements = elements
        self.scales = scales
        self.zeros = zeros
    }

    var count: Int { ctti_panel_count(outputs) }
    var paddedInputs: Int { Int8Panels.padded(inputs) }

    static func padded(_ inputs: Int) -> Int {
        (inputs + Int(CTTI_INT8_INPUTS) - 1) / Int(CTTI_INT8_INPUTS) * Int(CTTI_INT8_INPUTS)
    }
}

extension CPUBackend {
    /// Some panels on each thread.
    func quantize(_ matrix: HostTensor) throws(DeviceError) -> Int8Panels {
        let (outputs, inputs, padded) = (matrix.shape[0], matrix.shape[1], Int8Panels.padded(matrix.shape[1]))
        let count = ctti_panel_count(outputs)
        let panels = Int8Panels(
            outputs: outputs, inputs: inputs, elements: try allocateOwned([count * 32 * padded], .int8),
            scales: try allocateOwned([count * 32], .float32), zeros: try allocateOwned([count * 32], .int32))
        guard let bytes = unsafe matrix.bytes?.baseAddress, matrix.elementCount > 0 else { return panels }
        let target = unsafe panels.elements.pointer.assumingMemoryBound(to: Int8.self)
        let (scales, zeros) = unsafe (panels.scales.floats, panels.zeros.integers)
        unsafe pool.forEach(count, scratch: 32 * inputs) { panel, scratch in
            let left = outputs - panel * 32
            unsafe CPUBackend.widen(
                bytes + panel * 32 * inputs * matrix.dtype.byteCount, matrix.dtype, to: scratch,
                count: min(32, left) * inputs)
            unsafe ctti_pack_int8(
                target + panel * 32 * padded, scales + panel * 32, zeros + panel * 32, scratch, left, inputs, padded)
        }
        return panels
    }

    /// Rows are quantised as they come, each with a scale of its own; sums are exact, so the path changes no bit.
    func multiply(
        _ x: Tensor, _ panels: Int8Panels, into y: Tensor, bias: Tensor?, _ activation: Activation,
        adding residual: Tensor?
    ) {
        let (rows, inputs, padded, outputs) = (y.rowCount, panels.inputs, panels.paddedInputs, panels.outputs)
        if let bias { precondition(bias.elementCount == outputs, "bias \(bias.shape) to \(y.shape)") }
        if let residual { precondition(residual.shape == y.shape, "residual \(residual.shape) to \(y.shape)") }
        let onTiles = instructionSet == .amx && rows >= 16
        let wholeRows = (rows + 15) / 16 * 16
        // Rows begin in different sets of the cache: an odd number of lines apart.
        let stride = padded + (padded / 64 % 2 == 0 ? 64 : 0)
        let source = unsafe x.floats
        let isa = isa
        unsafe withScratch(wholeRows * (stride / 4 + 1)) { scratch in
            let scales = unsafe scratch + wholeRows * stride / 4
            let quantized = unsafe UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt8.self)
            forRows(rows, cost: 2 * inputs) { range in
                unsafe ctti_quantize_rows(
                    isa, quantized + range.lowerBound * stride, stride, scales + range.lowerBound,
                    source + range.lowerBound * inputs, inputs, range.count, inputs, padded)
            }
            let product = unsafe ctti_int8_product(
                x: quantized, row_stride: stride, x_scales: scales,
                panels: panels.elements.pointer.assumingMemoryBound(to: Int8.self), scales: panels.scales.floats,
                zeros: panels.zeros.integers, inputs: padded, bias: bias.map { unsafe UnsafePointer($0.floats) },
                residual: residual.map { unsafe UnsafePointer($0.floats) }, y: y.floats, output_stride: outputs,
                rows: rows, outputs: outputs, activation: activation.kernel)
            // Blocks of rows that stay in the second-level cache, and parts as for other products.
            let units = wholeRows / 16
            let blocks = max(1, min(units, (wholeRows * stride + (3 << 18)) / (3 << 19)))
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
}
