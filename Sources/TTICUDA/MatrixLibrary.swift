internal import CTTICUDA
internal import TTICore

/// cuBLASLt for products of many rows: the library's ways are timed for each shape when it is first met, and the fastest is
/// kept, on the disk too.
///
/// The choice depends on the shape of one entry of the batch, and every entry is a product of its own: batch n equals n
/// singles.
@safe
final class MatrixLibrary {
    private let device: CUDADevice
    private let memory: DeviceMemory
    private let handle: ctti_handle
    private var ways: [Shape: ctti_product_way?] = [:]
    private let cache = KernelCache.standard
    static let workspaceBytes = 32 << 20

    /// What a product is, but for how many entries there are.
    struct Shape: Hashable {
        let rows, inputs, stride, outputs: Int
        let adds: Bool
        /// The result in float32, for a kernel that ends the product.
        var isFloatResult = false
    }

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
    /// - Returns: false when the library cannot do it.
    func multiply(_ shape: Shape, batch: Int, at addresses: ctti_product_addresses) -> Bool {
        guard let way = way(for: shape, batch: batch, at: addresses) else { return false }
        return issue(shape, batch, way, addresses) == 0
    }

    private func issue(
        _ shape: Shape, _ batch: Int, _ way: ctti_product_way, _ addresses: ctti_product_addresses
    ) -> ctti_status {
        device.issuePutOff()
        device.makeCurrent()
        var way = way
        return unsafe ctti_multiply_by_library(
            handle, description(shape, batch), &way, addresses, MatrixLibrary.workspaceBytes, device.stream)
    }

    private func description(_ shape: Shape, _ batch: Int) -> ctti_product_shape {
        ctti_product_shape(
            rows: Int64(shape.rows), inputs: Int64(shape.inputs), weight_stride: Int64(shape.stride),
            outputs: Int64(shape.outputs), batch: Int64(batch), adds: shape.adds, repeats_x: false,
            float_result: shape.isFloatResult)
    }

    // MARK: Choice

    private func way(for shape: Shape, batch: Int, at addresses: ctti_product_addresses) -> ctti_product_way? {
        if let known = ways[shape] { return known }
        let key =
            "cublasLt 2 \(ctti_matrix_library_version()) on \(device.name): \(shape.rows)x\(shape.inputs) (\(shape.stride)) to \(shape.outputs)\(shape.adds ? " adding" : "")\(shape.isFloatResult ? " in float" : "")"
        if let bytes = cache.image(for: key), bytes.count == MemoryLayout<ctti_product_way>.size {
            let way = unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: ctti_product_way.self) }
            ways[shape] = .some(way)
            return way
        }
        let best = fastest(shape, batch, addresses)
        ways[shape] = .some(best)
        if var best { cache.keep(unsafe withUnsafeBytes(of: &best) { unsafe Array($0) }, for: key) }
        return best
    }

    /// Times what the library recommends, on the operands at hand.
    private func fastest(_ shape: Shape, _ batch: Int, _ addresses: ctti_product_addresses) -> ctti_product_way? {
        precondition(!device.isRecording, "choosing in a recording")
        let none = ctti_product_way()
        var candidates = [ctti_product_way](repeating: none, count: 12)
        device.makeCurrent()
        let count = unsafe ctti_product_ways(
            handle, description(shape, batch), MatrixLibrary.workspaceBytes, &candidates, 12)
        var timed: [(way: ctti_product_way, time: Float)] = []
        for way in candidates.prefix(Int(count)) {
            // The first time loads the kernel.
            guard issue(shape, batch, way, addresses) == 0 else { continue }
            let time = device.milliseconds { for _ in 0..<8 { _ = issue(shape, batch, way, addresses) } }
            if let time { timed.append((way, time)) }
        }
        return timed.sorted { $0.time < $1.time }.first { isSteady(shape, $0.way, addresses) }?.way
    }

    /// Whether an entry's bits are the same alone and among others: some ways share the work of all entries out among the
    /// multiprocessors, and cut sums where that falls.
    private func isSteady(_ shape: Shape, _ way: ctti_product_way, _ addresses: ctti_product_addresses) -> Bool {
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
