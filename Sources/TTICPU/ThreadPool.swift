internal import Dispatch

/// Threads that share the work of one operation.
package final class ThreadPool {
    /// How many threads work, the caller's included.
    package let threadCount: Int

    package init(threadCount: Int) { self.threadCount = max(1, threadCount) }

    /// Does `body(0)` … `body(count - 1)`, each once, on any thread, and returns when all are done. Which thread does which
    /// index is undefined: a result must not depend on it.
    package func forEach(_ count: Int, _ body: @escaping (Int) -> Void) {
        if threadCount == 1 || count <= 1 {
            for index in 0..<count { body(index) }
        } else {
            nonisolated(unsafe) let work = body
            DispatchQueue.concurrentPerform(iterations: count) { unsafe work($0) }
        }
    }
}
