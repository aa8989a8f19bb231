package import TTIAccounting
internal import TTICore

/// A device as a roofline sees it.
package struct RooflineDevice: Sendable, Hashable {
    package let name: String
    /// Bytes a second from memory.
    package let bandwidth: Double
    /// FLOP a second of matrix products.
    package let matrixRate: Double
    /// Seconds that an operation takes however small it is.
    package let launch: Double

    package init(name: String, bandwidth: Double, matrixRate: Double, launch: Double) {
        (self.name, self.bandwidth, self.matrixRate, self.launch) = (name, bandwidth, matrixRate, launch)
    }

    /// FLOP in the time of a byte.
    package var ridge: Double { matrixRate / bandwidth }

    /// 4.3 TB/s of a copy and 780 TFLOP/s of a large bf16 product as measured by others; 1.3 µs a kernel in a graph.
    package static let h200 = RooflineDevice(name: "h200", bandwidth: 4.3e12, matrixRate: 780e12, launch: 1.3e-6)
    /// The datasheet of the 80 GB SXM module: 2.039 TB/s, 312 TFLOP/s of dense bf16; 2 µs a kernel.
    package static let a100 = RooflineDevice(name: "a100", bandwidth: 2.039e12, matrixRate: 312e12, launch: 2e-6)

    /// At best: each operation is bound by its bytes or its arithmetic, whichever takes longer.
    package func seconds(_ operation: OperationRecord) -> Double {
        launch + max(Double(operation.bytes) / bandwidth, Double(operation.flops) / matrixRate)
    }

    /// Of all passes.
    package func seconds(_ stage: StageCost) -> Double {
        stage.operations.reduce(0) { $0 + Double($1.times) * seconds($1.operation) }
    }

    package func seconds(_ stage: StageCost, _ kind: OperatorClass) -> Double {
        stage.operations.reduce(0) {
            $0 + ($1.operation.kind == kind ? Double($1.times) * seconds($1.operation) : 0)
        }
    }
}

/// What `--device` can name.
package enum DeviceChoice: Sendable, Hashable {
    case known(RooflineDevice)
    /// This machine's CPU, measured now.
    case cpu

    /// - Parameter text: `h200`, `a100`, `cpu`, or `BW,FLOPS[,LAUNCH]` in GB/s, TFLOP/s and µs.
    package init?(_ text: String) {
        switch text {
        case "h200": self = .known(.h200)
        case "a100": self = .known(.a100)
        case "cpu": self = .cpu
        default:
            let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) ?? .nan }
            guard (2...3).contains(numbers.count), numbers[0] > 0, numbers[1] > 0,
                numbers.allSatisfy({ $0.isFinite && $0 >= 0 })
            else { return nil }
            self = .known(
                RooflineDevice(
                    name: text, bandwidth: numbers[0] * 1e9, matrixRate: numbers[1] * 1e12,
                    launch: numbers.count > 2 ? numbers[2] * 1e-6 : 0))
        }
    }

    /// Measures where that is needed, which takes about a second.
    package func device(_ precision: Precision) throws(TTIError) -> RooflineDevice {
        switch self {
        case .known(let device): return device
        case .cpu:
            let ceilings = try DeviceReport.cpu(threads: nil).ceilings
            return RooflineDevice(
                name: "cpu", bandwidth: ceilings.readGBs * 1e9,
                matrixRate: ceilings.matrixTeraFLOPs(precision) * 1e12, launch: 1e-6)
        }
    }
}
