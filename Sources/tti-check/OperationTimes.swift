internal import TTIAccounting
internal import TTICUDA
internal import TTICore
internal import TTITestSupport

/// How long operations take on a GPU: many copies of one, each with operands of its own so that weights come from memory and
/// not from a cache, recorded as one program.
struct OperationTimes {
    let backend: any Backend

    init(_ backend: any Backend) { self.backend = backend }

    /// Bytes of operands that no cache holds.
    private static let coldBytes = 256 << 20

    func run(_ filters: [String]) throws {
        guard let cuda = backend as? CUDABackend else { return print("times are for a GPU") }
        for opCase in OpCase.measured
        where filters.isEmpty || filters.contains(where: { opCase.description.contains($0) }) {
            let cost = try opCase.cost(weightType: backend.weightType, cacheType: backend.cacheType)
            let bytes = cost.bytesRead + cost.weightBytes + cost.bytesWritten
            let copies = min(64, max(4, OperationTimes.coldBytes / max(1, bytes)))
            let needed = try opCase.arenaBytes(for: backend)
            try backend.reserve(arenaBytes: copies * (2 * needed + 4096))
            backend.arena.rewind(to: 0)
            let operations = try (0..<copies).map { _ in try opCase.prepare(on: backend) }
            let mark = backend.arena.mark
            let program = backend.record {
                backend.arena.rewind(to: mark)
                for operation in operations { _ = operation() }
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
                "time \(backend.weightType) \(opCase): \(tenths(time)) us, \(tenths(rate)) GB/s, \(tenths(speed)) TFLOP/s"
            )
        }
    }

    private func tenths(_ x: Float) -> Float { (x * 10).rounded() / 10 }
}
