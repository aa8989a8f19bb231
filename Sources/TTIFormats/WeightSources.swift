package import TTICore

extension Weights {
    /// The tensors of a checkpoint.
    package static func checkpoint(_ files: TensorFiles) -> Weights { Weights(FileWeights(files)) }

    /// Given tensors, for tests.
    package static func values(_ tensors: [String: HostTensor]) -> Weights { Weights(GivenWeights(tensors)) }

    /// Any tensor that is asked for, without bytes: for counting operations and memory.
    package static func shapesOnly(dtype: DType) -> Weights { Weights(ShapeWeights(dtype)) }

    /// Any tensor that is asked for, with random numbers: for measuring the speed of published shapes.
    ///
    /// Matrices and kernels have the standard deviation 1/√(fan-in), the product of all extents but the first. Of vectors,
    /// those called `…weight` or `…gamma` are about 1, the others about 0. The same seed, name and shape give the same
    /// numbers, in whatever order they are asked for.
    ///
    /// - Parameter dtype: a floating-point type; traps for others.
    package static func random(seed: UInt64, dtype: DType) -> Weights {
        Weights(RandomWeights(seed: seed, dtype: dtype))
    }
}

private final class FileWeights: WeightSource {
    let files: TensorFiles
    /// The last tensors that were given out. Those before have most likely been packed: their pages are given back, so that
    /// loading does not hold a file and what is made of it at the same time.
    private var recent: [HostTensor] = []

    init(_ files: TensorFiles) { self.files = files }

    private func remember(_ tensor: HostTensor) {
        recent.append(tensor)
        guard recent.count > 8 else { return }
        let old = recent.removeFirst()
        if let file = old.storage as? MappedFile, let bytes = unsafe old.bytes { unsafe file.release(bytes) }
    }

    var names: [String]? { files.names }
    func contains(_ name: String) -> Bool { files.contains(name) }
    func tensor(_ name: String, _ shape: Shape) throws(FormatError) -> HostTensor? {
        let tensor = try files.tensor(name)
        if let tensor { remember(tensor) }
        return tensor
    }
    func place(of name: String?) -> String? { files.fileName(of: name) }
}

private final class GivenWeights: WeightSource {
    let tensors: [ByteString: HostTensor]
    let names: [String]?

    init(_ tensors: [String: HostTensor]) {
        self.tensors = Dictionary(uniqueKeysWithValues: tensors.map { (ByteString($0), $1) })
        names = tensors.keys.sorted()
    }

    func contains(_ name: String) -> Bool { tensors[ByteString(name)] != nil }
    func tensor(_ name: String, _ shape: Shape) -> HostTensor? { tensors[ByteString(name)] }
    func place(of name: String?) -> String? { nil }
}

private final class ShapeWeights: WeightSource {
    let dtype: DType
    init(_ dtype: DType) { self.dtype = dtype }
    var names: [String]? { nil }
    func contains(_ name: String) -> Bool { true }
    func tensor(_ name: String, _ shape: Shape) -> HostTensor? { HostTensor(shape: shape, dtype: dtype) }
    func place(of name: String?) -> String? { nil }
}
