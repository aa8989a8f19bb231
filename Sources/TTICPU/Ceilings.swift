internal import CTTIKernels
internal import Glibc
package import TTICore

// What this machine can do at best, with the backend's own threads: measured beside a kernel, in the same process and at
// the same minute, because neighbours and clocks change.
extension CPUBackend {
    /// GB/s that all threads read from `bytes` of memory, the best of several passes.
    package func measureReadBandwidth(bytes: Int) throws(DeviceError) -> Double {
        let chunk = min(1 << 20, max(4096, bytes / (8 * pool.threadCount) & ~4095))
        let count = max(1, bytes / chunk)
        let memory = try filledPages(chunk * count, chunk: chunk)
        let (isa, source) = unsafe (isa, memory.pointer)
        // Some processors read fastest in one stream, some in four.
        let rates = [1, 4].map { streams in
            rate(Double(chunk * count)) {
                pool.forEach(count) { unsafe _ = ctti_read_all(isa, source + $0 * chunk, chunk, streams) }
            }
        }
        return max(rates[0], rates[1])
    }

    /// GB/s that all threads copy: bytes read plus bytes written.
    package func measureCopyBandwidth(bytes: Int) throws(DeviceError) -> Double {
        let chunk = min(1 << 20, max(4096, bytes / (8 * pool.threadCount) & ~4095))
        let count = max(1, bytes / chunk)
        let (from, to) = (try filledPages(chunk * count, chunk: chunk), try filledPages(chunk * count, chunk: chunk))
        let (source, target) = unsafe (from.pointer, to.pointer)
        return rate(2 * Double(chunk * count)) {
            pool.forEach(count) { index in unsafe memcpy(target + index * chunk, source + index * chunk, chunk) }
        }
    }

    /// TFLOP/s of float32 multiply-adds in registers, on all threads together.
    package func measureMatrixRate() -> Double {
        let rounds = 200_000
        let isa = isa
        var (operations, sum) = (0.0, Float(0))
        operations = unsafe ctti_multiply_adds(isa, 1, &sum) * Double(rounds * pool.threadCount * 4)
        return rate(operations) {
            pool.forEach(pool.threadCount * 4) { _ in
                var sum: Float = 0
                unsafe _ = ctti_multiply_adds(isa, rounds, &sum)
            }
        } / 1000
    }

    /// TFLOP/s of tiles of bfloat16 or int8, or of VDPBF16PS, on all threads together; nil where there are none.
    package func measureTileRate(_ dtype: DType) -> Double? {
        let (isa, isInt8, rounds) = (isa, dtype == .int8, 50_000)
        let operations = ctti_tile_multiply_adds(isa, isInt8, 1) * Double(rounds * pool.threadCount * 4)
        guard operations > 0 else { return nil }
        return rate(operations) {
            pool.forEach(pool.threadCount * 4) { _ in _ = ctti_tile_multiply_adds(isa, isInt8, rounds) }
        } / 1000
    }

    private func filledPages(_ byteCount: Int, chunk: Int) throws(DeviceError) -> Tensor {
        let pages = try allocateOwned([byteCount / 1024, 1024], .int8)
        let target = unsafe pages.pointer
        pool.forEach(byteCount / chunk) { index in unsafe memset(target + index * chunk, 1, chunk) }
        return pages
    }

    /// Billions a second: the best pass of about a fifth of a second's worth, at least three.
    private func rate(_ amount: Double, _ pass: () -> Void) -> Double {
        let begin = now
        var best = Double.infinity
        var passes = 0
        repeat {
            let start = now
            pass()
            best = min(best, now - start)
            passes += 1
        } while passes < 3 || (now - begin < 0.2 && passes < 1000)
        return amount / best * 1e-9
    }

    /// Seconds since some moment.
    private var now: Double {
        var time = timespec()
        unsafe clock_gettime(measuresProcessorTime ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
