internal import TTICPU
internal import TTICUDA
internal import TTICore
internal import TTITestSupport

/// Holds the operations of a backend against the reference and against themselves.
struct OperationChecks {
    let options: CheckOptions
    let report: CheckReport

    func run() throws {
        let checks = options.checks.filter { $0 != .models && $0 != .fault }
        for type in checks.isEmpty ? [] : options.types {
            let backend = try options.makeBackend(type)
            let cases = (OpCase.checked + OpCase.chains).filter { opCase in
                options.filters.isEmpty || options.filters.contains { opCase.description.contains($0) }
            }
            for check in checks {
                if check == .time || check == .chain {
                    try OperationTimes(backend, inChain: check == .chain).run(options.filters)
                    continue
                }
                var count = 0
                var failures: [String] = []
                for opCase in cases where applies(check, opCase) {
                    count += 1
                    guard let fault = try fault(opCase, check, on: backend, type) else { continue }
                    failures.append("\(opCase): \(fault)")
                }
                if check == .replay {
                    count += 1
                    if let fault = try memoryFault(type) { failures.append("memory between kernels: \(fault)") }
                }
                if check == .fused, let cuda = backend as? CUDABackend, cuda.leavesStatistics {
                    count += 1
                    if let fault = try chainFault(cuda) { failures.append("kernels of a chain: \(fault)") }
                }
                report.add(
                    "\(options.backend) \(check.rawValue)", type, count: count, failures: failures, unit: "cases")
            }
        }
    }

    private static let fused: Set = [
        "normLinear", "joinedLinear", "joinedGroupNorm", "joinedGroupNormConvolve", "normModulate", "gatedFeedForward",
        "groupNormConvolve", "qkvDecodeAttention", "guideAndSample",
    ]

    private func applies(_ check: CheckOptions.Check, _ opCase: OpCase) -> Bool {
        switch check {
        case .reference, .moved, .time, .chain, .models, .fault: true
        case .batch: opCase.isBatchable
        case .fused: OperationChecks.fused.contains(opCase.operation)
        // Operations that change an operand in place are not repeatable.
        case .replay: !["increment", "unmask", "combine"].contains(opCase.operation)
        }
    }

    /// What is wrong; nil when nothing is.
    private func fault(
        _ opCase: OpCase, _ check: CheckOptions.Check, on backend: any Backend, _ type: DType
    ) throws -> String? {
        switch check {
        case .reference:
            let expected = try opCase.run(on: reference(backend))
            // Two tensors are read where they are only from certain addresses on.
            for shift in opCase.operation.hasPrefix("joined") ? [0, 8] : [0] {
                let (outputs, isTidy) = try opCase.runGuarded(on: backend, shift: shift)
                if !isTidy { return "it writes where it should not" }
                if let difference = differences(opCase, outputs, expected, backend) { return difference }
            }
            return nil
        case .batch:
            let together = try opCase.run(on: backend, entries: [0, 1, 2])
            let alone = try (0..<3).map { try opCase.run(on: backend, entries: [$0]) }
            for (number, output) in together.enumerated() {
                // Bits, so that NaN in a place that nobody writes equals itself.
                let joined = alone.flatMap { $0[number].values.map(\.bitPattern) }
                if output.values.map(\.bitPattern) != joined { return "output \(number) depends on the batch" }
            }
            return nil
        case .fused:
            let primitives = PrimitivesOnlyBackend(try options.makeBackend(type))
            if backend.activationType == .bfloat16 && opCase.operation == "normLinear" {
                // The override rounds nothing between norm and product and is held against a reference that does not either;
                // the default does, and is held against the same of the reference.
                let expected = try opCase.run(on: PrimitivesOnlyBackend(reference(backend)))
                return differences(opCase, try opCase.run(on: primitives), expected, backend)
            }
            return differences(opCase, try opCase.run(on: backend), try opCase.run(on: primitives), backend)
        case .replay: return try replayFault(opCase, type)
        case .moved: return try movedFault(opCase, on: backend)
        case .time, .chain, .models, .fault: return nil
        }
    }

    /// The reference that does as the backend should.
    private func reference(_ backend: any Backend) -> ReferenceBackend {
        ReferenceBackend(
            weightType: backend.weightType,
            activationType: backend.activationType == .bfloat16 ? .bfloat16 : .float64, cacheType: backend.cacheType,
            roundsProducts: roundsProducts(backend), roundsAttention: roundsAttention(backend),
            roundsRows: backend.activationType != .bfloat16, kernelType: backend.kernelType)
    }

    /// Whether a processor rounds the rows of products of many tokens.
    private func roundsProducts(_ backend: any Backend) -> Bool {
        guard let processor = backend as? CPUBackend, processor.weightType != .float32 else { return false }
        return processor.instructionSet == .amx || processor.instructionSet == .avx512bf16
    }

    /// Whether it does attention of many queries on tiles, which round its operands.
    private func roundsAttention(_ backend: any Backend) -> Bool {
        guard let processor = backend as? CPUBackend, processor.weightType != .float32 else { return false }
        return processor.instructionSet == .amx
    }

