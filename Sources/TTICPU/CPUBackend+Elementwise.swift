internal import CTTIKernels
internal import Glibc
package import TTICore

extension CPUBackend {
    package func add(_ x: Tensor, _ y: Tensor) -> Tensor {
        precondition(y.elementCount > 0 && x.elementCount % y.elementCount == 0, "\(x.shape) + \(y.shape)")
        let result = allocate(x.shape, .float32)
        let (out, left, right) = unsafe (result.floats, x.floats, y.floats)
        let period = y.elementCount
        let kernels = unsafe ctti_elementwise(isa)!
        if period == x.elementCount {
            forRows(period, cost: 1) { range in
                let first = range.lowerBound
                unsafe kernels.pointee.add(out + first, left + first, right + first, range.count)
            }
        } else {
            forRows(x.elementCount / period, cost: period) { range in
                for row in range { unsafe kernels.pointee.add(out + row * period, left + row * period, right, period) }
            }
        }
        return result
    }

    package func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        let result = allocate(x.shape, .float32)
        let (out, source) = unsafe (result.floats, x.floats)
        let kernels = unsafe ctti_elementwise(isa)!
        forRows(x.elementCount, cost: 4) { range in
            unsafe kernels.pointee.activate(
                out + range.lowerBound, source + range.lowerBound, range.count, Int32(activation.rawValue))
        }
        return result
    }

    package func gate(_ x: Tensor, _ activation: Activation, _ order: GateOrder) -> Tensor {
        precondition(x.shape.last % 2 == 0, "halves of \(x.shape)")
        let width = x.shape.last / 2
        let result = allocate(x.shape.replacingLast(width), .float32)
        let (out, source) = unsafe (result.floats, x.floats)
        let kernels = unsafe ctti_elementwise(isa)!
        forRows(x.rowCount, cost: 4 * width) { range in
            unsafe kernels.pointee.gate(
                out + range.lowerBound * width, width, source + range.lowerBound * width * 2, range.count, width,
                Int32(activation.rawValue), order == .gateFirst)
        }
        return result
    }

    package func rotate(_ qkv: Tensor, heads: Int, by angles: Tensor, at position: Tensor) -> Tensor {
        let (tokens, width, third) = (qkv.shape[1], angles.shape[1], qkv.shape[2] / 3)
        precondition(
            width % 2 == 0 && qkv.shape[2] == 3 * heads * width,
            "\(qkv.shape) turned in \(heads) heads by \(angles.shape)")
        let result = allocate(qkv.shape, .float32)
        let first = unsafe Int(position.integers[0])
        precondition(first >= 0 && first + tokens <= angles.shape[0], "place \(first) of \(angles.shape[0])")
        let (out, source, turns) = unsafe (result.floats, qkv.floats, angles.floats)
        let kernels = unsafe ctti_elementwise(isa)!
        forRows(qkv.rowCount, cost: 6 * third) { rows in
            for row in rows {
                let start = row * 3 * third
                unsafe kernels.pointee.rotate(
                    out + start, source + start, turns + (first + row % tokens) * width, 2 * heads, width)
                unsafe (out + start + 2 * third).update(from: source + start + 2 * third, count: third)
            }
        }
        return result
    }

    package func modulate(_ x: Tensor, _ modulation: Tensor) -> Tensor {
        let result = allocate(x.shape, .float32)
        let (out, source) = unsafe (result.floats, x.floats)
        let kernels = unsafe ctti_elementwise(isa)!
        let width = x.shape.last
        unsafe forModulatedRows(x, modulation) { rows, scale in
            unsafe kernels.pointee.modulate(
                out + rows.lowerBound * width, source + rows.lowerBound * width, scale, rows.count, width)
        }
        return result
    }

    /// Runs of rows that share their row of `modulation`, and that row.
    func forModulatedRows(
        _ x: Tensor, _ modulation: Tensor, _ body: (Range<Int>, UnsafeMutablePointer<Float>) -> Void
    ) {
        let (batch, width) = (x.shape[0], x.shape.last)
        let modulationBatch = modulation.rowCount
        precondition(
            modulation.shape.last == 2 * width && modulationBatch > 0 && batch % modulationBatch == 0,
            "\(x.shape) modulated by \(modulation.shape)")
        let scales = unsafe modulation.floats
        let rowsOfEntry = x.rowCount / modulationBatch
        forRows(x.rowCount, cost: 2 * width) { range in
            var start = range.lowerBound
            while start < range.upperBound {
                let entry = start / rowsOfEntry
                let end = min(range.upperBound, (entry + 1) * rowsOfEntry)
                unsafe body(start..<end, scales + entry * 2 * width)
                start = end
            }
        }
    }

    package func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
        precondition(!parts.isEmpty, "nothing to join")
        var shape = parts[0].shape
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        let result = allocate(shape, parts[0].dtype)
        var place = 0
        for part in parts {
            put(part, into: result, along: axis, at: place)
            place += part.shape[axis]
        }
        return result
    }

    package func concatenate(_ x: Tensor, _ y: Tensor, axis: Int) -> Tensor {
        var shape = x.shape
        shape[axis] += y.shape[axis]
        let result = allocate(shape, x.dtype)
        put(x, into: result, along: axis, at: 0)
        put(y, into: result, along: axis, at: x.shape[axis])
        return result
    }

    /// One of the parts that `whole` is joined from; `place` is where it begins, along the axis.
    private func put(_ part: Tensor, into whole: Tensor, along axis: Int, at place: Int) {
        let shape = whole.shape
        var rest = part.shape
        rest[axis] = shape[axis]
        precondition(
            rest == shape && part.dtype == whole.dtype && part.dtype.byteCount == 4,
            "\(part.dtype) \(part.shape) joined to \(whole.dtype) \(shape) along axis \(axis)")
        let axis = axis < 0 ? shape.rank + axis : axis
        let outer = (0..<axis).reduce(1) { $0 * shape[$1] }
        let inner = (axis + 1..<shape.rank).reduce(4) { $0 * shape[$1] }
        let (rowBytes, partBytes) = (shape[axis] * inner, part.shape[axis] * inner)
        let (out, source) = unsafe (whole.pointer + place * inner, part.pointer)
        forRows(outer, cost: partBytes / 4) { range in
            for row in range {
                unsafe memcpy(out + row * rowBytes, source + row * partBytes, partBytes)
            }
        }
    }

    package func gather(_ x: Tensor, _ indices: Tensor) -> Tensor {
        let (batch, tokens, width) = (x.shape[0], x.shape[1], x.shape[2])
        let (entries, count) = (indices.shape[0], indices.shape[1])
        precondition(entries % batch == 0, "\(indices.shape) rows of \(x.shape)")
        let result = allocate([entries, count, width], .float32)
        let (out, source, places) = unsafe (result.floats, x.floats, indices.integers)
        forRows(entries * count, cost: width) { range in
            for row in range {
                let place = unsafe Int(places[row])
                precondition(place >= -1 && place < tokens, "row \(place) of \(tokens)")
                let target = unsafe out + row * width
                if place < 0 {
                    unsafe target.update(repeating: 0, count: width)
                } else {
                    let entry = row / count * batch / entries
                    unsafe target.update(from: source + (entry * tokens + place) * width, count: width)
                }
            }
        }
        return result
    }

    package func depthToSpace(_ x: Tensor) -> Tensor {
        precondition(x.shape.rank == 4 && x.shape.last % 4 == 0, "four parts of \(x.shape)")
        let (batch, height, width, channels) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3] / 4)
        let result = allocate([batch, 2 * height, 2 * width, channels], .float32)
        let (out, source) = unsafe (result.floats, x.floats)
        // A row of the result takes the two neighbours (dx = 0, 1) of every pixel, which lie side by side.
        forRows(batch * height * 2, cost: 2 * width * channels) { range in
            for row in range {
                let first = unsafe source + (row / 2) * width * 4 * channels + (row % 2) * 2 * channels
                for column in 0..<width {
                    unsafe (out + (row * width + column) * 2 * channels).update(
                        from: first + column * 4 * channels, count: 2 * channels)
                }
            }
        }
        return result
    }

    package func increment(in counter: Tensor) {
        finishHeld()
        let elements = unsafe counter.integers
        for index in 0..<counter.elementCount { unsafe elements[index] &+= 1 }
    }

    /// Splits rows that do not depend on each other among the threads; small work stays on the caller's.
    /// - Parameters:
    ///   - cost: of a row, in reads and writes of an element.
    ///   - each: pieces for each thread at most; more where the work is long, as threads are not equally fast.
    func forRows(_ rows: Int, cost: Int, each: Int = 4, _ body: (Range<Int>) -> Void) {
        let pieces = min(rows, each * pool.threadCount, rows * cost / 16384)
        if pool.threadCount == 1 || pieces < 2 {
            if rows > 0 { body(0..<rows) }
        } else {
            pool.forEach(pieces) { piece in body(piece * rows / pieces..<(piece + 1) * rows / pieces) }
        }
    }

    /// The same, with memory for `scratch` numbers that no other thread uses meanwhile.
    func forRows(
        _ rows: Int, cost: Int, scratch: Int, _ body: (Range<Int>, UnsafeMutablePointer<Float>) -> Void
    ) {
        guard rows > 0 else { return }
        let pieces = max(1, min(rows, 4 * pool.threadCount, rows * cost / 16384))
        unsafe pool.forEach(pieces, scratch: scratch) { piece, scratch in
            unsafe body(piece * rows / pieces..<(piece + 1) * rows / pieces, scratch)
        }
    }

    /// Memory for `count` numbers, contents undefined, that all threads of one operation share. Kept from call to call: fresh
    /// pages would cost more than small operations do. Not to be called from inside `body`.
    func withScratch(_ count: Int, _ body: (UnsafeMutablePointer<Float>) -> Void) {
        unsafe body(CPUBackend.floats(count, of: &scratch))
    }

    /// The beginning of memory for `count` floats, which grows and is kept.
    static func floats(_ count: Int, of buffer: inout Buffer) -> UnsafeMutablePointer<Float> {
        if buffer.byteCount < 4 * count {
            buffer = Buffer(address: 0, byteCount: 0) {}
            do throws(DeviceError) {
                buffer = try CPUBackend.allocatePages(max(1 << 20, 8 * count))
            } catch {
                preconditionFailure(error.description)
            }
        }
        let memory = Tensor(buffer: buffer, byteOffset: 0, shape: [buffer.byteCount / 4], dtype: .float32)
        return unsafe memory.floats
    }
}
