package import TTICore

/// Time that operations of one name took.
package struct OperationTiming: Sendable {
    package let name: String
    package let kind: OperatorClass
    package var calls = 0
    package var seconds = 0.0
}

/// Another backend with a stopwatch: every operation is waited for and its time added up by name. Waiting costs a little, so
/// the sum is an upper bound of the untimed run. The wait is when the next operation begins, as a backend may leave one undone
/// until its result is moved.
package final class TimingBackend: Backend {
    /// What does the work.
    package let timed: any Backend
    /// Whether the stopwatch runs; without it, calls are passed on as they are.
    package var isOn = true {
        didSet {
            finish()
            if isOn { wait() }
        }
    }
    /// Whether fused operations are timed as the primitives of their defaults, so that a norm before a product counts as a
    /// norm. Else the backend's own overrides are timed.
    package let splitsFused: Bool
    private let clock: WorkClock
    private var timings: [Key: OperationTiming] = [:]
    private var fault: DeviceError?
    /// The last operation, which may not be done yet.
    private var last: Key?

    private struct Key: Hashable {
        let name: String
        let kind: OperatorClass
    }

    package init(_ timed: any Backend, splitsFused: Bool = false, clock: WorkClock = .wall) {
        self.timed = timed
        self.clock = clock
        self.splitsFused = splitsFused
    }

    var splits: Bool { isOn && splitsFused }

    /// Time by operation since the last `reset`, longest first.
    package var operations: [OperationTiming] {
        finish()
        return timings.values.sorted { $0.seconds == $1.seconds ? $0.name < $1.name : $0.seconds > $1.seconds }
    }

    /// The sum over all operations since the last `reset`.
    package var seconds: Double { operations.reduce(0) { $0 + $1.seconds } }

    /// Seconds by class.
    package var secondsByClass: [OperatorClass: Double] {
        operations.reduce(into: [:]) { $0[$1.kind, default: 0] += $1.seconds }
    }

    package func reset() {
        finish()
        timings.removeAll()
    }

    func time<Result>(_ name: String, _ kind: OperatorClass? = nil, _ operation: () -> Result) -> Result {
        guard isOn else { return operation() }
        finish()
        let key = Key(name: name, kind: kind ?? OperatorClass(operation: name))
        let result = time(key, operation)
        timings[key]?.calls += 1
        last = key
        return result
    }

    private func time<Result>(_ key: Key, _ work: () -> Result) -> Result {
        let start = clock.now
        let result = work()
        timings[key, default: OperationTiming(name: key.name, kind: key.kind)].seconds += clock.now - start
        return result
    }

    /// Waits for the last operation.
    private func finish() {
        guard let key = last else { return }
        last = nil
        time(key, wait)
    }

    private func wait() {
        do throws(DeviceError) { try timed.synchronize() } catch { fault = fault ?? error }
    }

    private func throwFault() throws(DeviceError) {
        guard let fault else { return }
        self.fault = nil
        throw fault
    }

    // MARK: Memory, not timed

    package var name: String { timed.name }
    package var weightType: DType { timed.weightType }
    package var activationType: DType { timed.activationType }
    package var cacheType: DType { timed.cacheType }
    package var kernelType: DType { timed.kernelType }
    package var attentionForm: AttentionForm { timed.attentionForm }
    package var issuesAhead: Bool { timed.issuesAhead }
    package var arena: Arena { timed.arena }

    package func reserve(arenaBytes: Int) throws(DeviceError) {
        finish()
        try timed.reserve(arenaBytes: arenaBytes)
    }
    package func allocate(_ shape: Shape, _ dtype: DType) -> Tensor {
        finish()
        return timed.allocate(shape, dtype)
    }
    package func prepare(matrix: HostTensor, for use: MatrixUse) throws(DeviceError) -> PreparedMatrix {
        try timed.prepare(matrix: matrix, for: use)
    }
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        try timed.prepare(convolution: convolution)
    }
    package func prepare(depthwise: HostTensor) throws(DeviceError) -> Tensor {
        try timed.prepare(depthwise: depthwise)
    }
    package func prepare(table: HostTensor) throws(DeviceError) -> Tensor { try timed.prepare(table: table) }
    package func prepare(constant: HostTensor) throws(DeviceError) -> Tensor { try timed.prepare(constant: constant) }
    package func write(_ source: HostTensor, to tensor: Tensor) {
        finish()
        timed.write(source, to: tensor)
    }
    package func read(_ tensor: Tensor) throws(DeviceError) -> [Float] {
        finish()
        try throwFault()
        return try timed.read(tensor)
    }
    package func readIntegers(_ tensor: Tensor) throws(DeviceError) -> [Int32] {
        finish()
        try throwFault()
        return try timed.readIntegers(tensor)
    }
    package func synchronize() throws(DeviceError) {
        finish()
        try throwFault()
        try timed.synchronize()
    }
    /// Recorded work is timed operation by operation too, by doing it again instead of replaying it.
    package func record(_ body: @escaping () -> Void) -> any Program {
        body()
        return TimedProgram(body)
    }
    package func copy(_ source: Tensor, to target: Tensor) { time("copy") { timed.copy(source, to: target) } }
    /// Takes no time, and does not wait for what makes the result.
    package func redirect(_ source: Tensor, to target: Tensor) -> Bool { timed.redirect(source, to: target) }
}

private final class TimedProgram: Program {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
    func replay() { body() }
}
