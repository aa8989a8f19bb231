internal import CTTICUDA
internal import TTICore

extension CUDABackend {
    /// Whether there are Hopper's own units, and a driver that knows of them.
    var hasHopper: Bool { unsafe device.capability == 90 && device.driver.pointee.encode_tensor_map != nil }

    /// Whether Hopper's own units can do a product: bfloat16 or int8, in rows of whole pieces of 16 bytes.
    func suitsHopper(_ product: RowsProduct) -> Bool {
        hasHopper && activationType == .bfloat16 && product.isWhole && product.rowsOfEntry >= 64
            && (product.joined == nil || product.x.shape.last % HopperProduct.bfloat16BlockChannels == 0)
    }

    /// The ways that are worth a try.
    func hopperWays(_ product: RowsProduct) -> [ProductWay] {
        guard suitsHopper(product) else { return [] }
        let depth = product.matrix.rowBytes.dividedUp(by: 128)
        return HopperTile.all.indices.filter { product.gate == nil || HopperTile.all[$0].canGate }.flatMap { index in
            let tiles =
                product.rowsOfEntry.dividedUp(by: HopperTile.rows)
                * product.matrix.outputs.dividedUp(by: HopperTile.all[index].columns)
            return [1, 2, 4].filter { $0 == 1 || (tiles * $0 <= device.multiprocessorCount && depth >= 8 * $0) }
                .map { ProductWay.hopper(tile: index, splits: $0) }
        }
    }

    /// - Returns: false when Hopper's own units cannot do it.
    func multiplyOnHopper(_ product: RowsProduct, tile: Int, splits: Int) -> Bool {
        guard suitsHopper(product), HopperTile.all.indices.contains(tile) else { return false }
        return multiplyOnHopper(HopperProduct(product), HopperPlan(tile: tile, splits: splits))
    }

    /// - Returns: false when Hopper's own units cannot do it: they want whole blocks of channels.
    func convolveOnHopper(
        _ x: Tensor, _ weight: PreparedConvolution, rows: Tensor, bias: Tensor?, _ geometry: ConvolutionGeometry,
        _ activation: Activation, adding residual: Tensor?, into y: Tensor, leaving statistics: PartialStatistics?
    ) -> Bool {
        let addresses = x.device | y.device | rows.device | residual.device
        let doubles = geometry.upsampling == 2
        if doubles {
            let isDouble = y.shape[1] == 2 * x.shape[1] && y.shape[2] == 2 * x.shape[2]
            guard isDouble, geometry.stride == 1, residual == nil else { return false }
        }
        guard hasHopper, activationType == .bfloat16, geometry.stride <= 2,
            weight.inputs % HopperProduct.bfloat16BlockChannels == 0, weight.outputs % 8 == 0, addresses % 16 == 0,
            x.shape[1] * x.shape[2] >= 64
        else { return false }
        let product = HopperProduct(
            x, weight, rows: rows, bias: bias, geometry, activation, adding: residual, into: y)
        let size = HopperPlan.Size(
            width: product.boxedWidth, height: product.boxedHeight, phases: product.phases, outputs: weight.outputs,
            blocks: product.blocks)
        guard let plan = plan(size, images: y.shape[0]) else { return false }
        return multiplyOnHopper(product, plan, leaving: statistics)
    }

    /// nil when tests want another way.
    private func plan(_ size: HopperPlan.Size, images: Int) -> HopperPlan? {
        if let forced = productChoices.forced {
            let plans = HopperTile.all.indices.flatMap { tile in
                (1...size.mostSplits).map { HopperPlan(tile: tile, splits: $0) }
            }
            return plans.first { ProductWay.hopper(tile: $0.tile, splits: $0.splits).name.hasPrefix(forced) }
        }
        if let plan = hopperPlans[size]?[images] { return plan }
        let plan = HopperPlan(size, images: images)
        hopperPlans[size, default: [:]][images] = plan
        return plan
    }

