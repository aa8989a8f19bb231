import TTICore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Numbers as waves: cos and sin of the number times frequencies 10000^(-i / half), in float32 step by step as
/// diffusers' get_timestep_embedding computes them, with the cosines first.
enum Sinusoid {
    /// - Parameter width: an odd width ends with a zero.
    /// - Returns: `[values, width]`
    static func cosineFirst(_ values: [Float], width: Int) -> [Float] {
        let half = width / 2
        let frequencies = (0..<half).map { index in expf(-logf(10000) * Float(index) / Float(half)) }
        return values.flatMap { value in
            let angles = frequencies.map { value * $0 }
            return angles.map { cosf($0) } + angles.map { sinf($0) } + [Float](repeating: 0, count: width % 2)
        }
    }
}
