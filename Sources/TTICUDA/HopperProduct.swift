internal import CTTICUDA
internal import TTICore

/// What hopper_products.cuh makes: a convolution, or a product of matrices as one of an image that is one pixel high.
struct HopperProduct {
    var x: UInt64
    /// Of x.
    var channels, width, height, images: Int
    /// An image of the same size, and its channels, which come behind those of x.
    var joined: (address: UInt64, channels: Int)?
    var weight: UInt64
    /// Rows of the weights, their numbers, and bytes from one row to the next.
    var weightRows, weightInputs, weightStride: Int
    var y: UInt64
    var outputs, outputWidth, outputHeight: Int
    var bias: Tensor?
    var residual: UInt64
    var activation: Activation
    /// y = value · activation(gate): which half of the weights' rows are gates.
    var gate: GateOrder?
    var kernelWidth = 1
    var stride = 1
    var top = 0
    var left = 0
    /// A pixel of x is four of y.
    var doubles = false

    /// Of int8 operands: what a unit of a row of x stands for, and of an output's weights.
    var scales: (x: UInt64, weight: UInt64)?

    /// Channels of a block of the depth: 128 bytes.
    var blockChannels: Int { 128 / operandBytes }
    static let bfloat16BlockChannels = 64
    var operandBytes: Int { scales == nil ? 2 : 1 }

    /// How many pixels of y come of one, of those that boxes are made of.
    var phases: Int { doubles ? 4 : 1 }
    var boxedWidth: Int { doubles ? width : outputWidth }
    var boxedHeight: Int { doubles ? height : outputHeight }

    /// Blocks of channels: of x, and of all.
    var ownBlocks: Int { channels.dividedUp(by: blockChannels) }
    var channelBlocks: Int { ownBlocks + (joined?.channels ?? 0).dividedUp(by: blockChannels) }
    /// Of channels and taps.
    var blocks: Int { weightInputs.dividedUp(by: blockChannels) }

    /// The rows of a matrix.
    init(_ product: RowsProduct) {
        let matrix = product.matrix
        (x, weight, y) = (product.x.device, matrix.elements.device, product.y.device)
        (channels, width, height, images) = (product.x.shape.last, product.x.rowCount, 1, 1)
        joined = product.joined.map { ($0.device, $0.shape.last) }
        (weightRows, weightInputs, weightStride) = (matrix.outputs, matrix.inputs, matrix.rowBytes)
        if let integers = product.integers {
            (x, channels, weightInputs) = (integers.rows, matrix.stride, matrix.stride)
            scales = (integers.scales, matrix.scales.device)
        }
        (outputs, outputWidth, outputHeight) = (product.y.shape.last, product.x.rowCount, 1)
        (bias, residual) = (product.bias, product.residual.device)
        (activation, gate) = (product.activation, product.gate)
    }

    /// A convolution of x with rows of a kernel, `[outputs, taps · channels]`.
    init(
        _ x: Tensor, _ weight: PreparedConvolution, rows: Tensor, bias: Tensor?, _ geometry: ConvolutionGeometry,
        _ activation: Activation, adding residual: Tensor?, into y: Tensor
    ) {
        (self.x, self.weight, self.y) = (x.device, rows.device, y.device)
        (images, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        let inputs = weight.kernelHeight * weight.kernelWidth * weight.inputs
        (weightRows, weightInputs, weightStride) = (weight.outputs, inputs, inputs * 2)
        (outputs, outputHeight, outputWidth) = (weight.outputs, y.shape[1], y.shape[2])
        (self.bias, self.residual, self.activation) = (bias, residual.device, activation)
        kernelWidth = weight.kernelWidth
        (stride, top, left) = (geometry.stride, geometry.top, geometry.left)
        doubles = geometry.upsampling == 2
    }
}
