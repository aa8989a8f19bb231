import CTestAllocations
import Synchronization
import TTICPU
import TTICore
import TTIGeneration
import TTITestSupport
import Testing

/// What a step asks the system for, once it runs: nothing, on any thread.
@Suite struct AllocationTests {
    /// Counts what the caller's thread and a pool's threads ask for while `body` runs.
    private func allocations(on pool: ThreadPool, _ body: () -> Void) -> ctest_allocations {
        let counts = UnsafeMutablePointer<ctest_allocations>.allocate(capacity: 1)
        defer { counts.deallocate() }
        counts.initialize(to: ctest_allocations())
        onEveryThread(of: pool) { ctest_count_allocations(counts) }
        body()
        onEveryThread(of: pool) { ctest_count_allocations(nil) }
        return counts.pointee
    }

    /// A thread that waits in its index for all others takes no second one.
    private func onEveryThread(of pool: ThreadPool, _ body: () -> Void) {
        let arrived = Atomic(0)
        pool.forEach(pool.threadCount) { _ in
            body()
            arrived.add(1, ordering: .acquiringAndReleasing)
            while arrived.load(ordering: .acquiring) < pool.threadCount {}
        }
    }

    /// Ten steps of two images, after ten in which whatever is kept from step to step gets its size.
    private func expectNone(in pipeline: any ImagePipeline, on backend: CPUBackend, grid: Int? = nil) throws {
        let batch = pipeline.batch("a large red cube to the left of a small blue sphere", seeds: [1, 2]) { settings in
            settings.steps = 24
            if let grid { (settings.gridHeight, settings.gridWidth) = (grid, grid) }
        }
        try pipeline.check(batch)
        pipeline.prepare(batch)
        for step in 0..<10 { pipeline.step(step) }
        let mark = backend.arena.mark
        let counts = allocations(on: backend.pool) {
            for step in 10..<20 { pipeline.step(step) }
        }
        #expect(counts.calls == 0, "\(counts.calls) allocations of \(counts.bytes) bytes in ten steps")
        #expect(backend.arena.mark == mark)
        _ = try pipeline.codes()
    }

    @Test(arguments: [1, 3])
    func `allocations of every thread are counted`(threads: Int) {
        let pool = ThreadPool(threadCount: threads)
        let counts = allocations(on: pool) {
            onEveryThread(of: pool) { UnsafeMutableRawPointer.allocate(byteCount: 800, alignment: 16).deallocate() }
        }
        #expect(counts.calls == threads && counts.bytes == 800 * threads)
        #expect(allocations(on: pool) {}.calls == 0)
    }

    @Test(
        arguments: ["scenes-ar", "scenes-masked", "scenes-diffusion"],
        [(.float32, 1), (.float32, 2), (.bfloat16, 2), (.int8, 2)] as [(DType, Int)])
    func `a step allocates nothing`(checkpoint: String, _ form: (weightType: DType, threads: Int)) throws {
        let backend = CPUBackend(weightType: form.weightType, threads: form.threads)
        try backend.reserve(arenaBytes: 1 << 28)
        try expectNone(in: ShippedPipelines.open(checkpoint).makePipeline(on: backend, weights: .files), on: backend)
    }

    @Test(arguments: ["sd21", "sdxl"])
    func `a step of a larger form's network allocates nothing`(name: String) throws {
        let subject = try DiffusionPipelineTests.Subject(name)
        let backend = try #require(subject.pipeline.backend as? CPUBackend)
        try expectNone(in: subject.pipeline, on: backend, grid: 8)
    }

    /// The second time, when what is kept from call to call has its size.
    @Test(arguments: [DType.float32, .bfloat16, .int8], Set([CPUBackend.InstructionSet.portable, .best]))
    func `an operation allocates nothing`(weightType: DType, instructionSet: CPUBackend.InstructionSet) throws {
        // Kernels, too, in int8, as they are on tiles.
        let backend = CPUBackend(
            weightType: weightType, threads: 2, instructionSet: instructionSet, kernelType: weightType)
        try backend.reserve(arenaBytes: 1 << 28)
        for op in OpCase.checked {
            backend.arena.rewind(to: 0)
            let operation = try op.prepare(on: backend)
            let mark = backend.arena.mark
            _ = operation()
            try backend.synchronize()
            backend.arena.rewind(to: mark)
            // Up to `synchronize`: a product is done when it is asked for.
            let counts = allocations(on: backend.pool) {
                _ = operation()
                try? backend.synchronize()
            }
            // The list of results is the table's own.
            #expect(counts.calls <= 1, "\(op): \(counts.calls) allocations of \(counts.bytes) bytes")
        }
    }
}
