internal import CTTICUDA
package import TTICore

extension CUDABackend {
    /// What this device does at best: memory far beyond its caches, arithmetic in registers, and a large product of
    /// cuBLASLt where that is faster than our instructions. Takes a few tenths of a second.
    package func measureCeilings() throws(DeviceError) -> MeasuredCeilings {
        try device.synchronize()
        let result = scratch("ceilings", 64)
        let bytes = min(4 << 30, max(64 << 20, device.memory.free / 4)) & ~0xffff
        let buffer = try memory.allocate(bytes)
        // Noise: how fast products are depends on their numbers.
        device.fill(buffer.address, bytes, 0x3c)
        let blocks = device.multiprocessorCount * 8
        let read = best {
            launch(
                "read_all", grid: (blocks, 1, 1), threads: 256,
                tti_read_all(y: result.device, x: buffer.address.device, count: Int64(bytes / 16)))
        }
        let copy = best { device.copy(bytes / 2, from: buffer.address, to: buffer.address + UInt(bytes / 2)) }
        func rate(_ kernel: String, rounds: Int, operationsOfRound: Int) -> Double {
            let seconds = best {
                launch(
                    kernel, grid: (blocks, 1, 1), threads: 256, tti_rounds(y: result.device, rounds: Int32(rounds)))
            }
            return Double(blocks * 256 * rounds) * Double(operationsOfRound) / seconds / 1e12
        }
        let single = rate("multiply_adds", rounds: 4096, operationsOfRound: 64)
        // 2 · 16 · 8 · depth operations of a warp, eight times.
        let half = rate("multiply_bfloat16_tiles", rounds: 4096, operationsOfRound: 8 * 2 * 16 * 8 * 16 / 32)
        let eighth = rate("multiply_int8_tiles", rounds: 4096, operationsOfRound: 8 * 2 * 16 * 8 * 32 / 32)
        let product = try productRate(buffer)
        try device.synchronize()
        return MeasuredCeilings(
            readGBs: Double(bytes) / read / 1e9, copyGBs: Double(bytes) / copy / 1e9, teraFLOPs: single,
            tileTeraFLOPs: max(half, product), tileTeraOPs: eighth)
    }

    /// TFLOP/s of a large product of random numbers by cuBLASLt; 0 where it is not there.
    private func productRate(_ buffer: Buffer) throws(DeviceError) -> Double {
        let side = 8192
        let matrixBytes = side * side * 2
        guard let matrixLibrary, buffer.byteCount >= 3 * matrixBytes else { return 0 }
        var random = UInt64(1)
        let values = (0..<1 << 20).map { _ -> Float in
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(random >> 40) * 0x1p-23 - 1
        }
        let block = HostTensor(values, [values.count])
        for offset in stride(from: 0, to: 2 * side * side, by: values.count) {
            let part = Tensor(buffer: buffer, byteOffset: 2 * offset, shape: [values.count], dtype: .bfloat16)
            write(block, to: part)
        }
        let shape = ProductShape(rows: side, inputs: side, stride: side, outputs: side, adds: false)
        let addresses = ctti_product_addresses(
            y: buffer.address.device + UInt64(2 * matrixBytes), x: buffer.address.device,
            weight: buffer.address.device + UInt64(matrixBytes), residual: 0,
            workspace: scratch("matrix library", MatrixLibrary.workspaceBytes).device)
        guard let way = matrixLibrary.fastest(1, shape, 1, addresses).first else { return 0 }
        let seconds = best { _ = matrixLibrary.issue(shape, 1, way, addresses) }
        return 2 * Double(side * side) * Double(side) / seconds / 1e12
    }

    /// Seconds of the fastest of five times, after one that counts for nothing.
    private func best(_ body: () -> Void) -> Double {
        body()
        return (0..<5).reduce(Double.infinity) { best, _ in
            min(best, device.milliseconds(body).map { Double($0) / 1000 } ?? .infinity)
        }
    }
}
