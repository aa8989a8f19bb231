internal import TTICore

/// One of hopper.cu's kernels: a block makes `rows` × `columns` of the result.
struct HopperTile: Equatable {
    let rows, columns, warpgroups, stages: Int
    /// Tiles below and beside each other of a cluster's blocks, and the parts of the depth that each tile has.
    let down, across, splits: Int

    static let all = [
        HopperTile(rows: 64, columns: 128, warpgroups: 1, stages: 4, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 64, warpgroups: 2, stages: 4, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 64, warpgroups: 2, stages: 8, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 64, warpgroups: 2, stages: 8, down: 2, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 64, warpgroups: 2, stages: 8, down: 2, across: 2, splits: 1),
        HopperTile(rows: 128, columns: 64, warpgroups: 2, stages: 8, down: 4, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 3, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 3, down: 2, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 2, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 2, across: 2, splits: 1),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 4, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 1, across: 1, splits: 2),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 2, across: 1, splits: 2),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 2, across: 2, splits: 2),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 4, across: 1, splits: 2),
        HopperTile(rows: 128, columns: 128, warpgroups: 2, stages: 6, down: 2, across: 1, splits: 4),
        HopperTile(rows: 128, columns: 160, warpgroups: 2, stages: 3, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 160, warpgroups: 2, stages: 5, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 160, warpgroups: 2, stages: 5, down: 2, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 192, warpgroups: 2, stages: 5, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 192, warpgroups: 2, stages: 5, down: 2, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 192, warpgroups: 2, stages: 5, down: 2, across: 2, splits: 1),
        HopperTile(rows: 128, columns: 192, warpgroups: 2, stages: 5, down: 4, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 256, warpgroups: 2, stages: 4, down: 1, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 256, warpgroups: 2, stages: 4, down: 2, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 256, warpgroups: 2, stages: 4, down: 2, across: 2, splits: 1),
        HopperTile(rows: 128, columns: 256, warpgroups: 2, stages: 4, down: 4, across: 1, splits: 1),
        HopperTile(rows: 128, columns: 256, warpgroups: 2, stages: 4, down: 2, across: 1, splits: 2),
        HopperTile(rows: 128, columns: 256, warpgroups: 2, stages: 4, down: 2, across: 1, splits: 4),
        HopperTile(rows: 256, columns: 128, warpgroups: 2, stages: 4, down: 1, across: 1, splits: 1),
        HopperTile(rows: 256, columns: 128, warpgroups: 2, stages: 4, down: 2, across: 1, splits: 1),
        HopperTile(rows: 256, columns: 128, warpgroups: 2, stages: 4, down: 2, across: 1, splits: 4),
        HopperTile(rows: 256, columns: 128, warpgroups: 2, stages: 4, down: 1, across: 1, splits: 4),
    ]

    var name: String { "\(rows)x\(columns)x\(stages)_\(down)x\(across)x\(splits)" }

    /// Blocks of a cluster.
    var cluster: Int { down * across * splits }

    /// The warps that multiply, and the one that loads.
    var threads: Int { 128 * warpgroups + 32 }

    /// As hopper.cu lays it out: stages; barriers and the bias.
    var sharedBytes: Int { stages * (rows + columns) * 128 + 2048 }

    /// Blocks for a product: whole clusters.
    func count(_ rows: Int, _ outputs: Int) -> Int {
        rows.dividedUp(by: self.rows * down) * outputs.dividedUp(by: columns * across) * down * across * splits
    }
}
