internal import COpenBLAS
internal import TTICPU
internal import TTICore

/// Our own products beside OpenBLAS's, in turns on the same operands: the yardstick of the dense kernels. Nothing else in
/// the house calls OpenBLAS.
struct OpenBLASPeer {
    let threads: Int
    let seconds: Double

    /// Rows, inputs, outputs: a decoding step with guidance, eight rows, prompts, a masked step, the head, pixels.
    static let shapes = [
        (2, 1024, 4096), (8, 1024, 4096), (77, 768, 768), (256, 192, 768), (256, 1024, 2816), (256, 768, 8192),
        (4096, 144, 144),
    ]

    func run() throws {
        let backend = CPUBackend(weightType: .float32, threads: threads)
        try backend.reserve(arenaBytes: 1 << 29)
        openblas_set_num_threads(Int32(threads))
        let core = unsafe String(cString: openblas_get_corename())
        print("\(processorName()), \(threads) threads, \(backend.instructionSet), f32; OpenBLAS's kernels: \(core)")
        print("GFLOP/s, medians in turns: ours, OpenBLAS, ratio, rows × inputs → outputs")
        for (rows, inputs, outputs) in Self.shapes {
            let (own, peer) = try measure(backend, rows, inputs, outputs)
            let flops = 2e-9 * Double(rows * inputs * outputs)
            print(
                "\(decimal(flops / own, 1))\t\(decimal(flops / peer, 1))\t\(decimal(peer / own, 2))\t"
                    + "\(rows)×\(inputs) → \(outputs)")
        }
    }

    /// The median seconds of a product, ours and OpenBLAS's. Traps when the two differ.
    private func measure(
        _ backend: CPUBackend, _ rows: Int, _ inputs: Int, _ outputs: Int
    ) throws -> (own: Double, peer: Double) {
        backend.arena.rewind(to: 0)
        let random = RandomStream(seed: 1)
        func numbers(_ count: Int, _ position: Int) -> [Float] {
            (0..<count).map { random.uniform(.latent, position: position, index: $0) - 0.5 }
        }
        let (a, b) = (numbers(rows * inputs, 0), numbers(outputs * inputs, 1))
        var c = [Float](repeating: 0, count: rows * outputs)
        let weight = try backend.prepare(matrix: HostTensor(b, [outputs, inputs]), for: .sequences)
        let x = backend.upload(HostTensor(a, [rows, inputs]))
        let mark = backend.arena.mark

        let clock = ContinuousClock()
        var (own, peer): ([Double], [Double]) = ([], [])
        let begin = clock.now
        while own.count < 5 || (clock.now - begin) / .seconds(1) < 2 * seconds {
            backend.arena.rewind(to: mark)
            let time = try clock.measure {
                _ = backend.linear(x, weight)
                try backend.synchronize()
            }
            own.append(time / .seconds(1))
            peer.append(
                clock.measure {
                    unsafe cblas_sgemm(
                        CblasRowMajor, CblasNoTrans, CblasTrans, blasint(rows), blasint(outputs), blasint(inputs), 1, a,
                        blasint(inputs), b, blasint(inputs), 0, &c, blasint(outputs))
                } / .seconds(1))
        }
        backend.arena.rewind(to: mark)
        let ours = try backend.read(backend.linear(x, weight))
        let difference = zip(ours, c).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        precondition(difference < 1e-3, "ours and OpenBLAS's product differ by \(difference)")
        return (own.sorted()[own.count / 2], peer.sorted()[peer.count / 2])
    }
}
