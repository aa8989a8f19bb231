import TTIAccounting
import TTICPU
import TTICore
import TTITestSupport
import Testing

struct AccountingTests {
    private func matrix(_ backend: any Backend, _ outputs: Int, _ inputs: Int) throws -> PreparedMatrix {
        try backend.prepare(matrix: HostTensor(shape: [outputs, inputs], dtype: .float32), for: .sequences)
    }

    @Test func `a product's arithmetic and traffic`() throws {
        let backend = AccountingBackend(weightType: .bfloat16, cacheType: .bfloat16)
        let weight = try matrix(backend, 4096, 1024)
        let bias = try backend.prepare(constant: HostTensor(shape: [4096], dtype: .float16))
        #expect(backend.preparedBytes == [.bfloat16: 8 << 20, .float32: 16 << 10])
        let x = backend.allocate([2, 1, 1024], .float32)
        let y = backend.linear(x, weight, bias: bias, activation: .gelu, adding: nil)
        #expect(y.shape == [2, 1, 4096] && y.address == 8192)
        let record = try #require(backend.operations.first)
        #expect(record.name == "linear" && record.shapes == "[2, 1, 1024] × [4096, 1024]")
        #expect(record.flops == 2 * 2 * 4096 * 1024)
        #expect(record.weightBytes == 8 << 20)
        #expect(record.bytesRead == 8192 + 16384 && record.bytesWritten == 32768)
        #expect(record.bytes == 8 << 20 + 57344)
        #expect(backend.arena.peak == 8192 + 32768)
    }

    @Test func `a convolution counts every output's whole kernel`() throws {
        let backend = AccountingBackend(weightType: .float32, cacheType: .float32)
        let kernel = try backend.prepare(convolution: HostTensor(shape: [8, 4, 3, 3], dtype: .float32))
        let y = backend.convolve(
            backend.allocate([1, 5, 7, 4], .float32), kernel, bias: nil, ConvolutionGeometry(padding: 1, upsampling: 2),
            activation: .identity, adding: nil)
        #expect(y.shape == [1, 10, 14, 8])
        #expect(backend.totals.flops == 2 * 10 * 14 * 8 * 4 * 9)
        #expect(backend.totals.weightBytes == 8 * 4 * 9 * 4)
    }

    @Test func `attention counts the pairs that the mask leaves`() {
        let backend = AccountingBackend(weightType: .float32, cacheType: .bfloat16)
        let qkv = backend.allocate([2, 10, 3 * 32], .float32)
        let (q, k, v) = (qkv.columns(0, of: 3), qkv.columns(1, of: 3), qkv.columns(2, of: 3))
        func pairs(_ mask: AttentionMask) -> Int {
            backend.reset()
            _ = backend.attention(q, k, v, heads: 2, scale: 1, mask: mask)
            return backend.totals.flops / (2 * (4 * 32 + 4 * 2))
        }
        #expect(pairs(.none) == 100)
        #expect(pairs(AttentionMask(causal: true)) == 55)
        // Rows of five: row 0 sees 1, 2, 3, 3, 3 of its keys and row 1 its own and those above, and always the first.
        let sparse = pairs(AttentionMask(causal: true, window: AttentionWindow(columns: 5, size: 3)))
        #expect(sparse < 55 && sparse > 20)
        #expect(backend.totals.bytesRead == 3 * 2 * 10 * 32 * 4)
    }

