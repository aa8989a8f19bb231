internal import TTIFormats

/// Eight bits a channel, three channels a pixel, rows from the top.
public struct RGBImage: Sendable, Hashable {
    /// Pixels across.
    public let width: Int
    /// Pixels down.
    public let height: Int
    /// `[height, width, 3]`: red, green, blue.
    public let pixels: [UInt8]

    /// Traps when the count of bytes is not `height · width · 3`.
    public init(width: Int, height: Int, pixels: [UInt8]) {
        precondition(pixels.count == width * height * 3, "\(pixels.count) bytes for \(width)x\(height)")
        self.width = width
        self.height = height
        self.pixels = pixels
    }
}
