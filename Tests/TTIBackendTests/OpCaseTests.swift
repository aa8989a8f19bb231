import TTICPU
import TTICore
import TTITestSupport
import Testing

/// One way to run on the CPU.
struct CPUVariant: Sendable, CustomTestStringConvertible {
    let instructionSet: CPUBackend.InstructionSet
    let weightType: DType
    let threads: Int
    /// nil for what is fastest.
    var kernelType: DType?

    var testDescription: String {
        "\(instructionSet) \(weightType)\(kernelType.map { ", kernels in \($0)," } ?? "") \(threads) threads"
    }

    /// What its results are compared with.
    var oracle: Oracle {
        Oracle(
            weightType: weightType, roundsProducts: instructionSet.roundsProducts(weightType),
            roundsAttention: instructionSet.roundsAttention(weightType),
            kernelType: kernelType ?? CPUBackend.kernelType(beside: weightType, instructionSet))
    }

    func backend(threads: Int? = nil) -> CPUBackend {
        CPUBackend(
            weightType: weightType, threads: threads ?? self.threads, instructionSet: instructionSet,
            kernelType: kernelType)
    }

    /// Every kind of kernel that this processor can run; those that it cannot are not here, and the log says so.
    static let all: [CPUVariant] =
        CPUBackend.InstructionSet.allCases.filter(\.isAvailable).flatMap { set in
            [DType.float32, .bfloat16, .int8].map { CPUVariant(instructionSet: set, weightType: $0, threads: 2) }
        } + [CPUVariant(instructionSet: .portable, weightType: .int8, threads: 2, kernelType: .int8)]
}

extension CPUBackend.InstructionSet {
    /// Whether products of many tokens round their rows.
    func roundsProducts(_ weightType: DType) -> Bool {
        (self == .amx || self == .avx512bf16) && weightType != .float32
    }

    /// Whether attention of many queries is done on tiles, which round its operands.
    func roundsAttention(_ weightType: DType) -> Bool { self == .amx && weightType != .float32 }

    /// The reference that does as this instruction set should.
    func reference(_ weightType: DType) -> ReferenceBackend {
        ReferenceBackend(
            weightType: weightType, roundsProducts: roundsProducts(weightType),
            roundsAttention: roundsAttention(weightType),
            kernelType: CPUBackend.kernelType(beside: weightType, self))
    }
}

/// A kind of reference.
struct Oracle: Hashable {
    let weightType: DType
    let roundsProducts: Bool
    let roundsAttention: Bool
    let kernelType: DType

    /// What each says to every case, computed once.
    private static let expectations: [Oracle: [[OpOutput]]] = {
        var results: [Oracle: [[OpOutput]]] = [:]
        for oracle in Set(CPUVariant.all.map(\.oracle)) {
            let type = oracle.weightType
            let reference = ReferenceBackend(
                weightType: type, cacheType: type.besideMatrices, roundsProducts: oracle.roundsProducts,
                roundsAttention: oracle.roundsAttention, kernelType: oracle.kernelType)
            results[oracle] = OpCaseTests.compared.map { (try? $0.run(on: reference)) ?? [] }
        }
        return results
    }()

    func expected(_ index: Int) throws -> [OpOutput] { try #require(Oracle.expectations[self]?[index]) }

    func tolerance(_ opCase: OpCase) -> Tolerance {
        .of(
            opCase.operation, roundsProducts: roundsProducts || weightType == .int8,
            roundsAttention: roundsAttention || weightType == .int8)
    }
}

struct OpCaseTests {
    static let compared = OpCase.checked + OpCase.chains

    @Test(arguments: CPUVariant.all)
    func `every operation is as the reference says`(variant: CPUVariant) throws {
        let backend = variant.backend()
        for (index, opCase) in OpCaseTests.compared.enumerated() {
            let expected = try variant.oracle.expected(index)
            let (outputs, isTidy) = try opCase.runGuarded(on: backend)
            #expect(isTidy, "\(opCase) writes where it should not")
            #expect(outputs.count == expected.count && !expected.isEmpty, "\(opCase)")
            for (output, reference) in zip(outputs, expected) {
                let difference = Difference(output, from: reference)
                #expect(difference.isWithin(variant.oracle.tolerance(opCase)), "\(opCase): \(difference)")
            }
        }
    }

    @Test(arguments: CPUVariant.all)
    func `operands may begin at any element`(variant: CPUVariant) throws {
        let backend = variant.backend()
        for (index, opCase) in OpCase.checked.enumerated() where opCase.purpose == .check {
            let expected = try variant.oracle.expected(index)
            let (outputs, isTidy) = try opCase.runGuarded(on: backend, shift: 4)
            #expect(isTidy, "\(opCase) writes where it should not")
            for (output, reference) in zip(outputs, expected) {
                let difference = Difference(output, from: reference)
                #expect(difference.isWithin(variant.oracle.tolerance(opCase)), "\(opCase): \(difference)")
            }
        }
    }

