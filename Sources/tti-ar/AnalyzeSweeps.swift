internal import TTI
internal import TTIAccounting
internal import TTIFormats

/// One model at several sizes: where convolution and attention go.
struct SizeSweep {
    private let name: String
    private let rows: [(side: Int, analysis: Analysis)]

    init(_ name: String, _ sizes: ModelSizes, _ device: RooflineDevice) throws(TTIError) {
        self.name = name
        var rows: [(side: Int, analysis: Analysis)] = []
        for side in [64, 128, 256, 512, 768, 1024, 1536, 2048] {
            var sized = sizes
            sized.side = side
            // A size that this model cannot have is left out.
            guard let analysis = try? Analysis(name, sized, device) else { continue }
            rows.append((side, analysis))
        }
        self.rows = rows
    }

    private static func attention(_ analysis: Analysis) -> (flops: Double, time: Double) {
        OperatorClass.allCases.filter(\.isAttention).reduce((0, 0)) {
            let share = analysis.share($1)
            return ($0.0 + share.flops, $0.1 + share.time)
        }
    }

    private static func histogram(_ analysis: Analysis) -> [(length: Int, share: Double)] {
        let lengths = analysis.cost.stages.first { $0.count > 1 }?.lengths ?? []
        return Set(lengths).sorted().map { length in
            (length, Double(lengths.count { $0 == length }) / Double(lengths.count))
        }
    }

    var text: String {
        "\n\(harmless(name)) by size:\n"
            + columns(
                [["side", "FLOP", "convolution", "attention", "time", "convolution", "attention", "longest"]]
                    + rows.map { row in
                        let (convolution, attention) = (row.analysis.share(.convolution), Self.attention(row.analysis))
                        return [
                            String(row.side), countText(row.analysis.cost.flops), percent(convolution.flops),
                            percent(attention.flops), durationText(seconds: row.analysis.seconds),
                            durationText(seconds: row.analysis.seconds * convolution.time),
                            durationText(seconds: row.analysis.seconds * attention.time),
                            String(Self.histogram(row.analysis).last?.length ?? 0),
                        ]
                    })
    }

    var json: JSON {
        .list(
            rows.map { row in
                let (convolution, attention) = (row.analysis.share(.convolution), Self.attention(row.analysis))
                return [
                    "side": JSON(row.side), "model": JSON(name), "flops": JSON(row.analysis.cost.flops),
                    "seconds": JSON(row.analysis.seconds), "eager_seconds": JSON(row.analysis.eagerSeconds),
                    "convolution": ["flop_share": JSON(convolution.flops), "time_share": JSON(convolution.time)],
                    "attention": ["flop_share": JSON(attention.flops), "time_share": JSON(attention.time)],
                    "lengths": .list(
                        Self.histogram(row.analysis).map { ["length": JSON($0.length), "share": JSON($0.share)] }),
                ]
            })
    }
}

/// Spatial and temporal attention as frames grow: the two products, for each channel.
enum VideoSweep {
    private static let sides = [8, 16, 32, 64]
    private static let frames = [4, 16, 64, 256, 1024, 4096]

    static var text: String {
        "\nVideo: FLOP of spatial over temporal attention; 1 where frames and places are as many:\n"
            + columns(
                [["frames"] + sides.map { "\($0)×\($0)" }]
                    + frames.map { frames in
                        [String(frames)] + sides.map { side in decimals(ratio(side, frames), 2) }
                    })
    }

    private static func ratio(_ side: Int, _ frames: Int) -> Double {
        let flops = videoAttentionFlops(places: side * side, frames: frames, width: 1)
        return Double(flops.spatial) / Double(flops.temporal)
    }

    static var json: JSON {
        .list(
            sides.flatMap { side in
                frames.map { frames in
                    let flops = videoAttentionFlops(places: side * side, frames: frames, width: 64)
                    return [
                        "side": JSON(side), "frames": JSON(frames), "spatial_flops": JSON(flops.spatial),
                        "temporal_flops": JSON(flops.temporal), "crossover_frames": JSON(side * side),
                    ]
                }
            })
    }
}

/// The similarity matrices of Stable Diffusion's UNet, by the paper's formula: one head, two bytes, 77 text tokens.
enum ScoreTable {
    private static let sides = [64, 128, 256, 512, 768, 1024, 2048]

    private static func bytes(_ side: Int) -> Int {
        scoreMatrixBytes(latentSide: side / 8, textTokens: 77, depth: 3)
    }

    static var text: String {
        "\nSimilarity matrices of one pass of Stable Diffusion's UNet, one head, 2 bytes (grows with the fourth power):\n"
            + columns([["side"] + sides.map(String.init), ["MB"] + sides.map { decimals(Double(bytes($0)) / 1e6, 3) }])
    }

    static var json: JSON {
        .list(sides.map { ["side": JSON($0), "bytes": JSON(bytes($0))] })
    }
}
