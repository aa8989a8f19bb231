internal import Glibc

/// What time is measured with.
package enum WorkClock: String, Sendable, CaseIterable {
    case wall
    /// Time of the processor in this process: with one thread, what the work takes when nobody else has the core.
    case processor

    /// Seconds since some moment.
    package var now: Double {
        var time = timespec()
        unsafe clock_gettime(self == .wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
