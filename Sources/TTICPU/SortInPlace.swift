extension UnsafeMutableBufferPointer {
    /// Sorts as a heap, which takes no memory of its own; the standard library's sort takes some for its runs.
    func sortInPlace(by comesBefore: (Element, Element) -> Bool) {
        for root in stride(from: count / 2 - 1, through: 0, by: -1) { unsafe sink(root, below: count, comesBefore) }
        for last in stride(from: count - 1, to: 0, by: -1) {
            unsafe swapAt(0, last)
            unsafe sink(0, below: last, comesBefore)
        }
    }

    /// Moves an element down the heap of the first `end` ones until it comes before none of its two children.
    private func sink(_ element: Int, below end: Int, _ comesBefore: (Element, Element) -> Bool) {
        var parent = element
        while 2 * parent + 1 < end {
            var child = 2 * parent + 1
            if unsafe child + 1 < end && comesBefore(self[child], self[child + 1]) { child += 1 }
            guard unsafe comesBefore(self[parent], self[child]) else { return }
            unsafe swapAt(parent, child)
            parent = child
        }
    }
}
