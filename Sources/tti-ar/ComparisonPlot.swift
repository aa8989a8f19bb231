internal import TTI
internal import TTIAccounting
internal import TTICore
internal import TTIFormats

/// Three panels: every stage on the roofline, time by class of operators, sequence length over a generation.
struct ComparisonPlot {
    private let report: Comparison.Report
    private var svg: SVG

    private static let colours = ["#1b6ca8", "#d1495b", "#2e8b57", "#8e5ea2", "#c77c1e", "#4d4d4d"]
    private static let classColours: [OperatorClass: String] = [
        .linear: "#4878a8", .convolution: "#e08a3c", .spatialAttention: "#c0392b", .temporalAttention: "#8e2a5b",
        .crossAttention: "#e2786f", .decodeAttention: "#f2b8a8", .norm: "#6aa56a", .elementwise: "#a8cf8f",
        .sampling: "#9a86b8", .other: "#b5b5b5",
    ]

    init(_ report: Comparison.Report) {
        self.report = report
        let bars = report.models.reduce(0) { $0 + $1.stages.count }
        svg = SVG(width: 960, height: 960 + Double(26 * bars))
        svg.label("tti-ar compare", 40, 30, size: 17, isBold: true)
        // A GPU's would say nothing.
        let threads =
            report.backend == "cuda" ? "" : ", \(report.threads) thread\(report.threads == 1 ? "" : "s")"
        svg.label(
            "\(report.device)\(threads), \(report.clock.rawValue) time, \(report.attention.rawValue) attention; one image with guidance",
            40, 50, fill: "#666666")
        let below = drawRoofline(top: 85)
        let lower = drawBars(top: below + 60)
        drawLengths(top: lower + 60)
    }

    var text: String { svg.text }

    private func colour(_ model: Int) -> String { Self.colours[model % Self.colours.count] }

    // MARK: Roofline

    private mutating func drawRoofline(top: Double) -> Double {
        let (left, right, bottom) = (90.0, 690.0, top + 380)
        svg.label(
            "Roofline: arithmetic reached against FLOP for each byte from memory", 40, top - 8, size: 14, isBold: true)
        let stages = report.models.flatMap { model in model.stages.map { ($0, model.precision) } }
        let rates = stages.map { StageRates($0.0, $0.1, report.ceilings).teraFLOPs * 1000 }
        let peaks = [report.ceilings.teraFLOPs * 1000] + (report.ceilings.tileTeraFLOPs.map { [$0 * 1000] } ?? [])
        let x = LogAxis(
            stages.map(\.0.cost.intensity) + peaks.map { $0 / report.ceilings.readGBs }, from: left, to: right)
        let y = LogAxis(rates + peaks, from: bottom, to: top + 12)
        for tick in x.ticks {
            svg.line(x.place(tick.value), bottom, x.place(tick.value), top + 12)
            svg.label(tick.text, x.place(tick.value), bottom + 18, anchor: .middle, fill: "#666666")
        }
        for tick in y.ticks {
            svg.line(left, y.place(tick.value), right, y.place(tick.value))
            svg.label(tick.text, left - 8, y.place(tick.value) + 4, anchor: .end, fill: "#666666")
        }
        svg.label("FLOP for each byte", (left + right) / 2, bottom + 38, anchor: .middle)
        svg.label("GFLOP/s", 40, (top + bottom) / 2, anchor: .middle, angle: -90)
        drawRoofs(peaks, x, y, left: left, right: right, bottom: bottom)
        // Points by number, so that neighbours stay legible; the list beside says which is which.
        var row = top + 24
        var number = 0
        for (index, model) in report.models.enumerated() {
            svg.label("\(model.name) (\(model.precision.rawValue))", right + 24, row, fill: colour(index), isBold: true)
            row += 18
            for stage in model.stages {
                number += 1
                let rate = StageRates(stage, model.precision, report.ceilings).teraFLOPs * 1000
                let (px, py) = (x.place(max(stage.cost.intensity, 1e-9)), y.place(max(rate, 1e-9)))
                svg.circle(px, py, radius: 9, fill: colour(index))
                svg.label(String(number), px, py + 4, anchor: .middle, size: 11, fill: "#ffffff", isBold: true)
                svg.label(
                    "\(number)  \(stage.cost.name): \(report.regime(stage, model.precision).rawValue)", right + 24, row)
                row += 17
            }
            row += 10
        }
        return bottom + 40
    }

