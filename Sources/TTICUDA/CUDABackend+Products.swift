internal import CTTICUDA
internal import TTICore

/// y = activation(x · weightᵀ + bias) + residual, where entries of the batch have many rows.
struct RowsProduct {
    /// `[entries, …, inputs]`
    let x: Tensor
    /// Whose rows lie behind those of x; only where `canRead(x, joined:)`.
    var joined: Tensor?
    var matrix: DeviceMatrix
    let bias: Tensor?
    let activation: Activation
    let residual: Tensor?
    /// y = value · activation(gate) of the two halves of the outputs, which only `hopper_products.cuh` does.
    var gate: GateOrder?
    /// x beside a matrix of int8.
    var integers: IntegerRows?
    var y: Tensor

    var entries: Int { x.shape[0] }
    var rowsOfEntry: Int { x.rowCount / entries }

    /// Whether there is more to do than to multiply and add, which the library cannot do in float32.
    var isEnded: Bool { bias != nil || activation != .identity }

    /// What a choice depends on.
    var shape: ProductShape {
        ProductShape(
            rows: rowsOfEntry, inputs: matrix.inputs, stride: matrix.stride, outputs: matrix.outputs,
            adds: residual != nil && !isEnded, isFloatResult: isEnded, isGated: gate != nil,
            isInt8: matrix.elements.dtype == .int8, ownInputs: joined == nil ? nil : x.shape.last)
    }

    /// Whether rows are whole pieces of 16 bytes.
    var isWhole: Bool {
        matrix.inputs % 8 == 0 && y.shape.last % 8 == 0
            && (x.address | y.address | (residual?.address ?? 0)) % 16 == 0 && x.shape.last % 8 == 0
    }

    /// Whether the library can do it, and it may be worth while: it leaves float32 sums where more is to be done.
    var suitsLibrary: Bool { isWhole && joined == nil && (!isEnded || rowsOfEntry >= 128) }
}

extension CUDABackend {
    /// As was found to be fastest when the shape was first met: by cuBLASLt, by tiles, or by Hopper's own units.
    func multiply(_ product: RowsProduct) {
        var product = product
        if product.matrix.elements.dtype == .int8 { product.integers = product.integers ?? integers(of: product.x) }
        guard matrixLibrary != nil && product.suitsLibrary || suitsHopper(product) else {
            return multiplyTiles(product)
        }
        let shape = product.shape
        var way = productChoices.choice(for: shape)
        if way == nil {
            let chosen = fastestWay(product)
            productChoices.keep(chosen, for: shape)
            way = chosen
        }
        if let way, !issue(product, way) { multiplyTiles(product) }
    }

    /// - Returns: false when it cannot be done so.
    private func issue(_ product: RowsProduct, _ way: ProductWay) -> Bool {
        switch way {
        case .tiles(let splits):
            multiplyTiles(product, splits: splits)
            return true
        case .hopper(let tile, let splits): return multiplyOnHopper(product, tile: tile, splits: splits)
        case .library(let way):
            guard let matrixLibrary, matrixLibrary.issue(product.shape, product.entries, way, addresses(product)) == 0
            else { return false }
            if product.isEnded { finish(product) }
            return true
        }
    }

    /// Where the library finds a product's operands, and leaves its result.
    private func addresses(_ product: RowsProduct) -> ctti_product_addresses {
        let sums = product.isEnded ? scratch("sums of products", 4 * product.y.elementCount) : product.y.address
        let workspace = scratch("matrix library", MatrixLibrary.workspaceBytes)
        return ctti_product_addresses(
            y: sums.device, x: product.x.device, weight: product.matrix.elements.device,
            residual: product.residual.device, workspace: workspace.device)
    }

    /// The end of a product whose sums the library left.
    private func finish(_ product: RowsProduct) {
        let y = product.y
        launch(
            "finish", elements: y.elementCount, each: 8,
            tti_finish(
                y: y.device, x: addresses(product).y, bias: floatBias(product.bias), residual: product.residual.device,
                count: Int64(y.elementCount), width: Int32(product.matrix.outputs),
                activation: Int32(product.activation.rawValue)))
    }

