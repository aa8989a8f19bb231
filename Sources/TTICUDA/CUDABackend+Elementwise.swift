internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func add(_ x: Tensor, _ y: Tensor) -> Tensor {
        precondition(y.elementCount > 0 && x.elementCount % y.elementCount == 0, "\(x.shape) + \(y.shape)")
        checkActivations(x)
        let result = allocate(x.shape, activationType)
        let parameters = tti_add(
            y: result.device, x: x.device, other: y.device, count: Int64(x.elementCount), period: Int64(y.elementCount))
        launch(y.dtype == activationType ? "add" : "add_constant", elements: x.elementCount, each: lanes, parameters)
        return result
    }

    package func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        checkActivations(x)
        let result = allocate(x.shape, activationType)
        launch(
            "activate", elements: x.elementCount, each: lanes,
            tti_activate(
                y: result.device, x: x.device, count: Int64(x.elementCount), activation: Int32(activation.rawValue)))
        return result
    }

    package func gate(_ x: Tensor, _ activation: Activation, _ order: GateOrder) -> Tensor {
        precondition(x.shape.last % 2 == 0, "halves of \(x.shape)")
        checkActivations(x)
        let width = x.shape.last / 2
        let result = allocate(x.shape.replacingLast(width), activationType)
        launch(
            "gate", elements: result.elementCount, each: lanes,
            tti_gate(
                y: result.device, x: x.device, rows: Int64(x.rowCount), width: Int64(width),
                activation: Int32(activation.rawValue), gate_first: order == .gateFirst ? 1 : 0))
        return result
    }

    package func rotate(_ qkv: Tensor, heads: Int, by angles: Tensor, at position: Tensor) -> Tensor {
        let width = angles.shape[1]
        checkActivations(qkv)
        precondition(
            width % 2 == 0 && qkv.shape[2] == 3 * heads * width,
            "\(qkv.shape) turned in \(heads) heads by \(angles.shape)")
        let result = allocate(qkv.shape, activationType)
        launch(
            "rotate", elements: qkv.elementCount, each: lanes,
            tti_rotate(
                y: result.device, x: qkv.device, angles: angles.device, position: position.device,
                rows: Int64(qkv.rowCount), tokens: Int64(qkv.shape[1]), heads: Int32(heads), width: Int32(width)))
        return result
    }

    package func modulate(_ x: Tensor, _ modulation: Tensor) -> Tensor {
        checkActivations(x, modulation)
        let result = allocate(x.shape, activationType)
        launch(
            "modulate", elements: x.elementCount, each: lanes,
            tti_modulate(
                y: result.device, x: x.device, modulation: modulation.device, rows: Int64(x.rowCount),
                width: Int64(x.shape.last), rows_of_entry: Int64(rowsOfModulation(x, modulation))))
        return result
    }

    /// How many rows of `x` share a row of `modulation`; traps when the shapes do not belong together.
    func rowsOfModulation(_ x: Tensor, _ modulation: Tensor) -> Int {
        let batch = modulation.rowCount
        precondition(
            modulation.shape.last == 2 * x.shape.last && batch > 0 && x.shape[0] % batch == 0,
            "\(x.shape) modulated by \(modulation.shape)")
        return x.rowCount / batch
    }

    package func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
        precondition(!parts.isEmpty, "nothing to join")
        var shape = parts[0].shape
        let axis = axis < 0 ? shape.rank + axis : axis
        let dtype = parts[0].dtype
        shape[axis] = 0
        for part in parts {
            var rest = part.shape
            rest[axis] = 0
            precondition(
                rest == shape && part.dtype == dtype,
                "\(part.dtype) \(part.shape) joined to \(dtype) \(parts[0].shape) along axis \(axis)")
        }
        let outer = (0..<axis).reduce(1) { $0 * shape[$1] }
        let inner = (axis + 1..<shape.rank).reduce(dtype.byteCount) { $0 * shape[$1] }
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        let result = allocate(shape, dtype)
        let parts = parts.filter { $0.elementCount > 0 }
        var offset = 0
        for first in stride(from: 0, to: parts.count, by: 2) {
            let pair = parts[first..<min(first + 2, parts.count)]
            let bytes = pair.map { $0.shape[axis] * inner }
            launch(
                "join", grid: ((outer * (bytes.max() ?? 0)).dividedUp(by: 256 * 16), pair.count, 1), threads: 256,
                tti_join(
                    y: result.device, x: (parts[first].device, pair.last.device), rows: Int64(outer),
                    bytes: (Int64(bytes[0]), Int64(bytes[bytes.count - 1])),
                    offset: (Int64(offset), Int64(offset + (pair.count > 1 ? bytes[0] : 0))),
                    stride: Int64(shape[axis] * inner)))
            offset += bytes.reduce(0, +)
        }
        return result
    }

    /// Whether kernels can read rows of two tensors as one: whole pieces of 16 bytes of each.
    func canRead(_ x: Tensor, joined other: Tensor) -> Bool {
        (x.shape.last | other.shape.last) % lanes == 0 && (x.address | other.address) % 16 == 0
    }

    /// Rows of two tensors side by side, between kernels.
    func joinedRows(_ x: Tensor, _ other: Tensor) -> Tensor {
        let shape = x.shape.replacingLast(x.shape.last + other.shape.last)
        let (first, second) = (x.byteCount / x.rowCount, other.byteCount / x.rowCount)
        let byteCount = x.byteCount + other.byteCount
        let joined = scratch("joined rows", byteCount)
        launch(
            "join", grid: ((x.rowCount * max(first, second)).dividedUp(by: 256 * 16), 2, 1), threads: 256,
            tti_join(
                y: joined.device, x: (x.device, other.device), rows: Int64(x.rowCount),
                bytes: (Int64(first), Int64(second)), offset: (0, Int64(first)), stride: Int64(first + second)))
        return Tensor(
            buffer: Buffer(address: joined, byteCount: byteCount) {}, byteOffset: 0, shape: shape, dtype: x.dtype)
    }

    package func gather(_ x: Tensor, _ indices: Tensor) -> Tensor {
        let (batch, tokens, width) = (x.shape[0], x.shape[1], x.shape[2])
        let (entries, count) = (indices.shape[0], indices.shape[1])
        precondition(entries % batch == 0, "\(indices.shape) rows of \(x.shape)")
        checkActivations(x)
        let result = allocate([entries, count, width], activationType)
        launch(
            "gather", elements: result.elementCount, each: lanes,
            tti_gather(
                y: result.device, x: x.device, indices: indices.device, entries: Int64(entries), count: Int64(count),
                width: Int64(width), batch: Int64(batch), tokens: Int64(tokens)))
        return result
    }

    package func embed(_ ids: Tensor, _ table: Tensor) -> Tensor {
        precondition(table.shape.rank == 2, "a table \(table.shape)")
        let width = table.shape[1]
        let result = allocate(ids.shape.appending(width), activationType)
        launch(
            table.dtype == .float32 ? "embed_float" : "embed_bfloat16", elements: result.elementCount, each: lanes,
            tti_embed(
                y: result.device, ids: ids.device, table: table.device, count: Int64(ids.elementCount),
                width: Int64(width)))
        return result
    }

    package func depthToSpace(_ x: Tensor) -> Tensor {
        precondition(x.shape.rank == 4 && x.shape.last % 4 == 0, "four parts of \(x.shape)")
        checkActivations(x)
        let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3] / 4)
        let result = allocate([batch, 2 * height, 2 * width, channels], activationType)
        launch(
            "depth_to_space", elements: result.elementCount, each: lanes,
            tti_depth_to_space(
                y: result.device, x: x.device, rows: Int64(2 * batch * height), width: Int64(width),
                channels: Int64(channels)))
        return result
    }

    package func increment(in counter: Tensor) {
        precondition(counter.dtype == .int32, "counting in \(counter.dtype)")
        launch(
            "increment", elements: counter.elementCount, each: 1,
            tti_increment(counter: counter.device, count: Int64(counter.elementCount)))
    }

    /// Traps unless all are activations of this device.
    func checkActivations(_ tensors: Tensor...) {
        for tensor in tensors {
            precondition(tensor.dtype == activationType, "\(tensor.dtype) \(tensor.shape) among \(activationType)")
        }
    }
}
