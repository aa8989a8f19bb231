internal import TTICore

extension OpCase {
    @inline(never) private static func norm(
        _ kind: NormParameters.Kind, _ batch: Int, _ tokens: Int, _ width: Int, hasWeight: Bool = true,
        hasBias: Bool = true, offset: Float = 0, purpose: Purpose = .check
    ) -> OpCase {
        var detail = "\(kind) \(batch)×\(tokens)×\(width)"
        if !hasWeight { detail += " without weight" }
        if !hasBias { detail += " without bias" }
        if offset != 0 { detail += " about \(offset)" }
        return OpCase("norm", detail, purpose: purpose, batch: batch) { inputs in
            let x = inputs.batched([tokens, width], offset: offset)
            let parameters = try inputs.norm(kind, width, hasWeight: hasWeight, hasBias: hasBias)
            let backend = inputs.backend
            return { [backend.norm(x, parameters)] }
        }
    }

    @inline(never) private static func groupNorm(
        _ batch: Int, _ height: Int, _ width: Int, _ channels: Int, groups: Int, _ activation: Activation = .identity,
        offset: Float = 0, purpose: Purpose = .check
    ) -> OpCase {
        let end = activation == .identity ? "" : " \(activation)"
        return OpCase(
            "groupNorm", "\(batch)×\(height)×\(width)×\(channels) in \(groups)\(end)", purpose: purpose, batch: batch
        ) { inputs in
            let x = inputs.batched([height, width, channels], offset: offset)
            let parameters = try inputs.groupNorm(groups, channels)
            let backend = inputs.backend
            return { [backend.groupNorm(x, parameters, activation: activation)] }
        }
    }

    @inline(never) private static func responseNorm(
        _ batch: Int, _ height: Int, _ width: Int, _ channels: Int, purpose: Purpose = .check
    ) -> OpCase {
        OpCase("globalResponseNorm", "\(batch)×\(height)×\(width)×\(channels)", purpose: purpose, batch: batch) {
            inputs in
            let x = inputs.batched([height, width, channels])
            let (gamma, beta) = (try inputs.constant([channels]), try inputs.constant([channels]))
            let backend = inputs.backend
            return { [backend.globalResponseNorm(x, gamma: gamma, beta: beta)] }
        }
    }

    static let normCases: [OpCase] = [
        norm(.layer, 1, 1, 2),
        norm(.rms, 1, 1, 1),
        norm(.layer, 3, 1, 7),
        norm(.rms, 3, 2, 16),
        norm(.layer, 1, 9, 33),
        norm(.rms, 1, 7, 31),
        norm(.layer, 2, 4, 64, hasBias: false),
        norm(.layer, 2, 3, 48, hasWeight: false, hasBias: false),
        norm(.rms, 1, 8, 40, hasWeight: false),
        norm(.layer, 2, 1, 2730, hasWeight: false),
        norm(.layer, 1, 5, 100, offset: 8),
        // Rows that several warps of a GPU share, and one that none can hold.
        norm(.layer, 3, 2, 520, offset: 8),
        norm(.rms, 2, 3, 1032, hasWeight: false),
        norm(.layer, 2, 3, 2048, hasBias: false),
        norm(.layer, 1, 2, 4096),
        norm(.rms, 1, 2, 8200),
        norm(.layer, 2, 1, 1024, purpose: .checkAndMeasure),
        norm(.layer, 2, 256, 768, purpose: .checkAndMeasure),
        norm(.rms, 2, 256, 1024, purpose: .checkAndMeasure),
        // Muse-3B's.
        norm(.layer, 2, 256, 2048, hasBias: false, purpose: .measure),
        groupNorm(1, 1, 1, 2, groups: 2),
        groupNorm(1, 1, 1, 32, groups: 4, .silu),
        groupNorm(3, 5, 3, 8, groups: 4),
        groupNorm(2, 4, 7, 48, groups: 16, .silu),
        groupNorm(3, 6, 5, 96, groups: 32, .silu),
        groupNorm(1, 9, 8, 33, groups: 1),
        groupNorm(1, 7, 7, 24, groups: 2, .relu),
        groupNorm(1, 8, 8, 64, groups: 16, offset: 8),
        // Images that are shared by several blocks of a GPU.
        groupNorm(2, 48, 48, 32, groups: 4, .silu, offset: 8),
        groupNorm(1, 40, 41, 24, groups: 2),
        groupNorm(1, 16, 16, 512, groups: 32, .silu, purpose: .checkAndMeasure),
        groupNorm(1, 256, 256, 128, groups: 32, .silu, purpose: .measure),
        responseNorm(1, 1, 1, 3),
        responseNorm(3, 5, 3, 17),
        responseNorm(2, 4, 4, 64),
        responseNorm(1, 5, 3, 1200),
        responseNorm(2, 16, 16, 3072, purpose: .measure),
    ]
}
