import Glibc

/// Runs `body` on a thread of its own: work of seconds does not belong on the pool that runs tasks.
func detachThread(_ body: @escaping @Sendable () -> Void) {
    final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = unsafe Unmanaged.passRetained(Box(body)).toOpaque()
    let status = unsafe pthread_create(
        &thread, nil,
        { context in
            if let context = unsafe context { unsafe Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body() }
            return nil
        }, box)
    if status == 0 { pthread_detach(thread) } else { unsafe Unmanaged<Box>.fromOpaque(box).takeRetainedValue().body() }
}
