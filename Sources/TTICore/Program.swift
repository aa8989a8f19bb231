/// Work that was recorded once and is done again by every replay.
///
/// What was recorded reads no host value and allocates nothing outside the arena; whatever changes between replays
/// (position, token, settings) lives in device memory. Its results have fixed places: the arena stands at the mark of the
/// recording at every replay, and whatever lies below that mark is where it was.
package protocol Program: AnyObject {
    /// Does the work again, in order after everything that was issued before.
    func replay()
}
