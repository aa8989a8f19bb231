import TTICPU
import TTICore
import TTITestSupport
import Testing

/// Norms, elementwise functions and layout: against the reference, and bit for bit over threads and batch.
@Suite struct NormTests {
    typealias Comparison = BackendComparison

    /// Far from zero, so that a one-pass variance would be noise.
    static func offset(_ shape: Shape, _ seed: UInt64) -> HostTensor {
        HostTensor(Comparison.noise(shape, seed).floats().map { $0 + 30 }, shape)
    }

    @Test(arguments: Comparison.instructionSets)
    func `norms equal the reference's`(set: CPUBackend.InstructionSet) throws {
        for width in [1, 5, 16, 64, 100, 1000] {
            for kind in [NormParameters.Kind.layer, .rms] {
                let body = { (backend: any Backend, offset: Bool, modulated: Bool) -> Tensor in
                    let weight = backend.upload(Comparison.noise([width], 1))
                    let bias = kind == .layer ? backend.upload(Comparison.noise([width], 2)) : nil
                    let parameters = NormParameters(kind: kind, weight: weight, bias: bias, epsilon: 1e-6)
                    let x = backend.upload(
                        offset ? Self.offset([4, 3, width], 3) : Comparison.noise([4, 3, width], 3))
                    let modulation = backend.upload(Comparison.noise([2, 2 * width], 4))
                    return modulated ? backend.normModulate(x, parameters, modulation) : backend.norm(x, parameters)
                }
                for modulated in [false, true] {
                    try Comparison.expectReference(set, .of(modulated ? "normModulate" : "norm"), "\(kind) \(width)") {
                        body($0, false, modulated)
                    }
                    if width > 1 {
                        try Comparison.expectReference(set, .normFarFromZero, "offset \(kind) \(width)") {
                            body($0, true, modulated)
                        }
                    }
                    try Comparison.expectThreadsAgree(set, "\(kind)") { body($0, false, modulated) }
                }
            }
        }
    }

    @Test(arguments: Comparison.instructionSets)
    func `norms of images equal the reference's`(set: CPUBackend.InstructionSet) throws {
        for (height, channels, groups) in [(1, 4, 2), (5, 48, 3), (33, 64, 32), (20, 512, 32), (7, 36, 4)] {
            let shape: Shape = [2, height, 7, channels]
            let grouped = { (backend: any Backend, activation: Activation) in
                backend.groupNorm(
                    backend.upload(Self.offset(shape, 1)),
                    GroupNormParameters(
                        groups: groups, weight: backend.upload(Comparison.noise([channels], 2)),
                        bias: backend.upload(Comparison.noise([channels], 3)), epsilon: 1e-6), activation: activation)
            }
            let response = { (backend: any Backend) in
                backend.globalResponseNorm(
                    backend.upload(Comparison.noise(shape, 1)), gamma: backend.upload(Comparison.noise([channels], 2)),
                    beta: backend.upload(Comparison.noise([channels], 3)))
            }
            for activation in [Activation.identity, .silu] {
                try Comparison.expectReference(set, .normFarFromZero, "\(shape)") { grouped($0, activation) }
            }
            try Comparison.expectReference(set, .of("globalResponseNorm"), "\(shape)") { response($0) }
            try Comparison.expectThreadsAgree(set, "\(shape)") { grouped($0, .silu) }
            try Comparison.expectThreadsAgree(set, "\(shape)") { response($0) }
        }
    }

    @Test(arguments: Comparison.instructionSets)
    func `functions of elements equal the reference's`(set: CPUBackend.InstructionSet) throws {
        // By blocks of like size: the error is measured against the largest.
        var blocks: [[Float]] = [[1e-30, -1e-30], [-90, -88, 88, 90], [-200, 200]]
        for block in 0..<16 {
            let magnitudes = (250 * block...250 * block + 250).map { Float($0) * 0.005 }
            blocks.append(magnitudes + magnitudes.map { -$0 })
        }
        for activation in Activation.allCases {
            for values in blocks {
                try Comparison.expectReference(set, .of("activate"), "\(activation) to \(values.max() ?? 0)") {
                    $0.activate($0.upload(HostTensor(values, [values.count])), activation)
                }
            }
            for order in [GateOrder.valueFirst, .gateFirst] {
                try Comparison.expectReference(set, .of("gate"), "gate \(activation)") {
                    $0.gate($0.upload(Comparison.noise([3, 2, 86], 1, scale: 4)), activation, order)
                }
            }
        }
        for (x, y): (Shape, Shape) in [([2, 3, 40], [40]), ([2, 3, 40], [3, 40]), ([2, 3, 40], [1]), ([7], [7])] {
            try Comparison.expectReference(set, .of("add"), "\(x) + \(y)") {
                $0.add($0.upload(Comparison.noise(x, 1)), $0.upload(Comparison.noise(y, 2)))
            }
        }
        for batch in [1, 2, 4] {
            try Comparison.expectReference(set, .of("modulate"), "modulate") {
                $0.modulate(
                    $0.upload(Comparison.noise([4, 5, 37], 1)), $0.upload(Comparison.noise([batch, 74], 2)))
            }
        }
    }

    @Test(arguments: Comparison.instructionSets)
    func `rearranged elements are the reference's`(set: CPUBackend.InstructionSet) throws {
        for axis in [0, 1, 2, -1] {
            try Comparison.expectReference(set, .of("concatenate"), "axis \(axis)") { backend in
                backend.concatenate(
                    [1, 3, 2].map { extent in
                        var shape: Shape = [2, 3, 4]
                        shape[axis] = extent
                        return backend.upload(Comparison.noise(shape, UInt64(extent)))
                    }, axis: axis)
            }
        }
        try Comparison.expectReference(set, .of("gather"), "gather") {
            $0.gather(
                $0.upload(Comparison.noise([2, 5, 3], 1)),
                $0.upload(Comparison.integers([0, 4, -1, 2, 2, 1, 3, -1], [4, 2])))
        }
        try Comparison.expectReference(set, .of("depthToSpace"), "depthToSpace") {
            $0.depthToSpace($0.upload(Comparison.noise([2, 3, 4, 20], 1)))
        }
        let backend = try Comparison.cpu(set)
        let counter = backend.upload(Comparison.integers([3, -1], [2]))
        backend.increment(in: counter)
        #expect(try backend.readIntegers(counter) == [4, 0])
    }
}
