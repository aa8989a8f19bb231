internal import CTTICUDA

extension ctti_image {
    /// A dense tensor `[images, height, width, channels]`; its box has one pixel.
    init(
        _ address: UInt64, channels: Int, _ width: Int, _ height: Int, _ images: Int, elementBytes: Int = 2
    ) {
        self.init()
        element_bytes = UInt32(elementBytes)
        self.address = address
        (self.channels, self.width) = (UInt64(channels), UInt64(width))
        (self.height, self.images) = (UInt64(height), UInt64(images))
        let bytes = UInt64(elementBytes) * self.channels
        strides = (bytes, bytes * self.width, bytes * self.width * self.height)
        (box_width, box_height, box_images, step) = (1, 1, 1, 1)
    }

    /// Sets how many channels of how many pixels are copied at once.
    mutating func box(_ channels: UInt32, _ pixels: HopperBox) {
        box_channels = channels
        (box_width, box_height) = (UInt32(pixels.width), UInt32(pixels.height))
        box_images = UInt32(pixels.images)
    }
}
