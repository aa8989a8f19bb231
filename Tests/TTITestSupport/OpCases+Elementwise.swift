internal import TTICore

extension OpCase {
    @inline(never) private static func simple(
        _ operation: String, _ detail: String, batch: Int, isBatchable: Bool = true, purpose: Purpose = .check,
        _ build: @escaping @Sendable (OpInputs) throws -> () -> Tensor
    ) -> OpCase {
        OpCase(operation, detail, purpose: purpose, batch: batch, isBatchable: isBatchable) { inputs in
            let body = try build(inputs)
            return { [body()] }
        }
    }

    @inline(never) private static func activate(_ activation: Activation, _ batch: Int, _ width: Int) -> OpCase {
        simple("activate", "\(activation) \(batch)×\(width)", batch: batch) { inputs in
            // Up to ±21: where exponentials overflow if they are done carelessly.
            let x = inputs.batched([width], scale: 6)
            return { inputs.backend.activate(x, activation) }
        }
    }

    @inline(never) private static func gate(
        _ activation: Activation, _ order: GateOrder, _ batch: Int, _ tokens: Int, _ width: Int,
        purpose: Purpose = .check
    ) -> OpCase {
        simple("gate", "\(activation) \(order) \(batch)×\(tokens)×2×\(width)", batch: batch, purpose: purpose) {
            inputs in
            let x = inputs.batched([tokens, 2 * width])
            return { inputs.backend.gate(x, activation, order) }
        }
    }

    @inline(never) private static func modulate(
        _ batch: Int, by modulationBatch: Int? = nil, _ tokens: Int, _ width: Int, purpose: Purpose = .check
    ) -> OpCase {
        let isBatchable = modulationBatch == nil || modulationBatch == 1
        let shared = modulationBatch.map { " by \($0)" } ?? ""
        return OpCase(
            "modulate", "\(batch)×\(tokens)×\(width)\(shared)", purpose: purpose, batch: batch, isBatchable: isBatchable
        ) { inputs in
            let x = inputs.batched([tokens, width])
            let modulation = modulationBatch.map { inputs.shared([$0, 2 * width]) } ?? inputs.batched([2 * width])
            return { [inputs.backend.modulate(x, modulation)] }
        }
    }

    @inline(never) private static func concatenate(_ batch: Int, _ shapes: [Shape], axis: Int) -> OpCase {
        simple("concatenate", "\(batch)× \(shapes) along \(axis)", batch: batch) { inputs in
            let parts = shapes.map { inputs.batched($0) }
            return { inputs.backend.concatenate(parts, axis: axis) }
        }
    }

    static let elementwiseCases: [OpCase] =
        Activation.allCases.map { activate($0, 3, 1001) } + [
            activate(.silu, 1, 1),
            simple("activate", "silu far out", batch: 1, isBatchable: false) { inputs in
                let x = inputs.activations([-200, -104, -90, -88, -1e-30, 0, 1e-30, 88, 90, 104, 200, -0.0], [1, 12])
                return { inputs.backend.activate(x, .silu) }
            },
            simple("activate", "geluTanh far out", batch: 1, isBatchable: false) { inputs in
                let x = inputs.activations([-200, -60, -12, -1e-30, 0, 1e-30, 12, 60, 200], [1, 9])
                return { inputs.backend.activate(x, .geluTanh) }
            },
            simple("add", "same shape 3×5×7", batch: 3) { inputs in
                let (x, y) = (inputs.batched([5, 7]), inputs.batched([5, 7]))
                return { inputs.backend.add(x, y) }
            },
            simple("add", "rows 2×3×33 + 33", batch: 2) { inputs in
                let (x, y) = (inputs.batched([3, 33]), try inputs.constant([33]))
                return { inputs.backend.add(x, y) }
            },
            simple("add", "positions 3×4×17 + 4×17", batch: 3) { inputs in
                let (x, y) = (inputs.batched([4, 17]), try inputs.constant([4, 17]))
                return { inputs.backend.add(x, y) }
            },
            simple("add", "one number 1×9 + 1", batch: 1) { inputs in
                let (x, y) = (inputs.batched([9]), try inputs.constant([1]))
                return { inputs.backend.add(x, y) }
            },
            simple("add", "2×256×768", batch: 2, purpose: .checkAndMeasure) { inputs in
                let (x, y) = (inputs.batched([256, 768]), inputs.batched([256, 768]))
                return { inputs.backend.add(x, y) }
            },
            gate(.silu, .valueFirst, 3, 2, 7),
            gate(.gelu, .valueFirst, 1, 9, 33),
            gate(.geluTanh, .gateFirst, 2, 3, 16),
            gate(.relu, .gateFirst, 1, 1, 1),
            gate(.gelu, .gateFirst, 2, 1, 2730),
            gate(.silu, .gateFirst, 2, 256, 2816, purpose: .measure),
            modulate(3, 1, 5),
            modulate(2, 9, 33),
            modulate(4, by: 2, 3, 16),
            modulate(3, by: 1, 2, 17),
            modulate(2, 256, 768, purpose: .checkAndMeasure),
            concatenate(2, [[3], [5], [1]], axis: 1),
            concatenate(3, [[2, 7], [4, 7]], axis: 1),
            concatenate(1, [[2, 3, 5], [2, 3, 9]], axis: -1),
            concatenate(2, [[4, 4]], axis: 2),
            OpCase("concatenate", "batches 2×3 and 1×3", isBatchable: false) { inputs in
                let parts = [inputs.shared([2, 3]), inputs.shared([1, 3])]
                return { [inputs.backend.concatenate(parts, axis: 0)] }
            },
            simple("concatenate", "a pair 2× [3, 5] and [3, 9] along -1", batch: 2) { inputs in
                let (x, y) = (inputs.batched([3, 5]), inputs.batched([3, 9]))
                return { inputs.backend.concatenate(x, y, axis: -1) }
            },
            simple("concatenate", "int32", batch: 2) { inputs in
                let parts = [2, 3].map { count in inputs.batchedIntegers([count]) { 100 * $0 + 10 * count + $1 } }
                return { inputs.backend.concatenate(parts, axis: 1) }
            },
            simple("gather", "3×4 of 3×5×7", batch: 3) { inputs in
                let x = inputs.batched([5, 7])
                let places = inputs.batchedIntegers([4]) { [4, -1, 0, $0][$1] }
                return { inputs.backend.gather(x, places) }
            },
            OpCase("gather", "4×2 of 2×3×16", batch: 4, isBatchable: false) { inputs in
                let x = inputs.shared([2, 3, 16])
                let places = inputs.batchedIntegers([2]) { $1 == 0 ? $0 % 3 : -1 }
                return { [inputs.backend.gather(x, places)] }
            },
            simple("gather", "3×3 of one for all", batch: 3) { inputs in
                let x = inputs.shared([1, 6, 33])
                let places = inputs.batchedIntegers([3]) { ($0 + 2 * $1) % 6 }
                return { inputs.backend.gather(x, places) }
            },
            simple("depthToSpace", "1×1×1×4", batch: 1) { inputs in
                let x = inputs.batched([1, 1, 4])
                return { inputs.backend.depthToSpace(x) }
            },
            simple("depthToSpace", "3×3×2×4·5", batch: 3) { inputs in
                let x = inputs.batched([3, 2, 20])
                return { inputs.backend.depthToSpace(x) }
            },
            simple("increment", "3 counters", batch: 3) { inputs in
                let counter = inputs.batchedIntegers([1]) { entry, _ in 5 * entry - 1 }
                return {
                    inputs.backend.increment(in: counter)
                    return counter
                }
            },
        ]
}