    /// - Parameter statistics: of a convolution; left where boxes of one image suit it.
    /// - Returns: false when the driver cannot describe its tensors.
    private func multiplyOnHopper(
        _ product: HopperProduct, _ plan: HopperPlan, leaving statistics: PartialStatistics? = nil
    ) -> Bool {
        let (tile, splits) = (HopperTile.all[plan.tile], plan.splits)
        let (width, height) = (product.boxedWidth, product.boxedHeight)
        let ownBox = statistics == nil ? nil : HopperBox(ofOneImage: width, height)
        let box = ownBox ?? HopperBox(width: width, height: height, images: product.images)
        let count = box.count(width: width, height: height, images: product.images)
        // Of values, or of values and gates.
        let columns = product.gate == nil ? tile.columns : tile.columns / 2
        let tiles = count * product.outputs.dividedUp(by: columns)
        var parameters = tti_hopper()
        guard map(product, in: box, weightRows: columns, &parameters) else { return false }
        if let bias = product.bias {
            parameters.bias = bias.device
            parameters.is_bfloat16_bias = bias.dtype == .float32 ? 0 : 1
        }
        if let scales = product.scales {
            (parameters.x_scales, parameters.weight_scales) = scales
            parameters.rows = Int32(product.width)
        }
        if splits > 1 {
            let sums = splits * tiles * product.phases * HopperTile.rows * tile.columns
            parameters.partial = scratch("parts of tiles", 4 * sums).device
            parameters.counters = counters(tiles * product.phases).device
        }
        parameters.outputs = Int32(product.outputs)
        if let gate = product.gate {
            parameters.is_gated = 1
            parameters.value_row = gate == .gateFirst ? parameters.outputs : 0
            parameters.gate_row = gate == .gateFirst ? 0 : parameters.outputs
        }
        (parameters.box_width, parameters.box_height) = (Int32(box.width), Int32(box.height))
        parameters.box_images = Int32(box.images)
        parameters.across = Int32(width.dividedUp(by: box.width))
        parameters.down = Int32(height.dividedUp(by: box.height))
        parameters.boxes = Int32(count)
        (parameters.channel_blocks, parameters.blocks) = (Int32(product.channelBlocks), Int32(product.blocks))
        parameters.own_blocks = Int32(product.ownBlocks)
        (parameters.kernel_width, parameters.stride) = (Int32(product.kernelWidth), Int32(product.stride))
        (parameters.top, parameters.left) = (Int32(product.top), Int32(product.left))
        parameters.doubles = product.doubles ? 1 : 0
        (parameters.splits, parameters.activation) = (Int32(splits), Int32(product.activation.rawValue))
        parameters.adds = product.residual == 0 ? 0 : 1
        if let statistics, ownBox != nil {
            parameters.statistics = placeForStatistics(product, in: box, groups: statistics.groups)
            statistics.left = parameters.statistics
        }
        launch(
            "hopper_\(product.scales == nil ? "" : "int8_")\(tile.name)", grid: (tiles, splits, product.phases),
            threads: HopperTile.threads,
            shared: tile.sharedBytes, parameters)
        return true
    }

    /// Describes what a product reads and writes for the copy engine.
    private func map(
        _ product: HopperProduct, in box: HopperBox, weightRows: Int, _ parameters: inout tti_hopper
    ) -> Bool {
        let (bytes, depth) = (product.operandBytes, UInt32(product.blockChannels))
        var x = ctti_image(
            product.x, channels: product.channels, product.width, product.height, product.images, elementBytes: bytes)
        x.box(depth, box)
        x.step = UInt32(product.stride)
        var weight = ctti_image(
            product.weight, channels: product.weightInputs, product.weightRows, 1, 1, elementBytes: bytes)
        let stride = UInt64(product.weightStride)
        weight.strides = (stride, stride * weight.width, stride * weight.width)
        (weight.box_channels, weight.box_width) = (depth, UInt32(weightRows))
        var y = ctti_image(
            product.y, channels: product.outputs, product.outputWidth, product.outputHeight, product.images)
        y.box(32, box)
        guard unsafe ctti_map_image(device.driver, &parameters.x, &x) == 0,
            unsafe ctti_map_image(device.driver, &parameters.weight, &weight) == 0
        else { return false }
        if let joined = product.joined {
            var image = ctti_image(
                joined.address, channels: joined.channels, product.width, product.height, product.images,
                elementBytes: bytes)
            image.box(depth, box)
            image.step = UInt32(product.stride)
            guard unsafe ctti_map_image(device.driver, &parameters.joined, &image) == 0 else { return false }
        }
        if product.residual != 0 {
            var residual = y
            residual.address = product.residual
            guard unsafe ctti_map_image(device.driver, &parameters.residual, &residual) == 0 else { return false }
        }
        guard product.doubles else { return unsafe ctti_map_image(device.driver, &parameters.y.0, &y) == 0 }
        // Every second pixel of every second row.
        let (across, down) = (y.strides.0, y.strides.1)
        (y.strides.0, y.strides.1) = (2 * across, 2 * down)
        (y.width, y.height) = (UInt64(product.width), UInt64(product.height))
        let addresses = (0..<4).map { product.y + UInt64($0 % 2) * across + UInt64($0 / 2) * down }
        func mapPhase(_ phase: Int, _ map: inout tti_tensor_map) -> Bool {
            y.address = addresses[phase]
            return unsafe ctti_map_image(device.driver, &map, &y) == 0
        }
        return mapPhase(0, &parameters.y.0) && mapPhase(1, &parameters.y.1) && mapPhase(2, &parameters.y.2)
            && mapPhase(3, &parameters.y.3)
    }
}
