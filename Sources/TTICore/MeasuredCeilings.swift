/// What a device was measured to do at best; 0 where nothing was measured.
package struct MeasuredCeilings: Sendable {
    /// GB/s from memory.
    package let readGBs: Double
    /// GB/s of a copy: bytes read plus bytes written.
    package let copyGBs: Double
    /// TFLOP/s of float32 multiply-adds.
    package let teraFLOPs: Double
    /// TFLOP/s of bfloat16 on tiles (AMX, tensor cores) or by VDPBF16PS, where the device has them.
    package let tileTeraFLOPs: Double?
    /// TOP/s on tiles of int8, where the device has them.
    package let tileTeraOPs: Double?

    package init(
        readGBs: Double, copyGBs: Double, teraFLOPs: Double, tileTeraFLOPs: Double?, tileTeraOPs: Double?
    ) {
        (self.readGBs, self.copyGBs, self.teraFLOPs) = (readGBs, copyGBs, teraFLOPs)
        (self.tileTeraFLOPs, self.tileTeraOPs) = (tileTeraFLOPs, tileTeraOPs)
    }

    /// The better one of each.
    package func best(_ other: MeasuredCeilings) -> MeasuredCeilings {
        func larger(_ a: Double?, _ b: Double?) -> Double? { a.map { max($0, b ?? 0) } }
        return MeasuredCeilings(
            readGBs: max(readGBs, other.readGBs), copyGBs: max(copyGBs, other.copyGBs),
            teraFLOPs: max(teraFLOPs, other.teraFLOPs), tileTeraFLOPs: larger(tileTeraFLOPs, other.tileTeraFLOPs),
            tileTeraOPs: larger(tileTeraOPs, other.tileTeraOPs))
    }
}
