// Formulae of "Generative AI Beyond LLMs", sections V and VI.

/// Bytes of the score matrices of a UNet's self- and cross-attention in one pass, one head, no batch: levels that halve the
/// side, down, bottom and up.
package func scoreMatrixBytes(latentSide: Int, textTokens: Int, depth: Int, elementBytes: Int = 2) -> Int {
    func level(_ n: Int) -> Int {
        let places = (latentSide >> n) * (latentSide >> n)
        return places * (places + textTokens)
    }
    return elementBytes * (2 * (0..<depth).reduce(0) { $0 + level($1) } + level(depth))
}

/// FLOP of the two products of attention over a video, for one channel each: spatial, every frame by itself, is linear in
/// frames; temporal, every place by itself, is quadratic. They are equal where frames and places are as many.
package func videoAttentionFlops(places: Int, frames: Int, width: Int) -> (spatial: Int, temporal: Int) {
    (4 * frames * places * places * width, 4 * places * frames * frames * width)
}