    private mutating func drawRoofs(
        _ peaks: [Double], _ x: LogAxis, _ y: LogAxis, left: Double, right: Double, bottom: Double
    ) {
        let bandwidth = report.ceilings.readGBs
        let highest = peaks.max() ?? 1
        let (lowX, highX) = (power(x.low), power(x.high))
        // The slope from the lower left, cut where it enters the panel.
        let first = max(lowX, power(y.low) / bandwidth)
        svg.polyline(
            [(x.place(first), y.place(first * bandwidth)), (x.place(highest / bandwidth), y.place(highest))],
            stroke: "#333333", width: 2)
        for (index, peak) in peaks.enumerated() {
            let ridge = peak / bandwidth
            svg.polyline(
                [(x.place(ridge), y.place(peak)), (x.place(highX), y.place(peak))], stroke: "#333333", width: 2)
            svg.line(x.place(ridge), y.place(peak), x.place(ridge), bottom, stroke: "#999999", dashes: "4 4")
            let name = index == 0 ? "f32" : "bf16 tiles"
            svg.label(
                "\(name) \(decimals(peak, 0)) GFLOP/s, ridge \(decimals(ridge, 1))", right - 6, y.place(peak) - 6,
                anchor: .end, size: 11)
        }
        let middle = (first * highest / bandwidth).squareRoot()
        svg.label(
            "\(decimals(bandwidth, 1)) GB/s", x.place(middle) - 10, y.place(middle * bandwidth) - 10, anchor: .end,
            size: 11)
    }

    private func power(_ exponent: Double) -> Double {
        var value = 1.0
        for _ in 0..<Int(abs(exponent)) { value *= 10 }
        return exponent < 0 ? 1 / value : value
    }

    // MARK: Operator time

    private mutating func drawBars(top: Double) -> Double {
        let (left, right) = (250.0, 800.0)
        svg.label("Time by class of operators, in each stage", 40, top - 8, size: 14, isBold: true)
        let shown = OperatorClass.allCases.filter { kind in
            report.models.contains { $0.stages.contains { ($0.secondsByClass[kind] ?? 0) > 0 } }
        }
        var y = top + 12
        for (index, model) in report.models.enumerated() {
            for stage in model.stages {
                svg.label("\(model.name), \(stage.cost.name)", left - 10, y + 14, anchor: .end, fill: colour(index))
                var x = left
                for kind in shown {
                    let share = (stage.secondsByClass[kind] ?? 0) / max(stage.seconds, 1e-12)
                    let width = share * (right - left)
                    guard width > 0 else { continue }
                    svg.rectangle(x, y, width, 19, fill: Self.classColours[kind] ?? "#000000")
                    if width > 28 {
                        svg.label(
                            decimals(share * 100, 0), x + width / 2, y + 14, anchor: .middle, size: 11,
                            fill: [.decodeAttention, .elementwise].contains(kind) ? "#333333" : "#ffffff")
                    }
                    x += width
                }
                let passes = stage.cost.count == 1 ? "" : " (\(stage.cost.count)×)"
                svg.label(durationText(seconds: stage.seconds) + passes, right + 10, y + 14, fill: "#666666")
                y += 26
            }
        }
        var x = left
        y += 10
        for kind in shown {
            let width = 24 + 6.6 * Double(kind.rawValue.count) + 14
            if x + width > 940 { (x, y) = (left, y + 20) }
            svg.rectangle(x, y, 12, 12, fill: Self.classColours[kind] ?? "#000000")
            svg.label(kind.rawValue, x + 18, y + 10.5)
            x += width
        }
        return y + 20
    }

    // MARK: Sequence lengths

    private mutating func drawLengths(top: Double) {
        let (left, right, bottom) = (90.0, 690.0, top + 200)
        svg.label(
            "Sequence length at each call of self-attention, over the smallest pattern that repeats", 40, top - 8,
            size: 14, isBold: true)
        let loops = report.models.enumerated().compactMap { index, model in
            model.stages.first { $0.cost.count > 1 && !$0.cost.lengths.isEmpty }.map { (index, model, $0.cost) }
        }
        let y = LogAxis(loops.flatMap { $0.2.lengths.map(Double.init) } + [1], from: bottom, to: top + 12)
        for tick in y.ticks {
            svg.line(left, y.place(tick.value), right, y.place(tick.value))
            svg.label(tick.text, left - 8, y.place(tick.value) + 4, anchor: .end, fill: "#666666")
        }
        svg.label("keys", 40, (top + bottom) / 2, anchor: .middle, angle: -90)
        svg.label("first call", left, bottom + 18, fill: "#666666")
        svg.label("last call", right, bottom + 18, anchor: .end, fill: "#666666")
        var row = top + 24
        for (order, (index, model, cost)) in loops.enumerated() {
            let lengths = shortened(cost.lengths, to: 256)
            var points: [(x: Double, y: Double)] = []
            for (call, length) in lengths.enumerated() {
                let place = y.place(Double(length))
                // A step for every call; lines that lie upon one another get thinner.
                points.append((left + (right - left) * Double(call) / Double(lengths.count), place))
                points.append((left + (right - left) * Double(call + 1) / Double(lengths.count), place))
            }
            svg.polyline(points, stroke: colour(index), width: max(2, 7 - 2.5 * Double(order)))
            let pattern =
                cost.lengths.count == cost.count && cost.name == "token"
                ? "all \(cost.count) tokens" : "\(cost.lengths.count) calls of a step, \(cost.count)×"
            svg.label(model.name, right + 24, row, fill: colour(index), isBold: true)
            svg.label(pattern, right + 24, row + 16)
            row += 42
        }
    }
}
