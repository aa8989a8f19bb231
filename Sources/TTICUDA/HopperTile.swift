internal import TTICore

/// One of hopper.cu's kernels: a block makes `rows` × `columns` of the result.
struct HopperTile: Equatable {
    let rows, columns, warpgroups, stages: Int

    static let all = [
        HopperTile(rows: 128, columns: 64, warpgroups: 2, stages: 8),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 3),
        HopperTile(rows: 128, columns: 160, warpgroups: 2, stages: 5),
        HopperTile(rows: 128, columns: 256, warpgroups: 2, stages: 4),
    ]

    var name: String { "\(rows)x\(columns)x\(stages)" }

    /// The warps that multiply, and the one that loads.
    var threads: Int { 128 * warpgroups + 32 }

    /// As hopper.cu lays it out: stages; barriers and the bias.
    var sharedBytes: Int { stages * (rows + columns) * 128 + 2048 }

    func count(_ rows: Int, _ outputs: Int) -> Int {
        rows.dividedUp(by: self.rows) * outputs.dividedUp(by: columns)
    }
}
