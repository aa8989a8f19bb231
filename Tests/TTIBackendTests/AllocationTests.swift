import CTestAllocations
import TTICPU
import TTICore
import TTITestSupport
import Testing

/// What a decoding step asks the system for, once it runs.
struct AllocationTests {
    /// Two layers of an autoregressive decoder as small as may be, from a token to the next.
    private struct TinyDecoder {
        let step: () -> Void

        init(_ backend: any Backend, images: Int, width: Int) throws {
            let inputs = OpInputs(backend, name: "tiny decoder", entries: Array(0..<2 * images))
            let (heads, vocabulary, places) = (4, 96, 64)
            let layers = try (0..<2).map { _ in
                let shape: Shape = [2 * images, heads, places, width / heads]
                return (
                    norm: try inputs.norm(.layer, width), qkv: try inputs.matrix(3 * width, width),
                    out: try inputs.matrix(width, width), up: try inputs.matrix(4 * width, width),
                    down: try inputs.matrix(width, 4 * width), text: inputs.batched([7, 2 * width]),
                    cache: KeyValueCache(
                        keys: backend.allocate(shape, backend.cacheType),
                        values: backend.allocate(shape, backend.cacheType))
                )
            }
            let (table, head) = (try inputs.table(vocabulary, width), try inputs.matrix(vocabulary, width))
            let single = OpInputs(backend, name: "choice", entries: Array(0..<images))
            let state = single.sampling(topK: 20, topP: 0.9, guidance: [3])
            let codes = single.batchedIntegers([places]) { _, _ in 0 }
            let mask = AttentionMask(
                keyBias: inputs.numbers([Float](repeating: 0, count: 14 * images), [2 * images, 7]))
            let tokens = inputs.batchedIntegers([1]) { _, _ in 0 }
            let mark = backend.arena.mark
            step = {
                backend.arena.rewind(to: mark)
                var x = backend.embed(tokens, table)
                for layer in layers {
                    let qkv = backend.normLinear(x, layer.norm, layer.qkv, bias: nil, activation: .identity)
                    let seen = backend.qkvDecodeAttention(
                        qkv, layer.cache, at: state.position, scale: 0.25, window: nil)
                    x = backend.linear(seen, layer.out, bias: nil, activation: .identity, adding: x)
                    let text = backend.attention(
                        x.columns, layer.text.columns(0, of: 2), layer.text.columns(1, of: 2), heads: heads,
                        scale: 0.25,
                        mask: mask)
                    x = backend.add(x, text)
                    let inner = backend.normLinear(x, layer.norm, layer.up, bias: nil, activation: .gelu)
                    x = backend.linear(inner, layer.down, bias: nil, activation: .identity, adding: x)
                }
                let logits = backend.linear(x, head).reshaped([2 * images, vocabulary])
                let next = backend.guideAndSample(logits, state, into: codes)
                // Both guidance rows go on with the same token.
                backend.copy(next, to: tokens.prefixRows(0..<images))
                backend.copy(next, to: tokens.prefixRows(images..<2 * images))
                backend.increment(in: state.position)
            }
        }
    }

    @Test func `allocations are counted`() {
        let before = ctest_allocations_so_far()
        let numbers = [Int](repeating: before.calls, count: 100)
        let after = ctest_allocations_so_far()
        #expect(after.calls > before.calls && after.bytes - before.bytes >= 800 && numbers.count == 100)
    }

    @Test(arguments: [1, 2])
    func `a step takes the same memory of the arena, and keeps nothing of the system's`(threads: Int) throws {
        let backend = CPUBackend(weightType: .bfloat16, threads: threads)
        try backend.reserve(arenaBytes: 8 << 20)
        let decoder = try TinyDecoder(backend, images: 2, width: 64)
        decoder.step()
        decoder.step()
        let (mark, steps) = (backend.arena.mark, 50)
        let before = ctest_allocations_so_far()
        for _ in 0..<steps { decoder.step() }
        let after = ctest_allocations_so_far()
        try backend.synchronize()
        #expect(backend.arena.mark == mark)
        #expect(after.live == before.live)
        // Twenty operations. What is asked for and given back are the thread pool's closures and lists of two or three
        // numbers, half a kilobyte together.
        let (calls, bytes) = ((after.calls - before.calls) / steps, (after.bytes - before.bytes) / steps)
        #expect(calls <= 20 && bytes <= 1024, "\(calls) allocations of \(bytes) bytes in a step")
    }
}
