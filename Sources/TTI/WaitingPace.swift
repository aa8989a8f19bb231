/// When to wait for a device that works behind the host: often enough that a request that is cancelled ends soon, seldom
/// enough that the device does not run dry between two steps.
struct WaitingPace {
    /// Steps between two waits: twice as many as long as those took less than this.
    private static let short = 0.05
    private static let long = 0.2
    private var interval = 1
    private var issued = 0
    private var last = ContinuousClock.now

    /// After every step that was issued.
    mutating func waitIfDue(_ wait: () throws -> Void) rethrows {
        issued += 1
        guard issued >= interval else { return }
        try wait()
        let seconds = last.secondsSinceThen
        if seconds < WaitingPace.short { interval = min(2 * interval, 256) }
        if seconds > WaitingPace.long { interval = max(1, interval / 2) }
        (issued, last) = (0, .now)
    }
}
