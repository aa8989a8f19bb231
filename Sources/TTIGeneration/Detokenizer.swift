internal import TTICore
internal import TTIFormats
package import TTIModels

/// Tokens to pixels and back, for every pipeline over image tokens.
package struct Detokenizer {
    package let network: VQGAN

    package init(_ network: VQGAN) { self.network = network }

    /// Pixels for each token, in each direction.
    package var pixelsPerToken: Int { network.configuration.scale }

    /// One image after the other, so that memory does not grow with the batch.
    /// - Parameter images: `[images][height · width]` codes.
    /// - Returns: `[images][height · width · 3]` pixels in 0...1, not clipped.
    func decode(_ images: [[Int32]], height: Int, width: Int, on b: any Backend) throws(DeviceError) -> [[Float]] {
        var pixels: [[Float]] = []
        for codes in images {
            let mark = b.arena.mark
            defer { b.arena.rewind(to: mark) }
            pixels.append(try b.read(network.decode(b.upload(HostTensor(codes, [1, height, width])), on: b)))
        }
        return pixels
    }

    /// - Parameter pixels: `[height, width, 3]` in 0...1.
    /// - Returns: `[height / factor · width / factor]` codes.
    func encode(_ pixels: [Float], height: Int, width: Int, on b: any Backend) throws(DeviceError) -> [Int32] {
        let mark = b.arena.mark
        defer { b.arena.rewind(to: mark) }
        let latents = network.encode(b.uploadActivations(HostTensor(pixels, [1, height, width, 3])), on: b)
        return try b.readIntegers(network.codes(latents, on: b))
    }
}
