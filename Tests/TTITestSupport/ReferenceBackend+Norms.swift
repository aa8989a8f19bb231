package import TTICore

extension ReferenceBackend {
    package func norm(_ x: Tensor, _ parameters: NormParameters) -> Tensor {
        result(normalised(x, parameters), x.shape)
    }

    /// The norm before it is rounded to an activation.
    func normalised(_ x: Tensor, _ parameters: NormParameters) -> [Double] {
        let width = x.shape.last
        for tensor in [parameters.weight, parameters.bias] {
            if let tensor { precondition(tensor.shape == [width], "a norm of \(tensor.shape) over \(x.shape)") }
        }
        let weight = parameters.weight?.doubles() ?? [Double](repeating: 1, count: width)
        let bias = parameters.bias?.doubles() ?? [Double](repeating: 0, count: width)
        let count = Double(width)
        var values = x.doubles()
        for row in 0..<x.rowCount {
            let range = row * width..<(row + 1) * width
            let mean = parameters.kind == .layer ? values[range].reduce(0, +) / count : 0
            let variance = values[range].reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
            let scale = 1 / (variance + Double(parameters.epsilon)).squareRoot()
            for column in 0..<width {
                let index = row * width + column
                values[index] = (values[index] - mean) * scale * weight[column] + bias[column]
            }
        }
        return values
    }

    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        precondition(
            x.shape.rank == 4 && x.shape.last % parameters.groups == 0, "\(parameters.groups) groups of \(x.shape)")
        let (batch, pixels, channels) = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
        precondition(parameters.weight.shape == [channels] && parameters.bias.shape == [channels], "\(x.shape)")
        let weight = parameters.weight.doubles()
        let bias = parameters.bias.doubles()
        let groupWidth = channels / parameters.groups
        let count = Double(pixels * groupWidth)
        var values = x.doubles()
        for entry in 0..<batch {
            for group in 0..<parameters.groups {
                func forEachElement(_ body: (_ index: Int, _ channel: Int) -> Void) {
                    for pixel in entry * pixels..<(entry + 1) * pixels {
                        for channel in group * groupWidth..<(group + 1) * groupWidth {
                            body(pixel * channels + channel, channel)
                        }
                    }
                }
                var mean = 0.0
                forEachElement { index, _ in mean += values[index] / count }
                var variance = 0.0
                forEachElement { index, _ in variance += (values[index] - mean) * (values[index] - mean) / count }
                let scale = 1 / (variance + Double(parameters.epsilon)).squareRoot()
                forEachElement { index, channel in
                    values[index] = activation.value((values[index] - mean) * scale * weight[channel] + bias[channel])
                }
            }
        }
        return result(values, x.shape)
    }

    package func globalResponseNorm(_ x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor {
        let (batch, pixels, channels) = (x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
        precondition(gamma.elementCount == channels && beta.elementCount == channels, "\(gamma.shape) for \(x.shape)")
        let (gamma, beta) = (gamma.doubles(), beta.doubles())
        var values = x.doubles()
        for entry in 0..<batch {
            var lengths = [Double](repeating: 0, count: channels)
            for pixel in entry * pixels..<(entry + 1) * pixels {
                for channel in 0..<channels {
                    let value = values[pixel * channels + channel]
                    lengths[channel] += value * value
                }
            }
            lengths = lengths.map { $0.squareRoot() }
            let mean = lengths.reduce(0, +) / Double(channels) + 1e-6
            for pixel in entry * pixels..<(entry + 1) * pixels {
                for channel in 0..<channels {
                    let value = values[pixel * channels + channel]
                    values[pixel * channels + channel] =
                        gamma[channel] * value * lengths[channel] / mean + beta[channel] + value
                }
            }
        }
        return result(values, x.shape)
    }
}
