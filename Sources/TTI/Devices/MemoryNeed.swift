internal import TTIFormats

/// What something takes of a device's memory, known before any of it is taken: an allocation that a system promised and
/// cannot keep ends the process, and a GPU that runs full fails in the middle.
struct MemoryNeed {
    let weights: Int
    /// The most that is alive at once besides the weights.
    let work: Int

    /// What a GPU needs besides: kernels, the way in for weights, what is between the kernels of an operation.
    private static let besideOnCUDA = 128 << 20

    func fits(in free: Int, on device: ChosenDevice) -> Bool {
        // Where the system does not say, it is tried.
        free <= 0 || weights + work + (device.isCPU ? 0 : MemoryNeed.besideOnCUDA) <= free
    }

    /// - Parameters:
    ///   - free: bytes; nil asks the device.
    ///   - subject: what needs it.
    ///   - remedy: what would fit, as the end of "try …"; asked only when this does not.
    /// - Throws: `.outOfMemory`: how much is needed, how much is free, what would fit.
    func check(
        on device: ChosenDevice, free: Int? = nil, _ subject: String? = nil,
        remedy: (_ fits: (MemoryNeed) -> Bool) -> String? = { _ in nil }
    ) throws(TTIError) {
        let free = free ?? device.freeMemory
        guard !fits(in: free, on: device) else { return }
        let place = device.isCPU ? "" : " on \(device.backendName) (\(device.name))"
        let found = remedy { $0.fits(in: free, on: device) }
        let suggestion = found ?? (work > weights ? "a smaller size" : "--dtype bf16, or a smaller model")
        throw TTIError(
            .outOfMemory, "device.memory",
            "\(subject.map { $0 + " needs " } ?? "")\(byteText(weights + work)) of memory\(subject == nil ? " are needed" : "")\(place) "
                + "(weights \(byteText(weights)), work \(byteText(work))), \(byteText(free)) are free; try \(suggestion)"
                + (device.isCPU ? "" : ", or --backend cpu"))
    }
}
