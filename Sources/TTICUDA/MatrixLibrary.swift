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
    /// How products are made, by what they are; also on the disk.
    private var choices: [Shape: ProductWay] = [:]
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
    /// - Returns: 0 when the library could do it.
    func issue(
        _ shape: Shape, _ batch: Int, _ way: ctti_product_way, _ addresses: ctti_product_addresses
    ) -> ctti_status {
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

    /// The way that was chosen for a product, in this process or an earlier one.
    func choice(for shape: Shape) -> ProductWay? {
        if let known = choices[shape] { return known }
        guard let bytes = cache.image(for: key(shape)), let way = ProductWay(bytes: bytes) else { return nil }
        choices[shape] = way
        return way
    }

    func keep(_ way: ProductWay, for shape: Shape) {
        choices[shape] = way
        cache.keep(way.bytes, for: key(shape))
    }

    private func key(_ shape: Shape) -> String {
        let end = "\(shape.adds ? " adding" : "")\(shape.isFloatResult ? " ended" : "")"
        return "product 3 \(ctti_matrix_library_version()) on \(device.name): "
            + "\(shape.rows)x\(shape.inputs) (\(shape.stride)) to \(shape.outputs)\(end)"
    }

    /// What the library recommends, the fastest first: timed on the operands at hand, one after the other.
    func fastest(
        _ count: Int, _ shape: Shape, _ batch: Int, _ addresses: ctti_product_addresses
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

/// How a product of many rows is made.
enum ProductWay {
    case library(ctti_product_way)
    /// By our own kernels, the depth in so many parts.
    case tiles(splits: Int)

    /// For the disk: the parts of the depth, 0 for the library's; then its way.
    var bytes: [UInt8] {
        var splits = 0
        var way = ctti_product_way()
        switch self {
        case .library(let own): way = own
        case .tiles(let own): splits = own
        }
        let first = unsafe withUnsafeBytes(of: &splits) { unsafe Array($0) }
        return unsafe first + withUnsafeBytes(of: &way) { unsafe Array($0) }
    }

    /// nil when these are not such bytes.
    init?(bytes: [UInt8]) {
        guard bytes.count == MemoryLayout<Int>.size + MemoryLayout<ctti_product_way>.size else { return nil }
        let (splits, way) = unsafe bytes.withUnsafeBytes {
            unsafe (
                $0.loadUnaligned(as: Int.self),
                $0.loadUnaligned(fromByteOffset: MemoryLayout<Int>.size, as: ctti_product_way.self)
            )
        }
        self = splits == 0 ? .library(way) : .tiles(splits: splits)
    }
}
