internal import TTICPU
internal import TTICUDA
internal import TTICore
internal import TTIFormats

/// A device that was found and can be used: what a `ComputeDevice` turned out to be on this machine.
package struct ChosenDevice: Sendable {
    package enum Kind: Sendable, Hashable {
        case cpu(threads: Int?)
        case cuda(ordinal: Int)
    }

    package let kind: Kind
    /// "NVIDIA H200", or the processor's name.
    package let name: String
    /// Why `automatic` did not take the GPU of this machine, in one sentence; nil when there is none, or it was taken.
    package let refusal: String?

    /// - Throws: `TTIError` of code unavailable: what is missing.
    package init(_ device: ComputeDevice) throws(TTIError) {
        switch device {
        case .cpu(let threads): self.init(cpu: threads)
        case .cuda(let ordinal):
            do { try self.init(cuda: ordinal) } catch { throw TTIError(translating: error) }
        case .automatic:
            do throws(DeviceError) { try self.init(cuda: 0) } catch {
                self.init(cpu: nil, refusal: CUDAReport.hasDriver ? error.description : nil)
            }
        }
    }

    private init(cpu threads: Int?, refusal: String? = nil) {
        kind = .cpu(threads: threads)
        name = processorName()
        self.refusal = refusal
    }

    private init(cuda ordinal: Int) throws(DeviceError) {
        let device = try CUDAReport.device(ordinal: ordinal)
        try CUDAReport.checkCompiler()
        kind = .cuda(ordinal: ordinal)
        name = device.name
        refusal = nil
    }

    /// "cpu", "cuda:0".
    package var backendName: String {
        switch kind {
        case .cpu: "cpu"
        case .cuda(let ordinal): "cuda:\(ordinal)"
        }
    }

    package var isCPU: Bool { if case .cpu = kind { true } else { false } }

    /// How weights are held.
    /// - Parameter onCPU: what `automatic` means on a CPU.
    func weightType(_ precision: Precision, onCPU: DType) -> DType {
        switch precision {
        case .float32: .float32
        case .bfloat16: .bfloat16
        case .int8: .int8
        case .automatic: isCPU ? onCPU : .bfloat16
        }
    }

    /// The types of numbers that a backend of this device has beside weights of a type.
    func types(_ weightType: DType) -> NumberTypes {
        let others = weightType.besideMatrices
        guard isCPU else {
            let activations: DType = weightType == .float32 ? .float32 : .bfloat16
            return NumberTypes(weights: weightType, cache: activations, activations: activations, kernels: others)
        }
        // Where TTI_CPU names none that there is, making the backend says so.
        let set = (try? CPUBackend.InstructionSet.chosen(environmentVariable("TTI_CPU"))) ?? .best
        return NumberTypes(
            weights: weightType, cache: others, activations: .float32,
            kernels: CPUBackend.kernelType(beside: weightType, set))
    }

    /// Bytes of memory that are free for weights and work.
    var freeMemory: Int {
        switch kind {
        case .cpu: hostMemory().free
        case .cuda(let ordinal): (try? CUDAReport.device(ordinal: ordinal))?.memory.free ?? 0
        }
    }
}
