package import TTICore

extension Backend {
    /// Runs `body` on a tensor that nobody needs afterwards; the result takes its place in the arena. This is how a chain
    /// of layers runs in the memory of its largest link: input, what the layer makes, output.
    ///
    /// Traps unless `x` is the last thing that was allocated.
    func replacing(_ x: Tensor, _ body: (Tensor) -> Tensor) -> Tensor {
        let end = (x.byteOffset + x.byteCount + Arena.alignment - 1) & ~(Arena.alignment - 1)
        precondition(x.buffer === arena.buffer && end == arena.mark, "only the last tensor can be replaced")
        let result = body(x)
        precondition(result.buffer === arena.buffer, "the result of a layer lies in the arena")
        arena.rewind(to: x.byteOffset)
        let kept = arena.allocate(result.shape, result.dtype)
        if kept.byteOffset != result.byteOffset { move(result, to: kept) }
        return kept
    }

    /// The same, when what lies right below `x` is not needed afterwards either: the result takes its place.
    func replacing(_ x: Tensor, above below: Tensor, _ body: () -> Tensor) -> Tensor {
        let end = (below.byteOffset + below.byteCount + Arena.alignment - 1) & ~(Arena.alignment - 1)
        precondition(below.buffer === arena.buffer && end == x.byteOffset, "only neighbours can be replaced together")
        let result = body()
        precondition(result.buffer === arena.buffer, "the result of a layer lies in the arena")
        arena.rewind(to: below.byteOffset)
        let kept = arena.allocate(result.shape, result.dtype)
        move(result, to: kept)
        return kept
    }

    /// Host numbers as activations of this device.
    package func uploadActivations(_ source: HostTensor) -> Tensor {
        let tensor = allocate(source.shape, activationType)
        write(source, to: tensor)
        return tensor
    }

    /// The rows of a tensor over and over, until there are `rows` of them: tokens that all guidance branches share.
    func repeated(_ x: Tensor, rows: Int) -> Tensor {
        precondition(x.shape[0] > 0 && rows % x.shape[0] == 0, "\(x.shape) repeated to \(rows) rows")
        return switch rows / x.shape[0] {
        case 1: x
        case 2: concatenate(x, x, axis: 0)
        case let times: concatenate([Tensor](repeating: x, count: times), axis: 0)
        }
    }
}
