internal import CTTIKernels
import TTICore

/// Threads that share the work of one operation. They spin for a tenth of a millisecond after it, then sleep.
@safe
package final class ThreadPool {
    /// How many threads work, the caller's included.
    package let threadCount: Int
    private let pool: OpaquePointer
    /// Memory of each thread's own, grown by `forEach(_:scratch:_:)` and kept.
    private var scratch: [Buffer]

    /// How many cores this process may use.
    package static var defaultThreadCount: Int { ctti_usable_cores() }

    package init(threadCount: Int) {
        guard let pool = unsafe ctti_pool_create(max(1, threadCount)) else {
            preconditionFailure("no memory for \(threadCount) threads")
        }
        unsafe self.pool = pool
        self.threadCount = unsafe ctti_pool_threads(pool)
        scratch = Array(repeating: Buffer(address: 0, byteCount: 0) {}, count: self.threadCount)
    }

    deinit { unsafe ctti_pool_destroy(pool) }

    /// Does `body(0)` … `body(count - 1)`, each once, on any thread, and returns when all are done. Which thread does which
    /// index is undefined: a result must not depend on it. A call from inside `body` is done serially.
    package func forEach(_ count: Int, _ body: (Int) -> Void) {
        if count == 1 { return body(0) }
        run(count) { index, _ in body(index) }
    }

    /// The same, with memory for `floats` numbers (aligned to pages, contents undefined) that no other thread uses
    /// meanwhile. Not to be called from inside a `body`.
    func forEach(_ count: Int, scratch floats: Int, _ body: (Int, UnsafeMutablePointer<Float>) -> Void) {
        let byteCount = floats * 4
        for thread in 0..<threadCount where scratch[thread].byteCount < byteCount {
            scratch[thread] = Buffer(address: 0, byteCount: 0) {}
            do throws(DeviceError) {
                scratch[thread] = try CPUBackend.allocatePages(byteCount)
            } catch {
                preconditionFailure(error.description)
            }
        }
        unsafe scratch.withUnsafeBufferPointer { scratch in
            run(count) { index, thread in
                let memory = unsafe UnsafeMutableRawPointer(bitPattern: scratch[thread].address)
                guard let memory = unsafe memory else { preconditionFailure("no scratch") }
                unsafe body(index, memory.assumingMemoryBound(to: Float.self))
            }
        }
    }

    private func run(_ count: Int, _ body: (_ index: Int, _ thread: Int) -> Void) {
        guard count > 0 else { return }
        unsafe runTasks(pool, count, body)
    }
}

/// ctti_pool_run, which takes the closure as it lies on its caller's stack: nothing of it is on the heap.
@_silgen_name("ctti_pool_run")
private func runTasks(_ pool: OpaquePointer, _ count: Int, _ task: (_ index: Int, _ thread: Int) -> Void)
