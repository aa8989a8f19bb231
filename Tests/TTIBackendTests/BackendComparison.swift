import TTICPU
import TTICore
import TTITestSupport
import Testing

/// One operation on the CPU and on the reference, and on the CPU in several ways that must agree bit for bit.
enum BackendComparison {
    static let instructionSets = CPUBackend.InstructionSet.allCases.filter(\.isAvailable)

    static func cpu(
        _ set: CPUBackend.InstructionSet, threads: Int = 2, weightType: DType = .float32
    ) throws -> CPUBackend {
        let backend = CPUBackend(weightType: weightType, threads: threads, instructionSet: set)
        try backend.reserve(arenaBytes: 256 << 20)
        return backend
    }

    /// Numbers in -1..<1 that differ from seed to seed.
    static func noise(_ shape: Shape, _ seed: UInt64, scale: Float = 1) -> HostTensor {
        let stream = RandomStream(seed: seed)
        return HostTensor(
            (0..<shape.elementCount).map {
                scale * (2 * stream.uniform(.latent, position: 0, index: $0) - 1)
            }, shape)
    }

    static func integers(_ values: [Int], _ shape: Shape) -> HostTensor { HostTensor(values.map(Int32.init), shape) }

    /// What `body` makes on the CPU is what it makes on the reference.
    static func expectReference(
        _ set: CPUBackend.InstructionSet, _ tolerance: Tolerance, _ name: String, cacheType: DType = .float32,
        _ body: (any Backend) throws -> Tensor
    ) throws {
        let backend = try cpu(set, weightType: cacheType)
        let type = cacheType == .float32 ? DType.float64 : cacheType
        let reference = ReferenceBackend(
            weightType: type, cacheType: type, roundsProducts: set.roundsProducts(cacheType),
            roundsAttention: set.roundsAttention(cacheType))
        let difference = try Difference(
            OpOutput(body(backend), on: backend), from: OpOutput(body(reference), on: reference))
        #expect(difference.isWithin(tolerance), "\(name) on \(set.rawValue): \(difference)")
    }

    /// The same bits with one, two and three threads.
    static func expectThreadsAgree(
        _ set: CPUBackend.InstructionSet, _ name: String, weightType: DType = .float32,
        _ body: (any Backend) throws -> Tensor
    ) throws {
        let results = try [1, 2, 3].map { threads in
            let backend = try cpu(set, threads: threads, weightType: weightType)
            return try backend.read(body(backend)).map(\.bitPattern)
        }
        #expect(results[0] == results[1] && results[0] == results[2], "\(name) on \(set.rawValue)")
    }
}
