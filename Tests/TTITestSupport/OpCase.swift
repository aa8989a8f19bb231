package import TTIAccounting
package import TTICore

/// One operation at one shape: what the tests compare with the reference, and what tti-bench measures.
///
/// Inputs are seeded by the case and by the entry of the batch, so an entry alone gets the numbers that it gets in company.
package struct OpCase: Sendable, CustomStringConvertible {
    package enum Purpose: Sendable {
        /// Small, for its corners.
        case check
        /// A shape that models have, small enough for the reference.
        case checkAndMeasure
        /// A shape that models have, too large for the reference.
        case measure
    }

    /// The requirement of `Backend`, such as "linear"; of two in a row, both.
    package let operation: String
    /// Shapes and what else distinguishes the case.
    package let detail: String
    package let purpose: Purpose
    /// Entries of the batch.
    package let batch: Int
    /// Whether every output has the batch as its first axis and its entries can be computed alone.
    package let isBatchable: Bool
    /// The place that a decoding step stands at, for the accounting.
    package let decodePosition: Int?
    /// Makes the inputs; what comes back does the operation and gives everything that it wrote. It can be called again.
    package let build: @Sendable (OpInputs) throws -> () -> [Tensor]

    package init(
        _ operation: String, _ detail: String, purpose: Purpose = .check, batch: Int = 1, isBatchable: Bool = true,
        decodePosition: Int? = nil, build: @escaping @Sendable (OpInputs) throws -> () -> [Tensor]
    ) {
        self.operation = operation
        self.detail = detail
        self.purpose = purpose
        self.batch = batch
        self.isBatchable = isBatchable
        self.decodePosition = decodePosition
        self.build = build
    }

    package var description: String { "\(operation) \(detail)" }

    /// The table. The functions that make its rows are never inlined: that takes the compiler ten seconds more.
    package static let all: [OpCase] =
        linearCases + embedCases + convolutionCases + normCases + attentionCases + decodeCases + elementwiseCases
        + choiceCases + unmaskCases + diffusionCases + fusedCases

    /// What the reference can do in a moment.
    package static var checked: [OpCase] { all.filter { $0.purpose != .measure } }
    /// What tti-bench measures.
    package static var measured: [OpCase] { all.filter { $0.purpose != .check } }

    /// Prepares the operation on a backend.
    /// - Parameters:
    ///   - entries: which entries of the batch; nil for all.
    ///   - shift: bytes past the arena's alignment where operands begin.
    package func prepare(on backend: any Backend, entries: [Int]? = nil, shift: Int = 0) throws -> () -> [Tensor] {
        try build(OpInputs(backend, name: description, entries: entries ?? Array(0..<batch), shift: shift))
    }

    /// Does the operation once, from an empty arena that is filled with NaN beforehand, and reads everything that it wrote.
    package func run(on backend: any Backend, entries: [Int]? = nil, shift: Int = 0) throws -> [OpOutput] {
        try runGuarded(on: backend, entries: entries, shift: shift).outputs
    }

    /// The same, and looks at the memory around: whether the operands (of an operation that changes none) and what lies
    /// behind the planned peak are as they were.
    package func runGuarded(
        on backend: any Backend, entries: [Int]? = nil, shift: Int = 0
    ) throws -> (outputs: [OpOutput], isTidy: Bool) {
        let needed = try arenaBytes(for: backend, entries: entries, shift: shift)
        try backend.reserve(arenaBytes: needed + OpCase.guardBytes)
        backend.arena.rewind(to: 0)
        let operation = try prepare(on: backend, entries: entries, shift: shift)
        let mark = backend.arena.mark
        OpCase.poison(backend, byteCount: needed + OpCase.guardBytes - mark)
        let before = changesOperands ? [] : try words(backend, 0..<mark)
        let outputs = operation()
        try backend.synchronize()
        let isTidy =
            try (changesOperands || words(backend, 0..<mark) == before)
            && words(backend, needed..<needed + OpCase.guardBytes).allSatisfy { $0 == OpCase.poison.bitPattern }
        return (try outputs.map { try OpOutput($0, on: backend) }, isTidy)
    }

    /// Whether operands are changed in place.
    package var changesOperands: Bool {
        ["append", "increment", "sample", "unmask", "combine", "qkvDecodeAttention", "guideAndSample"]
            .contains(operation)
    }

    private static let guardBytes = 4096

    /// A part of the arena, bit by bit.
    private func words(_ backend: any Backend, _ bytes: Range<Int>) throws -> [UInt32] {
        if bytes.isEmpty { return [] }
        let part = Tensor(
            buffer: backend.arena.buffer, byteOffset: bytes.lowerBound, shape: [bytes.count / 4], dtype: .int32)
        return try backend.readIntegers(part).map { UInt32(bitPattern: $0) }
    }

    /// FLOP and bytes of one call, for a backend that holds weights and cache as this one does.
    package func cost(weightType: DType, cacheType: DType) throws -> OperationTotals {
        let accounting = AccountingBackend(weightType: weightType, cacheType: cacheType)
        accounting.decodePosition = decodePosition
        let operation = try prepare(on: accounting)
        accounting.reset()
        _ = operation()
        return accounting.totals
    }

    /// Arena that inputs and one call need.
    package func arenaBytes(for backend: any Backend, entries: [Int]? = nil, shift: Int = 0) throws -> Int {
        let accounting = AccountingBackend(
            weightType: backend.weightType, cacheType: backend.cacheType, activationType: backend.activationType,
            kernelType: backend.kernelType)
        accounting.attentionForm = backend.attentionForm
        accounting.readsJoinedInPlace = !(backend is ReferenceBackend || backend is PrimitivesOnlyBackend)
        _ = try prepare(on: accounting, entries: entries, shift: shift)()
        return accounting.arena.peak
    }

    /// A NaN, as float32 and as two of bfloat16.
    private static let poison = Float(bitPattern: 0x7fc0_7fc0)

    /// Fills the free part of the arena with NaN, so that an element that an operation forgets shows.
    private static func poison(_ backend: any Backend, byteCount: Int) {
        if byteCount < 4 { return }
        let mark = backend.arena.mark
        let count = byteCount / 4
        let target = backend.allocate([count], .float32)
        backend.write(HostTensor([Float](repeating: poison, count: count), [count]), to: target)
        backend.arena.rewind(to: mark)
    }
}

/// What an operation wrote.
package struct OpOutput: Sendable {
    package let shape: Shape
    package let isInteger: Bool
    package let values: [Double]

    /// Waits, and reads a tensor.
    package init(_ tensor: Tensor, on backend: any Backend) throws {
        shape = tensor.shape
        isInteger = tensor.dtype == .int32
        if let reference = backend as? ReferenceBackend {
            values = try reference.readDoubles(tensor)
        } else if isInteger {
            values = try backend.readIntegers(tensor).map { Double($0) }
        } else {
            values = try backend.read(tensor).map { Double($0) }
        }
    }
}
