internal import TTICore

/// One of hopper.cu's kernels, and of hopper_int8.cu's: a block makes 128 pixels × `columns` of the result.
struct HopperTile: Equatable {
    let columns, stages: Int
    /// What a block takes for 64 channels, measured on an H200: the multipliers' time for large tiles, that of the way from
    /// the second-level cache for small ones.
    let nanosecondsOfBlock: Double

    static let rows = 128
    static let all = [
        HopperTile(columns: 64, stages: 8, nanosecondsOfBlock: 261),
        HopperTile(columns: 96, stages: 7, nanosecondsOfBlock: 310),
        HopperTile(columns: 128, stages: 3, nanosecondsOfBlock: 390),
        HopperTile(columns: 128, stages: 6, nanosecondsOfBlock: 365),
        HopperTile(columns: 160, stages: 5, nanosecondsOfBlock: 450),
        HopperTile(columns: 192, stages: 5, nanosecondsOfBlock: 530),
        HopperTile(columns: 256, stages: 4, nanosecondsOfBlock: 702),
    ]

    var name: String { "\(HopperTile.rows)x\(columns)x\(stages)" }

    /// The warps that multiply, and the one that loads.
    static let threads = 2 * 128 + 32

    /// As hopper_products.cuh lays it out: stages; barriers, the bias and the scales.
    var sharedBytes: Int { stages * (HopperTile.rows + columns) * 128 + 3072 }

    /// Whether the two halves of its columns can be values and gates: halves are whole boxes of 32 results.
    var canGate: Bool { columns % 64 == 0 }
}
