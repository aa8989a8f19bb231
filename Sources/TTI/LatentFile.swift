internal import TTICore
internal import TTIFormats

/// Latents in a safetensors file: `latents` [images, channels, height, width].
package enum LatentFile {
    /// What a file holds.
    package struct Latents: Sendable {
        /// `[height · width · channels]` each.
        package let images: [[Float]]
        package let height: Int
        package let width: Int
    }

    /// - Throws: `TTIError` of code invalidInput when the file has no such tensor, or numbers that are not finite.
    package static func read(_ path: String) throws(TTIError) -> Latents {
        do {
            let file: SafetensorsFile
            do throws(FormatError) { file = try SafetensorsFile(path: path) } catch { throw error.inInputFile }
            func fault(_ what: String) -> TTIError {
                TTIError(
                    .invalidInput, "input.latents",
                    "\(what): \(quoted(path)); it needs latents [images, channels, height, width]")
            }
            guard let latents = try file.tensor("latents") else { throw fault("there is no tensor 'latents'") }
            let shape = latents.shape
            guard shape.rank == 4, shape.elementCount > 0 else { throw fault("'latents' has the shape \(shape)") }
            guard latents.dtype.isFloatingPoint else { throw fault("'latents' holds \(latents.dtype), not numbers") }
            let values = latents.floats().channelsLast(shape.array)
            guard values.allSatisfy(\.isFinite) else { throw fault("'latents' has a number that is not finite") }
            let size = shape[1] * shape[2] * shape[3]
            return Latents(
                images: stride(from: 0, to: values.count, by: size).map { Array(values[$0..<$0 + size]) },
                height: shape[2], width: shape[3])
        } catch { throw TTIError(translating: error) }
    }

    /// The bytes of a file with these latents.
    /// - Parameter images: `[height · width · channels]` each.
    package static func bytes(_ images: [[Float]], height: Int, width: Int) -> [UInt8] {
        let channels = (images.first?.count ?? 0) / max(height * width, 1)
        let values = images.flatMap { $0 }.channelsFirst(
            batch: images.count, pixels: height * width, channels: channels)
        return SafetensorsWriter.bytes([("latents", HostTensor(values, [images.count, channels, height, width]))])
    }
}