    private func differences(
        _ opCase: OpCase, _ outputs: [OpOutput], _ expected: [OpOutput], _ backend: any Backend
    ) -> String? {
        if outputs.count != expected.count || outputs.isEmpty { return "\(outputs.count) outputs" }
        let tolerance: Tolerance =
            backend.activationType == .bfloat16
            ? .ofBFloat16Activations(opCase.operation)
            : .of(
                opCase.operation, roundsProducts: backend.weightType == .int8 || roundsProducts(backend),
                roundsAttention: backend.weightType == .int8 || roundsAttention(backend))
        for (output, reference) in zip(outputs, expected) {
            let difference = Difference(output, from: reference)
            if !difference.isWithin(tolerance) { return "\(difference)" }
        }
        return nil
    }

    /// Numbers that no operation gives.
    private static func nonsense(_ tensor: Tensor) -> HostTensor {
        tensor.dtype == .int32
            ? HostTensor([Int32](repeating: .min, count: tensor.elementCount), tensor.shape)
            : HostTensor([Float](repeating: .nan, count: tensor.elementCount), tensor.shape)
    }

    /// Does the last and largest cases of the same operation, above what is in the arena: whatever a backend keeps between
    /// kernels may grow, and a program that was recorded before must not lose its own.
    private func growScratches(after opCase: OpCase, on backend: any Backend) throws {
        let mark = backend.arena.mark
        defer { backend.arena.rewind(to: mark) }
        for other in (OpCase.checked + OpCase.chains).filter({ $0.operation == opCase.operation }).suffix(2) {
            guard mark + (try other.arenaBytes(for: backend)) <= backend.arena.buffer.byteCount else { continue }
            backend.arena.rewind(to: mark)
            _ = try other.prepare(on: backend)()
        }
        try backend.synchronize()
    }

    /// Whether a group norm behind a convolution leaves out the kernel that reads its input for means, and only there.
    private func chainFault(_ backend: CUDABackend) throws -> String? {
        for (chain, kernels) in [(OpCase.chainWithStatistics, 2), (OpCase.chainWithoutStatistics, 3)] {
            let count = try launches(chain, on: backend)
            if count != kernels { return "\(chain) takes \(count)" }
        }
        return nil
    }

    private func launches(_ chain: OpCase, on backend: CUDABackend) throws -> Int {
        try backend.reserve(arenaBytes: try chain.arenaBytes(for: backend))
        backend.arena.rewind(to: 0)
        let operation = try chain.prepare(on: backend)
        try backend.synchronize()
        let before = backend.device.launches
        _ = operation()
        try backend.synchronize()
        return backend.device.launches - before
    }

    /// Whether a recording keeps the memory between its kernels when later work needs more of it: large enough to go back to
    /// the driver. A copy onto itself, a little further on, goes by way of such memory.
    private func memoryFault(_ type: DType) throws -> String? {
        let backend = try options.makeBackend(type)
        try backend.reserve(arenaBytes: 32 << 20)
        let memory = backend.allocate([6 << 20], .float32)
        func part(_ start: Int, _ count: Int) -> Tensor {
            Tensor(buffer: memory.buffer, byteOffset: memory.byteOffset + 4 * start, shape: [count], dtype: .float32)
        }
        let (count, shift) = (1 << 20, 64)
        let program = backend.record { backend.copy(part(0, count), to: part(shift, count)) }
        backend.copy(part(0, 5 << 20), to: part(shift, 5 << 20))
        let values = (0..<count).map { Float($0 % 1009) }
        backend.write(HostTensor(values, [count]), to: part(0, count))
        program.replay()
        return try backend.read(part(shift, count)) == values ? nil : "a replay gives something else"
    }

    /// The first result in a scope: it takes the place of what lies below it, which it may overlap.
    private func movedFault(_ opCase: OpCase, on backend: any Backend) throws -> String? {
        let direct = try opCase.run(on: backend)
        try backend.reserve(arenaBytes: 64 << 20)
        for skipped in [64, 1 << 20] {
            backend.arena.rewind(to: 0)
            let operation = try opCase.prepare(on: backend)
            let mark = backend.arena.mark
            let below = backend.allocate([skipped], .float32)
            backend.write(OperationChecks.nonsense(below), to: below)
            var results = operation()
            guard results[0].buffer === backend.arena.buffer, results[0].byteOffset > mark else { continue }
            backend.arena.rewind(to: mark)
            let kept = backend.arena.allocate(results[0].shape, results[0].dtype)
            backend.move(results[0], to: kept)
            results[0] = kept
            let values = try backend.read(kept).map { Double($0).bitPattern }
            if values != direct[0].values.map(\.bitPattern) { return "another result \(skipped) numbers below" }
        }
        return nil
    }

    private final class Results {
        var tensors: [Tensor] = []
    }

    /// On a backend of its own: what it keeps between kernels has not grown for cases before.
    private func replayFault(_ opCase: OpCase, _ type: DType) throws -> String? {
        let backend = try options.makeBackend(type)
        let direct = try opCase.run(on: backend)
        try backend.reserve(arenaBytes: 64 << 20)
        let operation = try opCase.prepare(on: backend)
        let mark = backend.arena.mark
        let results = Results()
        let program = backend.record {
            backend.arena.rewind(to: mark)
            results.tensors = operation()
        }
        // What is there goes, so that a replay that does nothing shows.
        for tensor in results.tensors where tensor.byteOffset >= mark {
            backend.write(OperationChecks.nonsense(tensor), to: tensor)
        }
        try growScratches(after: opCase, on: backend)
        program.replay()
        for (tensor, output) in zip(results.tensors, direct) {
            let values = try backend.read(tensor).map { Double($0).bitPattern }
            if values != output.values.map(\.bitPattern) { return "a replay gives something else" }
        }
        return nil
    }
}
