import TTIAccounting
import TTICPU
import TTICore
import TTITestSupport
import Testing

/// Attention over sequences and over caches: against the reference, and bit for bit over threads and batch.
@Suite struct AttentionTests {
    struct Extents: Sendable {
        let batch, keyBatch, heads, queries, keys, width: Int
    }
    static let extents = [
        Extents(batch: 1, keyBatch: 1, heads: 1, queries: 1, keys: 1, width: 1),
        Extents(batch: 4, keyBatch: 2, heads: 3, queries: 1, keys: 77, width: 32),
        Extents(batch: 2, keyBatch: 1, heads: 2, queries: 3, keys: 300, width: 40),
        Extents(batch: 2, keyBatch: 2, heads: 2, queries: 64, keys: 64, width: 64),
        Extents(batch: 2, keyBatch: 1, heads: 2, queries: 50, keys: 77, width: 33),
        Extents(batch: 1, keyBatch: 1, heads: 1, queries: 130, keys: 300, width: 100),
        Extents(batch: 1, keyBatch: 1, heads: 2, queries: 17, keys: 600, width: 160),
    ]

    static func attend(
        _ backend: any Backend, _ e: Extents, scale: Float, causal: Bool = false, window: AttentionWindow? = nil,
        keyBias: [Float]? = nil, scoreBias: Bool = false, rows: Range<Int>? = nil
    ) -> Tensor {
        let columns = e.heads * e.width
        var q = backend.upload(BackendComparison.noise([e.batch, e.queries, columns], 1))
        if let rows { q = q.prefixRows(rows) }
        let kv = backend.upload(BackendComparison.noise([e.keyBatch, e.keys, 2 * columns], 2))
        var mask = AttentionMask(causal: causal, window: window)
        mask.keyBias = keyBias.map { backend.upload(HostTensor($0, [e.keyBatch, e.keys])) }
        if scoreBias { mask.scoreBias = backend.upload(BackendComparison.noise([e.heads, e.queries, e.keys], 3)) }
        return backend.attention(
            q.columns, kv.columns(0, of: 2), kv.columns(1, of: 2), heads: e.heads, scale: scale, mask: mask)
    }

    @Test(arguments: BackendComparison.instructionSets, [DType.float32, .bfloat16])
    func `attention equals the reference's`(set: CPUBackend.InstructionSet, weightType: DType) throws {
        for e in Self.extents {
            let tolerance = Self.tolerance(set, weightType, e)
            func expect(_ name: String, _ tolerance: Tolerance, _ body: (any Backend) throws -> Tensor) throws {
                try BackendComparison.expectReference(set, tolerance, "\(name) \(e)", cacheType: weightType, body)
            }
            try expect("plain", tolerance) { Self.attend($0, e, scale: 0.125) }
            let sharp = tolerance.maximum > Tolerance.sharpAttention.maximum ? tolerance : .sharpAttention
            try expect("sharp", sharp) { Self.attend($0, e, scale: 3) }
            try expect("biased", tolerance) { Self.attend($0, e, scale: 0.2, scoreBias: true) }
            try BackendComparison.expectThreadsAgree(set, "\(e)", weightType: weightType) {
                Self.attend($0, e, scale: 0.2)
            }
            guard e.keys >= e.queries else { continue }
            try expect("causal", tolerance) { Self.attend($0, e, scale: 0.2, causal: true) }
            for window in [AttentionWindow(columns: 8, size: 3), AttentionWindow(columns: 5, size: 7)] {
                try expect("\(window)", tolerance) { Self.attend($0, e, scale: 0.2, causal: true, window: window) }
            }
        }
    }

    static func tolerance(_ set: CPUBackend.InstructionSet, _ weightType: DType, _ e: Extents) -> Tolerance {
        .of("attention", roundsAttention: e.queries >= 16 && set.roundsAttention(weightType))
    }

    @Test(arguments: BackendComparison.instructionSets, [DType.float32, .bfloat16])
    func `masked keys count for nothing, and a row without keys is zero`(
        set: CPUBackend.InstructionSet, weightType: DType
    ) throws {
        for e in Self.extents {
            let some = (0..<e.keyBatch * e.keys).map { $0 % 3 == 0 || $0 < 20 ? -Float.infinity : 0 }
            try BackendComparison.expectReference(
                set, Self.tolerance(set, weightType, e), "\(e)", cacheType: weightType
            ) {
                Self.attend($0, e, scale: 0.2, keyBias: some)
            }
            let all = [Float](repeating: -.infinity, count: e.keyBatch * e.keys)
            let backend = try BackendComparison.cpu(set, weightType: weightType)
            let zeros = try backend.read(Self.attend(backend, e, scale: 0.2, keyBias: all))
            #expect(zeros.allSatisfy { $0 == 0 }, "\(e)")
        }
    }