    // MARK: Choice

    /// The library's best ways against our own kernels.
    private func fastestWay(_ product: RowsProduct) -> ProductWay {
        var product = product
        // What is added must be there still when the product is made for the last time.
        if let residual = product.residual, residual.overlaps(product.y) {
            let elsewhere = scratch("result of a choice", product.y.byteCount)
            product.y = Tensor(
                buffer: Buffer(address: elsewhere, byteCount: product.y.byteCount) {}, byteOffset: 0,
                shape: product.y.shape, dtype: product.y.dtype)
        }
        let plan = tilePlan(product)
        var ways = hopperWays(product)
        if product.gate == nil {
            for splits in Set([1, 2, 4, plan.splits]).sorted() where splits <= plan.most {
                ways.append(.tiles(splits: splits))
            }
        }
        if let forced = productChoices.forced, let way = ways.first(where: { $0.name.hasPrefix(forced) }) { return way }
        if let matrixLibrary, product.suitsLibrary, product.gate == nil {
            ways += matrixLibrary.fastest(3, product.shape, product.entries, addresses(product)).map { .library($0) }
        }
        let copies = coldCopies(of: product.matrix)
        var best: (way: ProductWay, time: Float)?
        for way in ways {
            guard let time = timeInChain(product, way, copies) else { continue }
            if best.map({ time < $0.time }) ?? true { best = (way, time) }
        }
        return best?.way ?? .tiles(splits: plan.splits)
    }

    /// Milliseconds of a product as one of many layers: a link of a recorded chain, after a kernel that lets it begin early
    /// and with a matrix that no cache holds. On its own, what cannot begin early would seem faster than it is.
    private func timeInChain(_ product: RowsProduct, _ way: ProductWay, _ copies: [DeviceMatrix]) -> Float? {
        let before = scratch("chain", product.x.byteCount)
        func link(_ matrix: DeviceMatrix) {
            let x = product.x
            launch(
                "copy", elements: x.byteCount, each: 16,
                tti_copy(y: before.device, x: x.device, bytes: Int64(x.byteCount)))
            var product = product
            product.matrix = matrix
            _ = issue(product, way)
        }
        // Once as it is: kernels are loaded, and what lies between them is allocated.
        link(product.matrix)
        // What takes milliseconds by itself gains nothing by an early start.
        if let alone = device.milliseconds({ link(product.matrix) }), alone > 2 { return alone * Float(copies.count) }
        guard let chain = unsafe device.capture({ for copy in copies { link(copy) } }) else { return nil }
        defer { unsafe device.destroy(program: chain) }
        unsafe device.replay(chain)
        let times = (0..<3).compactMap { _ in device.milliseconds { unsafe device.replay(chain) } }
        return times.min()
    }

    /// The matrix in so many places that the second-level cache does not keep them all from one replay to the next.
    private func coldCopies(of matrix: DeviceMatrix) -> [DeviceMatrix] {
        let bytes = matrix.elements.byteCount
        let count = min(48, max(4, 2 * device.cacheBytes / max(1, bytes)))
        let same = [DeviceMatrix](repeating: matrix, count: count)
        // Small ones are as good as cached.
        guard bytes % 256 == 0, bytes >= 256 << 10, let memory = try? memory.allocate(count * bytes) else {
            return same
        }
        return (0..<count).map { place in
            let copy = Tensor(
                buffer: memory, byteOffset: place * bytes, shape: matrix.elements.shape, dtype: matrix.elements.dtype)
            device.copy(bytes, from: matrix.elements.address, to: copy.address)
            return DeviceMatrix(
                outputs: matrix.outputs, inputs: matrix.inputs, stride: matrix.stride, elements: copy,
                isInPanels: matrix.isInPanels, scales: matrix.scales)
        }
    }
}
