internal import Glibc
internal import TTICore

/// Holds a device against its own failure: a kernel that reads where nothing is must be said so by the next wait, once and for
/// all, and nothing may hang. The device is lost for this process afterwards.
struct FaultChecks {
    let options: CheckOptions
    let report: CheckReport

    /// Longer than any wait for a device that answers.
    private static let patience = Duration.seconds(30)

    func run() throws {
        var failures: [String] = []
        var count = 0
        func expect(_ isRight: Bool, _ failure: String) {
            count += 1
            if !isRight { failures.append(failure) }
        }
        let backend = try options.makeBackend(.float32)
        try backend.reserve(arenaBytes: 1 << 20)
        let shape: Shape = [1024]
        let target = backend.allocate(shape, .float32)
        backend.write(HostTensor([Float](repeating: 1, count: 1024), shape), to: target)
        try backend.synchronize()

        let nowhere = Tensor(
            buffer: Buffer(address: 1 << 12, byteCount: 4096) {}, byteOffset: 0, shape: shape, dtype: .float32)
        let start = ContinuousClock.now
        backend.copy(nowhere, to: target)
        let first = fault { () throws(DeviceError) in try backend.synchronize() }
        expect(first?.kind == .lost, "reading where nothing is: \(first.map { "\($0.kind)" } ?? "no error")")
        // Which kernel it was is known only where every one is waited for.
        let isWaiting = unsafe getenv("TTI_CUDA_SYNC").map { unsafe String(cString: $0) } == "1"
        let words = isWaiting ? "'copy'" : "TTI_CUDA_SYNC=1"
        expect(first?.description.contains(words) ?? false, "\(words) is not in: \(first?.description ?? "")")

        // What comes after it does nothing, and says the same.
        let sum = backend.add(target, target)
        let second = fault { () throws(DeviceError) in _ = try backend.read(sum) }
        expect(second?.kind == .lost, "the work after it: \(second.map { "\($0.kind)" } ?? "no error")")
        let program = backend.record { _ = backend.add(target, target) }
        program.replay()
        let third = fault { () throws(DeviceError) in try backend.synchronize() }
        expect(third?.kind == .lost, "a recording after it: \(third.map { "\($0.kind)" } ?? "no error")")
        expect(ContinuousClock.now - start < FaultChecks.patience, "it took \(ContinuousClock.now - start)")
        report.add("\(options.backend) fault", count: count, failures: failures)
    }

    private func fault(_ body: () throws(DeviceError) -> Void) -> DeviceError? {
        do { try body() } catch { return error }
        return nil
    }
}
