internal import CTTICUDA
internal import Glibc
internal import TTICore

/// What a product of many rows is, but for how many entries there are.
struct ProductShape: Hashable {
    let rows, inputs, stride, outputs: Int
    let adds: Bool
    /// The library's result is float32, for a kernel that ends the product.
    var isFloatResult = false
    /// The outputs are values and gates.
    var isGated = false
    var isInt8 = false
    /// Of inputs that lie in two tensors, those in the first.
    var ownInputs: Int?
}

/// How a product of many rows is made.
enum ProductWay {
    case library(ctti_product_way)
    /// By our own kernels, the depth in so many parts.
    case tiles(splits: Int)
    /// By our kernels for Hopper: one of `HopperTile.all`.
    case hopper(tile: Int, splits: Int)

    var name: String {
        switch self {
        case .library: "library"
        case .tiles(let splits): "tiles in \(splits)"
        case .hopper(let tile, let splits): "hopper \(HopperTile.all[tile].name) in \(splits)"
        }
    }

    /// For the disk: which of the three, and what they need to know.
    var bytes: [UInt8] {
        var words: (Int, Int, Int) = (0, 0, 0)
        var way = ctti_product_way()
        switch self {
        case .library(let own): way = own
        case .tiles(let splits): words = (1, splits, 0)
        case .hopper(let tile, let splits): words = (2, splits, tile)
        }
        let first = unsafe withUnsafeBytes(of: &words) { unsafe Array($0) }
        return unsafe first + withUnsafeBytes(of: &way) { unsafe Array($0) }
    }

    /// nil when these are not such bytes.
    init?(bytes: [UInt8]) {
        let size = MemoryLayout<(Int, Int, Int)>.size
        guard bytes.count == size + MemoryLayout<ctti_product_way>.size else { return nil }
        let (words, way) = unsafe bytes.withUnsafeBytes {
            unsafe (
                $0.loadUnaligned(as: (Int, Int, Int).self),
                $0.loadUnaligned(fromByteOffset: size, as: ctti_product_way.self)
            )
        }
        switch words.0 {
        case 0: self = .library(way)
        case 1 where words.1 > 0: self = .tiles(splits: words.1)
        case 2 where words.1 > 0 && HopperTile.all.indices.contains(words.2):
            self = .hopper(tile: words.2, splits: words.1)
        default: return nil
        }
    }
}

/// The ways that were found to be fastest, by what products are; also on the disk.
final class ProductChoices {
    private let device: CUDADevice
    private var choices: [ProductShape: ProductWay] = [:]
    private let cache = KernelCache.standard
    /// For tests: the first way whose name begins so is taken, and nothing is timed (TTI_CUDA_PRODUCTS="hopper 128x256x4").
    let forced: String?

    init(_ device: CUDADevice) {
        self.device = device
        forced = unsafe getenv("TTI_CUDA_PRODUCTS").map { unsafe String(cString: $0) }
    }

    /// The way that was chosen for a product, in this process or an earlier one.
    func choice(for shape: ProductShape) -> ProductWay? {
        if let known = choices[shape] { return known }
        guard forced == nil, let bytes = cache.image(for: key(shape)), let way = ProductWay(bytes: bytes) else {
            return nil
        }
        choices[shape] = way
        return way
    }

    func keep(_ way: ProductWay, for shape: ProductShape) {
        choices[shape] = way
        if forced == nil { cache.keep(way.bytes, for: key(shape)) }
    }

    private func key(_ shape: ProductShape) -> String {
        let ends = [
            (shape.adds, " adding"), (shape.isFloatResult, " ended"), (shape.isGated, " gated"),
            (shape.isInt8, " int8"),
        ]
        let end = ends.filter(\.0).map(\.1).joined() + (shape.ownInputs.map { " joined at \($0)" } ?? "")
        let tiles = HopperTile.all.map(\.name).joined(separator: " ")
        return "product 5 \(ctti_matrix_library_version()) and \(tiles) on \(device.name): "
            + "\(shape.rows)x\(shape.inputs) (\(shape.stride)) to \(shape.outputs)\(end)"
    }
}