    @Test(arguments: BackendComparison.instructionSets, [DType.float32, .bfloat16])
    func `an entry's attention does not depend on the batch`(
        set: CPUBackend.InstructionSet, weightType: DType
    ) throws {
        let backend = try BackendComparison.cpu(set, weightType: weightType)
        for e in Self.extents where e.batch > e.keyBatch && e.keyBatch == 1 {
            let all = try backend.read(Self.attend(backend, e, scale: 0.2))
            for entry in 0..<e.batch {
                let one = try backend.read(Self.attend(backend, e, scale: 0.2, rows: entry..<entry + 1))
                #expect(Array(all[entry * one.count..<(entry + 1) * one.count]) == one)
            }
        }
    }

    @Test(arguments: BackendComparison.instructionSets, [DType.float32, .bfloat16])
    func `eager attention equals the reference's`(set: CPUBackend.InstructionSet, weightType: DType) throws {
        // Bit for bit what flash attention does is not asked: sums go in another order.
        let rounds = set.roundsAttention(weightType)
        let reference = ReferenceBackend(
            weightType: weightType == .float32 ? .float64 : weightType, cacheType: weightType, roundsAttention: rounds)
        func expect(_ e: Extents, _ body: (any Backend) -> Tensor) throws {
            let backend = try BackendComparison.cpu(set, weightType: weightType)
            backend.attentionForm = .eager
            let mark = backend.arena.mark
            let result = body(backend)
            let difference = try Difference(
                OpOutput(result, on: backend), from: OpOutput(body(reference), on: reference))
            #expect(difference.isWithin(Self.tolerance(set, weightType, e)), "\(e) on \(set.rawValue): \(difference)")
            // What a counting backend plans is what the scores take.
            let counter = AccountingBackend(weightType: weightType, cacheType: weightType)
            counter.attentionForm = .eager
            _ = body(counter)
            #expect(backend.arena.peak - mark <= counter.arena.peak)
        }
        for e in Self.extents {
            try expect(e) { Self.attend($0, e, scale: 0.125) }
            try expect(e) { Self.attend($0, e, scale: 0.2, scoreBias: true) }
            let some = (0..<e.keyBatch * e.keys).map { $0 % 3 == 0 || $0 < 20 ? -Float.infinity : 0 }
            try expect(e) { Self.attend($0, e, scale: 0.2, keyBias: some) }
            guard e.keys >= e.queries else { continue }
            try expect(e) { Self.attend($0, e, scale: 0.2, causal: true) }
            let window = AttentionWindow(columns: 8, size: 3)
            try expect(e) { Self.attend($0, e, scale: 0.2, causal: true, window: window) }
        }
    }

    static func decode(
        _ backend: any Backend, position: Int, width: Int, window: AttentionWindow?, batch: Int = 2
    ) throws -> Tensor {
        let (heads, capacity) = (3, 700)
        func cache(_ seed: UInt64) throws -> Tensor {
            let tensor = backend.allocate([batch, heads, capacity, width], backend.cacheType)
            let one = BackendComparison.noise([heads, capacity, width], seed).floats()
            backend.write(HostTensor((0..<batch).flatMap { _ in one }, tensor.shape), to: tensor)
            return tensor
        }
        let caches = try KeyValueCache(keys: cache(4), values: cache(5))
        let one = BackendComparison.noise([1, 1, 3 * heads * width], 6).floats()
        let qkv = backend.upload(HostTensor((0..<batch).flatMap { _ in one }, [batch, 1, 3 * heads * width]))
        let place = backend.upload(BackendComparison.integers([position], [1]))
        return backend.qkvDecodeAttention(qkv, caches, at: place, scale: 0.3, window: window)
    }

    @Test(arguments: BackendComparison.instructionSets, [DType.float32, .bfloat16])
    func `decoding equals the reference's`(set: CPUBackend.InstructionSet, cacheType: DType) throws {
        for (position, width) in [(0, 64), (1, 8), (15, 64), (16, 32), (255, 64), (256, 40), (600, 64), (699, 33)] {
            for window in [nil, AttentionWindow(columns: 16, size: 11), AttentionWindow(columns: 7, size: 3)] {
                let name = "position \(position), width \(width), \(String(describing: window))"
                try BackendComparison.expectReference(set, .of("qkvDecodeAttention"), name, cacheType: cacheType) {
                    try Self.decode($0, position: position, width: width, window: window)
                }
                try BackendComparison.expectThreadsAgree(set, name) {
                    try Self.decode($0, position: position, width: width, window: window)
                }
            }
        }
        let backend = try BackendComparison.cpu(set, weightType: cacheType)
        let one = try backend.read(Self.decode(backend, position: 600, width: 64, window: nil, batch: 1))
        let three = try backend.read(Self.decode(backend, position: 600, width: 64, window: nil, batch: 3))
        #expect(three == one + one + one)
    }
}
