internal import CTTIKernels
internal import Glibc
import TTICore

// Convolutions of small images with large kernels, bound by the bytes of the kernel: a row of a small image is too few pixels
// for a product, and every weight would be read from memory for each row. So what every pixel sees is written out, nine
// numbers for one, and one product of all pixels of all images reads the weights once. In turns with the plain path, two
// images, 1280 → 1280 channels, two cores: 3.1 times as fast at 4×4, 1.4 at 8×8; 1.0 at 16×16, where the plain path stays.
// Each number is the same chain of multiply-adds.
extension CPUBackend {
    /// Whether patches are gathered: by one image and the kernel, never by the batch.
    static func gathersPatches(_ call: ctti_convolution, _ panels: Panels) -> Bool {
        unsafe call.output_width <= 8 && call.kernel_height * call.kernel_width > 1 && call.upsampling == 1
            && panels.elements.byteCount >= 1 << 20
    }

    /// How many pixels are gathered at a time: two blocks of `multiply`.
    private static let patchRows = 224

    /// - Parameter call: of one image; its `product` is of all images.
    func convolvePatches(_ call: ctti_convolution, batch: Int, _ panels: Panels) {
        let pixels = unsafe call.output_height * call.output_width
        let (depth, segments) = unsafe (call.kernel_width * call.channels, call.kernel_height)
        let (rows, outputs) = unsafe (batch * pixels, call.product.outputs)
        unsafe withScratch(min(rows, CPUBackend.patchRows) * segments * depth) { patches in
            for first in stride(from: 0, to: rows, by: CPUBackend.patchRows) {
                let count = min(CPUBackend.patchRows, rows - first)
                forRows(count, cost: segments * depth) { range in
                    for row in range {
                        let (image, pixel) = (first + row).quotientAndRemainder(dividingBy: pixels)
                        unsafe gather(call, image: image, pixel: pixel, to: patches + row * segments * depth)
                    }
                }
                var product = unsafe call.product
                unsafe product.x = UnsafePointer(patches)
                unsafe product.y += first * outputs
                if let residual = unsafe product.residual { unsafe product.residual = residual + first * outputs }
                unsafe product.row_stride = segments * depth
                unsafe product.segments = segments
                unsafe product.segment_depth = depth
                unsafe product.segment_stride = depth
                unsafe product.rows = count
                unsafe multiply(product, panels: panels.count, rounded: false)
            }
        }
    }

    /// What one output pixel sees, in the order of the kernel's memory; zeros outside the image.
    private func gather(
        _ call: ctti_convolution, image: Int, pixel: Int, to patch: UnsafeMutablePointer<Float>
    ) {
        let (height, width, channels) = unsafe (call.height, call.width, call.channels)
        let (row, column) = unsafe pixel.quotientAndRemainder(dividingBy: call.output_width)
        let source = unsafe call.image + image * height * width * channels
        var target = unsafe patch
        for tapRow in 0..<(unsafe call.kernel_height) {
            let y = unsafe row * call.stride - call.top + tapRow
            for tapColumn in 0..<(unsafe call.kernel_width) {
                let x = unsafe column * call.stride - call.left + tapColumn
                if y >= 0 && x >= 0 && y < height && x < width {
                    unsafe memcpy(target, source + (y * width + x) * channels, channels * 4)
                } else {
                    unsafe memset(target, 0, channels * 4)
                }
                unsafe target += channels
            }
        }
    }
}
