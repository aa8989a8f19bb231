internal import Synchronization

/// Results that threads put down, each in its own place.
final class Collected<Element: Sendable>: Sendable {
    private let places: Mutex<[Element?]>

    init(count: Int) { places = Mutex([Element?](repeating: nil, count: count)) }

    func set(_ index: Int, _ element: Element) { places.withLock { $0[index] = element } }

    /// All of them; traps when one is missing.
    var all: [Element] {
        places.withLock { places in
            places.map { place in
                guard let place else { preconditionFailure("a result is missing") }
                return place
            }
        }
    }
}
