internal import TTICPU
internal import TTICore
internal import TTIFormats

extension CPUBackend {
    /// The CPU with the best instruction set that it has, or with the one that `TTI_CPU` names.
    /// - Parameter threads: nil: every core that this process may use.
    static func make(weightType: DType, threads: Int?) throws(TTIError) -> CPUBackend {
        CPUBackend(
            weightType: weightType, threads: threads ?? ThreadPool.defaultThreadCount,
            instructionSet: try InstructionSet.chosen(environmentVariable("TTI_CPU")))
    }
}

extension CPUBackend.InstructionSet {
    /// - Parameter name: nil or empty: the best.
    static func chosen(_ name: String?) throws(TTIError) -> CPUBackend.InstructionSet {
        guard let name, !name.isEmpty else { return .best }
        guard let set = CPUBackend.InstructionSet(rawValue: name) else {
            let names = allCases.map(\.rawValue).joined(separator: ", ")
            throw TTIError(
                .usage, "usage.environment", "TTI_CPU is one of \(names), not '\(harmless(name, limit: 40))'; unset it")
        }
        guard set.isAvailable else {
            throw TTIError(
                .unavailable, "device.instructions",
                "TTI_CPU asks for \(name), which this processor or its system does not have; the best here is \(best.rawValue)"
            )
        }
        return set
    }
}
