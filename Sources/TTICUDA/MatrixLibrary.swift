internal import CTTICUDA
internal import TTICore

/// cuBLASLt for products of many rows.
///
/// What is done depends on the shape of one entry of the batch, and every entry is a product of its own: batch n equals n
/// singles.
@safe
final class MatrixLibrary {
    private let device: CUDADevice
    private let memory: DeviceMemory
    private let handle: ctti_handle
    static let workspaceBytes = 32 << 20

    /// nil when the library is not there, or has no use for this device.
    init?(_ device: CUDADevice, _ memory: DeviceMemory) {
        device.makeCurrent()
        guard let handle = unsafe ctti_open_matrix_library(nil) else { return nil }
        (self.device, self.memory) = (device, memory)
        unsafe self.handle = handle
    }

    deinit {
        device.makeCurrent()
        unsafe ctti_close_matrix_library(handle)
    }

    /// Issues a product.
    /// - Returns: 0 when the library could do it.
    func issue(
        _ shape: ProductShape, _ batch: Int, _ way: ctti_product_way, _ addresses: ctti_product_addresses
    ) -> ctti_status {
        device.makeCurrent()
        var way = way
        return unsafe ctti_multiply_by_library(
            handle, description(shape, batch), &way, addresses, MatrixLibrary.workspaceBytes, device.stream)
    }

    private func description(_ shape: ProductShape, _ batch: Int) -> ctti_product_shape {
        ctti_product_shape(
            rows: Int64(shape.rows), inputs: Int64(shape.inputs), weight_stride: Int64(shape.stride),
            outputs: Int64(shape.outputs), batch: Int64(batch), adds: shape.adds, repeats_x: false,
            float_result: shape.isFloatResult)
    }

    // MARK: Choice

    /// What the library recommends, the fastest first: timed on the operands at hand, one after the other.
    func fastest(
        _ count: Int, _ shape: ProductShape, _ batch: Int, _ addresses: ctti_product_addresses
    ) -> [ctti_product_way] {
        precondition(!device.isRecording, "choosing in a recording")
        let none = ctti_product_way()
        var candidates = [ctti_product_way](repeating: none, count: 12)
        device.makeCurrent()
        let found = unsafe ctti_product_ways(
            handle, description(shape, batch), MatrixLibrary.workspaceBytes, &candidates, 12)
        var timed: [(way: ctti_product_way, time: Float)] = []
        for way in candidates.prefix(Int(found)) {
            // The first time loads the kernel.
            guard issue(shape, batch, way, addresses) == 0 else { continue }
            let time = device.milliseconds { for _ in 0..<8 { _ = issue(shape, batch, way, addresses) } }
            if let time { timed.append((way, time)) }
        }
        var ways: [ctti_product_way] = []
        for (way, _) in timed.sorted(by: { $0.time < $1.time }) where ways.count < count {
            if isSteady(shape, way, addresses) { ways.append(way) }
        }
        return ways
    }

    /// Whether an entry's bits are the same alone and among others: some ways share the work of all entries out among the
    /// multiprocessors, and cut sums where that falls.
    private func isSteady(_ shape: ProductShape, _ way: ctti_product_way, _ addresses: ctti_product_addresses) -> Bool {
        let count = shape.rows * shape.outputs * (shape.isFloatResult ? 4 : 2)
        guard let buffer = try? memory.allocate(3 * count) else { return false }
        var target = addresses
        target.y = buffer.address.device
        var alone = [UInt8](repeating: 0, count: count)
        for batch in 1...3 {
            var product = description(shape, batch)
            (product.adds, product.repeats_x) = (false, true)
            var way = way
            device.fill(buffer.address, 3 * count, 0xff)
            let status = unsafe ctti_multiply_by_library(
                handle, product, &way, target, MatrixLibrary.workspaceBytes, device.stream)
            guard status == 0 else { return false }
            var results = [UInt8](repeating: 0, count: batch * count)
            unsafe results.withUnsafeMutableBytes {
                _ = unsafe device.driver.pointee.copy_to_host($0.baseAddress, target.y, $0.count, device.stream)
            }
            guard (try? device.synchronize()) != nil else { return false }
            if batch == 1 { alone = results }
            for entry in 0..<batch where !results[entry * count..<(entry + 1) * count].elementsEqual(alone) {
                return false
            }
        }
        return true
    }
}
