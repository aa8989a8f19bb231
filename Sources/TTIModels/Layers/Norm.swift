import TTICore
import TTIFormats

extension Weights {
    /// A norm over the last axis: `name.weight`, and `name.bias` as `bias` says.
    func norm(
        _ name: String, _ kind: NormParameters.Kind, width: Int, epsilon: Float, bias: NormBias,
        hasWeight: Bool = true, on b: any Backend
    ) throws(ModelError) -> NormParameters {
        let place = self[name]
        let biasTensor: Tensor?
        switch bias {
        case .none: biasTensor = nil
        case .required: biasTensor = try place.constant("bias", [width], on: b)
        case .zeroIfAbsent:
            biasTensor =
                if let host = try place.hostIfPresent("bias", [width]) { try b.load(constant: host) } else { nil }
        }
        return NormParameters(
            kind: kind, weight: hasWeight ? try place.constant("weight", [width], on: b) : nil, bias: biasTensor,
            epsilon: epsilon)
    }

    /// A norm over groups of channels: `name.weight` and `name.bias`.
    func groupNorm(
        _ name: String, channels: Int, groups: Int, epsilon: Float, on b: any Backend
    ) throws(ModelError) -> GroupNormParameters {
        GroupNormParameters(
            groups: groups, weight: try self[name].constant("weight", [channels], on: b),
            bias: try self[name].constant("bias", [channels], on: b), epsilon: epsilon)
    }
}

/// Whether a norm adds a bias.
enum NormBias {
    case none, required, zeroIfAbsent
}