    @Test func `eager attention is three operations, with the scores between them`() throws {
        let backend = AccountingBackend(weightType: .float32, cacheType: .float32)
        backend.attentionForm = .eager
        let qkv = backend.allocate([2, 10, 3 * 32], .float32)
        let text = backend.allocate([2, 7, 2 * 32], .float32)
        let mark = backend.arena.mark
        _ = backend.attention(
            qkv.columns(0, of: 3), qkv.columns(1, of: 3), qkv.columns(2, of: 3), heads: 4, scale: 1,
            mask: AttentionMask(causal: true))
        _ = backend.attention(
            qkv.columns(0, of: 3), text.columns(0, of: 2), text.columns(1, of: 2), heads: 4, scale: 1, mask: .none)
        #expect(
            backend.operations.map(\.name) == ["attentionScores", "attentionSoftmax", "attentionMix"]
                + ["attentionScores", "attentionSoftmax", "attentionMix"])
        #expect(backend.operations[..<3].allSatisfy { $0.kind == .spatialAttention })
        #expect(backend.operations[3...].allSatisfy { $0.kind == .crossAttention })
        #expect(backend.operations.compactMap(\.attention?.keys) == [10, 7])
        let (scores, columns) = (2 * 4 * 10 * 10, 2 * 10 * 32)
        #expect(backend.operations[..<3].map(\.flops) == [2 * scores * 8, 4 * scores, 2 * scores * 8])
        #expect(backend.operations[..<3].map(\.bytesRead) == [2 * 4 * columns, 4 * scores, 4 * (scores + columns)])
        #expect(backend.operations[..<3].map(\.bytesWritten) == [4 * scores, 4 * scores, 4 * columns])
        // Both results stay; each matrix of scores goes again: 2·4·10·7 of them above both results.
        #expect(backend.arena.peak - mark == 2 * 2560 + 2304)
        backend.attentionForm = .flash
        backend.reset()
        _ = backend.attention(
            qkv.columns(0, of: 3), qkv.columns(1, of: 3), qkv.columns(2, of: 3), heads: 4, scale: 1, mask: .none)
        // The same arithmetic, and only the scores' bytes less.
        #expect(backend.totals.flops == (4 * 8 + 4) * scores && backend.totals.bytes == 4 * 4 * columns)
    }

    @Test func `parameters that are touched, by class`() throws {
        let backend = AccountingBackend(weightType: .bfloat16, cacheType: .bfloat16)
        let bias = try backend.prepare(constant: HostTensor(shape: [32], dtype: .float32))
        let kernel = try backend.prepare(convolution: HostTensor(shape: [32, 16, 3, 3], dtype: .float32))
        let groups = GroupNormParameters(groups: 4, weight: bias, bias: bias, epsilon: 1e-5)
        let x = backend.allocate([1, 4, 4, 16], .float32)
        let y = backend.convolve(
            x, kernel, bias: bias, ConvolutionGeometry(padding: 1), activation: .identity, adding: nil)
        _ = backend.groupNorm(y, groups, activation: .silu)
        _ = backend.linear(y, try matrix(backend, 8, 32))
        _ = backend.add(y, y)
        #expect(backend.operations.map(\.parameters) == [32 * 16 * 9 + 32, 64, 256, 0])
        #expect(backend.operations.map(\.kind) == [.convolution, .norm, .linear, .elementwise])
        #expect(backend.operations[1].flops == 12 * 16 * 32 && backend.operations[3].flops == 16 * 32)
        #expect(backend.preparedParameterCount == 32 + 32 * 16 * 9 + 256)
    }

    @Test func `decoding reads the cache up to its position`() {
        let backend = AccountingBackend(weightType: .float32, cacheType: .bfloat16)
        let shape: Shape = [2, 4, 100, 8]
        let cache = KeyValueCache(keys: backend.allocate(shape, .bfloat16), values: backend.allocate(shape, .bfloat16))
        let position = backend.allocate([1], .int32)
        let q = backend.allocate([2, 1, 32], .float32).columns
        func bytesRead(at place: Int?) -> Int {
            backend.reset()
            backend.decodePosition = place
            _ = backend.decodeAttention(q, over: cache, at: position, scale: 1, window: nil)
            return backend.totals.bytesRead - 2 * 32 * 4
        }
        #expect(bytesRead(at: 0) == 2 * 2 * 32 * 2)
        #expect(bytesRead(at: 49) == 50 * 2 * 2 * 32 * 2)
        #expect(bytesRead(at: nil) == 100 * 2 * 2 * 32 * 2)
    }

    @Test func `the arena's peak is what the CPU needs`() throws {
        for opCase in OpCase.checked {
            let backend = CPUBackend(weightType: .bfloat16, threads: 1)
            let planned = try opCase.arenaBytes(for: backend)
            try backend.reserve(arenaBytes: planned)
            _ = try opCase.prepare(on: backend)()
            #expect(backend.arena.peak <= planned, "\(opCase)")
        }
    }

    @Test func `every operation is written down, and totals add up`() throws {
        let backend = AccountingBackend(weightType: .bfloat16, cacheType: .bfloat16)
        for opCase in OpCase.all {
            backend.reset()
            let operation = try opCase.prepare(on: backend)
            #expect(backend.operations.isEmpty)
            _ = operation()
            #expect(!backend.operations.isEmpty, "\(opCase)")
            #expect(backend.totals.calls == backend.operations.count)
            #expect(backend.totals.bytes > 0, "\(opCase)")
            #expect(backend.totalsByName.values.reduce(0) { $0 + $1.flops } == backend.totals.flops)
        }
    }

    @Test func `a stopwatch changes nothing, and counts every call`() throws {
        let backend = CPUBackend(weightType: .float32, threads: 1)
        let timing = TimingBackend(CPUBackend(weightType: .float32, threads: 1))
        for opCase in OpCase.checked {
            timing.reset()
            let isSame =
                try opCase.run(on: timing).map(\.values).description
                == opCase.run(on: backend).map(\.values).description
            #expect(isSame, "\(opCase)")
            // The fused ones too: through `any Backend`, an override is found, not the default.
            #expect(timing.operations.map(\.name) == [opCase.operation], "\(opCase)")
            #expect(timing.operations.first?.calls == 1 && timing.seconds > 0)
        }
    }

    @Test func `a stopwatch divides fused operations, and rests when it is off`() throws {
        let timing = TimingBackend(CPUBackend(weightType: .float32, threads: 1), splitsFused: true)
        for opCase in OpCase.checked {
            timing.isOn = true
            timing.reset()
            let split = try opCase.run(on: timing).map(\.values).description
            let primitives = Set(timing.operations.map(\.name))
            #expect(
                primitives.isDisjoint(with: [
                    "normLinear", "normModulate", "gatedFeedForward", "groupNormConvolve", "joinedGroupNormConvolve",
                ]))
            #expect(timing.secondsByClass.values.reduce(0, +) > 0)
            timing.isOn = false
            timing.reset()
            #expect(try opCase.run(on: timing).map(\.values).description == split, "\(opCase)")
            #expect(timing.operations.isEmpty)
        }
    }

    @Test func `a stopwatch passes faults on`() throws {
        let timing = TimingBackend(ReferenceBackend())
        let state = SamplingState(
            settings: timing.upload(HostTensor([1, 0, 1] as [Float], [3])),
            keys: timing.upload(HostTensor([1, 2] as [Int32], [1, 2])),
            position: timing.upload(HostTensor([0] as [Int32], [1])),
            guidance: timing.upload(HostTensor([1] as [Float], [1])))
        _ = timing.sample(
            timing.upload(HostTensor([Float.nan], [1, 1])), state, into: timing.allocate([1, 1], .int32))
        #expect(throws: DeviceError.self) { try timing.synchronize() }
        try timing.synchronize()
    }
}