    @Test(arguments: CPUVariant.all)
    func `threads change no bit`(variant: CPUVariant) throws {
        let backends = [1, 2, 3].map {
            variant.backend(threads: $0)
        }
        for opCase in OpCase.checked {
            let outputs = try backends.map { try opCase.run(on: $0).map { $0.values.map(\.bitPattern) } }
            let isSame = outputs[0] == outputs[1] && outputs[0] == outputs[2]
            #expect(isSame, "\(opCase)")
        }
    }

    @Test(arguments: CPUVariant.all)
    func `a batch is its entries alone, bit for bit`(variant: CPUVariant) throws {
        let backend = variant.backend()
        for opCase in OpCase.checked where opCase.isBatchable {
            let together = try opCase.run(on: backend, entries: [0, 1, 2])
            let alone = try (0..<3).map { try opCase.run(on: backend, entries: [$0]) }
            for (number, output) in together.enumerated() {
                let joined = alone.flatMap { $0[number].values }
                // Bits, so that NaN in a place that nobody writes equals itself.
                let isSame = output.values.map(\.bitPattern) == joined.map(\.bitPattern)
                #expect(isSame, "\(opCase), output \(number)")
            }
        }
    }

    @Test(arguments: CPUVariant.all)
    func `an override is as its default`(variant: CPUVariant) throws {
        let backend = variant.backend()
        let primitives = PrimitivesOnlyBackend(variant.backend())
        let fused: Set = [
            "normLinear", "normModulate", "gatedFeedForward", "groupNormConvolve", "qkvDecodeAttention",
            "guideAndSample", "joinedLinear", "joinedGroupNorm", "joinedGroupNormConvolve",
        ]
        let cases = OpCase.checked.filter { fused.contains($0.operation) }
        #expect(Set(cases.map(\.operation)) == fused)
        for opCase in cases {
            let (outputs, expected) = (try opCase.run(on: backend), try opCase.run(on: primitives))
            for (output, reference) in zip(outputs, expected) {
                let difference = Difference(output, from: reference)
                #expect(difference.isWithin(variant.oracle.tolerance(opCase)), "\(opCase): \(difference)")
            }
        }
    }

    @Test(arguments: CPUVariant.all)
    func `a replay is as the first time`(variant: CPUVariant) throws {
        // Operations that change an operand in place are not repeatable.
        let changing: Set = ["increment", "unmask", "combine"]
        let backend = variant.backend()
        for opCase in OpCase.checked where !changing.contains(opCase.operation) {
            let direct = try opCase.run(on: backend)
            backend.arena.rewind(to: 0)
            let operation = try opCase.prepare(on: backend)
            let mark = backend.arena.mark
            final class Results { var tensors: [Tensor] = [] }
            let results = Results()
            let program = backend.record { results.tensors = operation() }
            let first = results.tensors
            backend.arena.rewind(to: mark)
            for tensor in first where tensor.dtype == .float32 && tensor.byteOffset >= mark {
                backend.write(
                    HostTensor([Float](repeating: .nan, count: tensor.elementCount), tensor.shape), to: tensor)
            }
            program.replay()
            #expect(first.map(\.byteOffset) == results.tensors.map(\.byteOffset), "\(opCase)")
            for (tensor, output) in zip(results.tensors, direct) {
                let values = try backend.read(tensor)
                let isSame = values.map { Double($0).bitPattern } == output.values.map(\.bitPattern)
                #expect(isSame, "\(opCase)")
            }
        }
    }

    @Test func `every operation of the protocol has a case`() {
        let operations: Set = [
            "linear", "embed", "convolve", "depthwiseConvolve", "norm", "groupNorm", "globalResponseNorm", "attention",
            "append", "castToCache", "rotate", "decodeAttention", "add", "activate", "gate", "modulate", "concatenate",
            "gather",
            "depthToSpace",
            "increment", "guide", "sample", "maskedPlaces", "unmask", "combine", "nearestCode", "normLinear",
            "normModulate", "gatedFeedForward", "groupNormConvolve", "qkvDecodeAttention", "guideAndSample",
            "joinedLinear", "joinedGroupNorm", "joinedGroupNormConvolve",
        ]
        #expect(Set(OpCase.all.map(\.operation)) == operations)
        #expect(Set(OpCase.all.map(\.description)).count == OpCase.all.count, "two cases of one name")
    }
}
