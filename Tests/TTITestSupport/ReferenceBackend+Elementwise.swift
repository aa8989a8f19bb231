internal import Glibc
package import TTICore

extension Activation {
    /// The function itself.
    package func value(_ x: Double) -> Double {
        switch self {
        case .identity: x
        case .relu: x > 0 || x.isNaN ? x : 0
        case .gelu: x * 0.5 * erfc(-x * 0.5.squareRoot())
        case .geluTanh: 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        case .quickGelu: x / (1 + exp(-1.702 * x))
        case .silu: x / (1 + exp(-x))
        }
    }
}

extension ReferenceBackend {
    package func add(_ x: Tensor, _ y: Tensor) -> Tensor {
        precondition(y.elementCount > 0 && x.elementCount % y.elementCount == 0, "\(x.shape) + \(y.shape)")
        let other = y.doubles()
        return result(x.doubles().enumerated().map { $1 + other[$0 % other.count] }, x.shape)
    }

    package func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        result(x.doubles().map { activation.value($0) }, x.shape)
    }

    package func gate(_ x: Tensor, _ activation: Activation, _ order: GateOrder) -> Tensor {
        precondition(x.shape.last % 2 == 0, "two halves of \(x.shape)")
        let source = x.doubles()
        let width = x.shape.last / 2
        let (valueStart, gateStart) = order == .valueFirst ? (0, width) : (width, 0)
        var values: [Double] = []
        for row in 0..<x.rowCount {
            for column in 0..<width {
                let value = source[row * 2 * width + valueStart + column]
                values.append(value * activation.value(source[row * 2 * width + gateStart + column]))
            }
        }
        return result(values, x.shape.replacingLast(width))
    }

    package func modulate(_ x: Tensor, _ modulation: Tensor) -> Tensor {
        let width = x.shape.last
        let (batch, modulationBatch) = (x.shape[0], modulation.shape[0])
        precondition(
            modulation.shape == [modulationBatch, 2 * width] && batch % modulationBatch == 0,
            "\(x.shape) modulated by \(modulation.shape)")
        let scaleAndShift = modulation.doubles()
        let entryCount = x.elementCount / max(batch, 1)
        var values = x.doubles()
        for index in values.indices {
            let entry = index / entryCount * modulationBatch / batch
            let column = index % width
            let scale = scaleAndShift[entry * 2 * width + column]
            values[index] = values[index] * (1 + scale) + scaleAndShift[entry * 2 * width + width + column]
        }
        return result(values, x.shape)
    }

    package func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
        precondition(!parts.isEmpty, "nothing to join")
        let axis = axis < 0 ? parts[0].shape.rank + axis : axis
        var shape = parts[0].shape
        shape[axis] = 0
        for part in parts {
            precondition(part.dtype == parts[0].dtype, "\(part.dtype) joined to \(parts[0].dtype)")
            var other = part.shape
            other[axis] = shape[axis]
            precondition(other == shape, "\(part.shape) joined to \(parts[0].shape) along axis \(axis)")
            shape[axis] += part.shape[axis]
        }
        let outer = (0..<axis).reduce(1) { $0 * shape[$1] }
        let sources = parts.map { $0.doubles() }
        var values: [Double] = []
        for row in 0..<outer {
            for source in sources {
                let count = source.count / max(outer, 1)
                values += source[row * count..<(row + 1) * count]
            }
        }
        let joined = allocate(shape, parts[0].dtype)
        joined.store(values)
        return joined
    }

    package func gather(_ x: Tensor, _ indices: Tensor) -> Tensor {
        precondition(x.shape.rank == 3 && indices.shape.rank == 2, "rows \(indices.shape) of \(x.shape)")
        let (batch, tokens, width) = (x.shape[0], x.shape[1], x.shape[2])
        let (rows, count) = (indices.shape[0], indices.shape[1])
        precondition(batch > 0 && rows % batch == 0, "rows \(indices.shape) of \(x.shape)")
        let source = x.doubles()
        var values: [Double] = []
        for (place, index) in indices.integers().enumerated() {
            precondition(index >= -1 && index < tokens, "row \(index) of \(x.shape)")
            let start = (place / count * batch / rows * tokens + index) * width
            values += index < 0 ? [Double](repeating: 0, count: width) : Array(source[start..<start + width])
        }
        return result(values, [rows, count, width])
    }

    package func depthToSpace(_ x: Tensor) -> Tensor {
        precondition(x.shape.rank == 4 && x.shape.last % 4 == 0, "2×2 pixels of \(x.shape)")
        let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3] / 4)
        let source = x.doubles()
        var values = source
        for entry in 0..<batch {
            for row in 0..<2 * height {
                for column in 0..<2 * width {
                    let target = ((entry * 2 * height + row) * 2 * width + column) * channels
                    let pixel = (entry * height + row / 2) * width + column / 2
                    let origin = (pixel * 4 + row % 2 * 2 + column % 2) * channels
                    for channel in 0..<channels { values[target + channel] = source[origin + channel] }
                }
            }
        }
        return result(values, [batch, 2 * height, 2 * width, channels])
    }

    package func increment(in counter: Tensor) {
        counter.store(counter.integers().map { Double($0 + 1) })
    }
}
