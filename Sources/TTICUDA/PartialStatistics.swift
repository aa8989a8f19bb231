internal import CTTICUDA
internal import TTICore

/// What a group norm asks of the convolution whose result it reads: means of parts of it, and squares about them.
final class PartialStatistics {
    let groups: Int
    /// What there is when the convolution was issued; nil when its kernel leaves nothing.
    var left: tti_partial_statistics?

    init(groups: Int) { self.groups = groups }
}

extension CUDABackend {
    /// Whether there are kernels that do.
    package var leavesStatistics: Bool {
        hasHopper && activationType == .bfloat16 && productChoices.forced == nil
    }

    /// Issues the convolution that makes x, when that is held back still, and has it leave statistics.
    /// - Returns: nil when x must be read for them.
    func partialStatistics(of x: Tensor, groups: Int) -> tti_partial_statistics? {
        guard let held = device.held, held.result.address == x.address, held.result.shape == x.shape else { return nil }
        let asked = PartialStatistics(groups: groups)
        held.statistics = asked
        device.issueHeld()
        return asked.left
    }

    /// Where a product leaves them, made in boxes of pixels of one image each.
    func placeForStatistics(_ product: HopperProduct, in box: HopperBox, groups: Int) -> tti_partial_statistics {
        let (width, height) = (product.boxedWidth, product.boxedHeight)
        let (across, down) = (width.dividedUp(by: box.width), height.dividedUp(by: box.height))
        let boxes = across * down * product.phases
        let partsOfBox = groups + product.outputs.dividedUp(by: TTI_PART_CHANNELS)
        let parts = scratch("partial statistics", product.images * boxes * partsOfBox * 8)
        return tti_partial_statistics(
            parts: parts.device, width: Int32(width), height: Int32(height), box_width: Int32(box.width),
            box_height: Int32(box.height), across: Int32(across), down: Int32(down), boxes: Int32(boxes),
            group_width: Int32(product.outputs / groups), parts_of_box: Int32(partsOfBox))
    }
}
