internal import CTTIKernels
import TTICore

/// How 3×3 convolutions of stride 1 are done with float32 pixels.
package enum ConvolutionForm: Sendable {
    /// Whatever is fastest for the shape.
    case automatic
    /// As products of what each pixel sees.
    case direct
    /// Winograd's F(2×2, 3×3): 16 multiply-adds for 4 pixels instead of 36.
    case winograd2
    /// F(4×4, 3×3): 36 for 16 pixels instead of 144.
    case winograd4
}

extension CPUBackend {
    /// The outputs of a tile, down and across, or nil for a direct convolution. By the shape of one image, never by the batch.
    func winogradTile(_ call: ctti_convolution) -> Int? {
        let isAble =
            unsafe call.kernel_height == 3 && call.kernel_width == 3 && call.stride == 1
            && call.top == 1 && call.left == 1 && call.bottom == 1 && call.right == 1 && call.channels % 16 == 0
            && call.product.outputs % 16 == 0
        guard isAble else { return nil }
        switch convolutionForm {
        case .direct: return nil
        case .winograd2: return 2
        case .winograd4: return 4
        // Few tiles do not pay for the transform of the kernel, few channels not for that of the image. Between 256 and 1024
        // pixels F(2×2) is faster: its kernel grows by 1.8 instead of 4. Upsampled, its 4 multiply-adds a pixel are those of
        // the four phases.
        case .automatic:
            let pixels = unsafe call.output_height * call.output_width
            guard unsafe call.channels >= 64 && call.product.outputs >= 64 && pixels >= 256 else { return nil }
            return pixels >= 1024 ? 4 : unsafe call.upsampling == 1 ? 2 : nil
        }
    }

    /// In runs of tiles and groups of outputs whose transforms stay in caches. The bits depend on neither: each sum is over
    /// the channels alone, in chunks of a fixed length, which keeps rounding below that of a direct convolution's long sums.
    ///
    /// - Parameter call: of one image; its `product` is of all images.
    func convolveByWinograd(_ call: ctti_convolution, batch: Int, m: Int, _ panels: Panels) {
        let (products, channels) = unsafe ((m + 2) * (m + 2), call.channels)
        var work = unsafe ctti_winograd()
        unsafe work.m = m
        unsafe work.image = call.image
        unsafe (work.height, work.width, work.channels) = (call.height, call.width, channels)
        unsafe work.upsampling = call.upsampling
        unsafe work.panels = UnsafeRawPointer(panels.elements.pointer)
        unsafe work.wide = panels.isWide
        unsafe work.packed_depth = ctti_packed_depth(panels.isWide, 3 * channels)
        unsafe work.outputs = call.product.outputs
        unsafe (work.bias, work.residual, work.y) = (call.product.bias, call.product.residual, call.product.y)
        unsafe work.activation = Int32(call.product.activation.rawValue)
        unsafe work.chunk = CPUBackend.winogradChunk
        let tiles = unsafe batch * ctti_winograd_down(&work) * ctti_winograd_across(&work)
        let group = min(panels.count, max(4, (4 << 20) / (products * channels * 32)))
        let run = min(tiles, max(224, min(896, (6 << 20) / (products * (channels + 32 * group)) / 112 * 112)))
        unsafe work.panels_at_once = group
        unsafe work.tiles_at_once = run
        let (inputCount, weightCount) = (products * run * channels, products * group * channels * 32)
        unsafe withScratch(inputCount + weightCount + products * run * group * 32) { scratch in
            unsafe work.inputs = scratch
            unsafe work.weights = scratch + inputCount
            unsafe work.products = scratch + inputCount + weightCount
            for firstTile in stride(from: 0, to: tiles, by: run) {
                unsafe work.first_tile = firstTile
                let count = min(run, tiles - firstTile)
                unsafe transformInputs(work, count)
                for firstPanel in stride(from: 0, to: panels.count, by: group) {
                    unsafe work.first_panel = firstPanel
                    let own = min(group, panels.count - firstPanel)
                    // One group's stay for all runs.
                    if firstTile == 0 || group < panels.count { unsafe transformWeights(work, own) }
                    unsafe multiplyTransforms(work, count, own)
                    unsafe transformOutputs(work, count)
                }
            }
        }
    }

    /// Channels that are summed one after the other.
    private static let winogradChunk = 128

    private func transformInputs(_ work: ctti_winograd, _ count: Int) {
        let kernels = unsafe ctti_winograd_for(isa)!
        unsafe forRows(count, cost: 8 * (work.m + 2) * (work.m + 2) * work.channels) { range in
            unsafe withUnsafePointer(to: work) {
                unsafe kernels.pointee.inputs($0, range.lowerBound, range.upperBound)
            }
        }
    }

    private func transformWeights(_ work: ctti_winograd, _ panels: Int) {
        let kernels = unsafe ctti_winograd_for(isa)!
        let blocks = unsafe (work.channels + 31) / 32
        pool.forEach(panels * blocks) { index in
            let (panel, block) = index.quotientAndRemainder(dividingBy: blocks)
            unsafe withUnsafePointer(to: work) {
                unsafe kernels.pointee.weights($0, panel, block * 32, min($0.pointee.channels, block * 32 + 32))
            }
        }
    }

    private func multiplyTransforms(_ work: ctti_winograd, _ count: Int, _ panels: Int) {
        let (side, channels, run) = unsafe (work.m + 2, work.channels, work.tiles_at_once)
        let (group, outputs) = unsafe (work.panels_at_once, work.outputs - work.first_panel * 32)
        let blocks = (count + 111) / 112
        let isa = isa
        pool.forEach(side * side * blocks) { index in
            let (place, block) = index.quotientAndRemainder(dividingBy: blocks)
            for first in stride(from: 0, to: channels, by: CPUBackend.winogradChunk) {
                let length = min(CPUBackend.winogradChunk, channels - first)
                let y = unsafe work.products + place * run * 32 * group
                let product = unsafe ctti_product(
                    x: work.inputs + place * run * channels + first, row_stride: channels, segments: 1,
                    segment_depth: length, segment_stride: 0,
                    panels: UnsafeRawPointer(work.weights + (place * channels + first) * 32 * group), bias: nil,
                    residual: first == 0 ? nil : UnsafePointer(y), y: y, output_stride: 32 * group, rows: count,
                    outputs: min(outputs, 32 * panels), activation: CTTI_IDENTITY, wide: true, group_stride: 0,
                    group_output_stride: 0)
                unsafe withUnsafePointer(to: product) {
                    unsafe ctti_multiply(isa, $0, count * block / blocks, count * (block + 1) / blocks, 0, panels)
                }
            }
        }
    }

    private func transformOutputs(_ work: ctti_winograd, _ count: Int) {
        let kernels = unsafe ctti_winograd_for(isa)!
        unsafe forRows(count, cost: 8 * (work.m + 2) * (work.m + 2) * 32 * work.panels_at_once) { range in
            unsafe withUnsafePointer(to: work) {
                unsafe kernels.pointee.outputs($0, range.lowerBound, range.upperBound)
            }
        }
    }
}
