internal import TTIAccounting
internal import TTICUDA
internal import TTICore
internal import TTITestSupport

/// How long operations take on a GPU: many copies of one, each with weights of its own so that they come from memory and
/// not from a cache, recorded as one program. Each begins when the one before it lets it.
struct OperationTimes {
    let backend: any Backend
    /// Whether copies share their activations, which a cache holds then, as it does between layers of a network; else they
    /// come from memory too.
    let inChain: Bool

    init(_ backend: any Backend, inChain: Bool) {
        self.backend = backend
        self.inChain = inChain
    }

    /// Bytes of operands that no cache holds.
    private static let coldBytes = 256 << 20

    func run(_ filters: [String]) throws {
        guard let cuda = backend as? CUDABackend else { return print("times are for a GPU") }
        for opCase in OpCase.measured + OpCase.measuredChains
        where filters.isEmpty || filters.contains(where: { opCase.description.contains($0) }) {
            let cost = try opCase.cost(weightType: backend.weightType, cacheType: backend.cacheType)
            let bytes = cost.bytesRead + cost.weightBytes + cost.bytesWritten
            let cold = inChain ? cost.weightBytes : bytes
            let copies = min(64, max(4, OperationTimes.coldBytes / max(1, cold)))
            let needed = try opCase.arenaBytes(for: backend)
            try backend.reserve(arenaBytes: (inChain ? 1 : copies) * (2 * needed + 4096))
            backend.arena.rewind(to: 0)
            let operations = try (0..<copies).map { _ in
                if inChain { backend.arena.rewind(to: 0) }
                return try opCase.prepare(on: backend)
            }
            let mark = backend.arena.mark
            let program = backend.record {
                backend.arena.rewind(to: mark)
                for operation in operations {
                    if inChain { backend.arena.rewind(to: mark) }
                    _ = operation()
                }
            }
            try backend.synchronize()
            var times: [Float] = []
            for _ in 0..<7 {
                guard let time = cuda.device.milliseconds({ program.replay() }) else { break }
                times.append(time * 1000 / Float(copies))
            }
            try backend.synchronize()
            let time = times.sorted()[times.count / 2]
            let (rate, speed) = (Float(bytes) / time / 1000, Float(cost.flops) / time / 1e6)
            print(
                "\(inChain ? "chain" : "time") \(backend.weightType) \(opCase): \(tenths(time)) us, \(tenths(rate)) GB/s, \(tenths(speed)) TFLOP/s"
            )
        }
    }

    private func tenths(_ x: Float) -> Float { (x * 10).rounded() / 10 }
}
