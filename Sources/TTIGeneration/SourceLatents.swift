/// Where diffusion begins when a picture is given: how much noise it is hidden in, and which part of it is kept.
package enum SourceLatents {
    /// Sets the picture of every image of a batch, and the step to begin at.
    ///
    /// A strength below 1 leaves out the first steps, as diffusers does, and begins with the picture in as much noise as they
    /// would have left; 0 leaves out all of them, 1 none, and begins with noise alone.
    /// - Parameters:
    ///   - picture: `[latents]`
    ///   - isOpen: `[height · width]`: which may change; nil: all.
    ///   - strength: 0...1
    package static func begin(_ batch: inout ImageBatch, picture: [Float], isOpen: [Bool]?, strength: Float) {
        let steps = batch.settings.steps
        batch.firstStep = steps - Int((Float(steps) * strength).rounded(.down))
        for index in batch.items.indices {
            batch.items[index].picture = picture
            batch.items[index].open = isOpen
        }
    }
}
