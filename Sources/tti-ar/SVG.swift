internal import Glibc
internal import TTIFormats

/// A drawing as SVG text: shapes with absolute coordinates, in pixels from the top left.
struct SVG {
    let width: Double
    let height: Double
    private var body = ""

    enum Anchor: String { case start, middle, end }

    init(width: Double, height: Double) { (self.width, self.height) = (width, height) }

    var text: String {
        """
        <svg xmlns="http://www.w3.org/2000/svg" width="\(number(width))" height="\(number(height))" viewBox="0 0 \(number(width)) \
        \(number(height))" font-family="Helvetica, Arial, sans-serif" font-size="12">
        <rect width="100%" height="100%" fill="#ffffff"/>

        """ + body + "</svg>\n"
    }

    mutating func rectangle(_ x: Double, _ y: Double, _ width: Double, _ height: Double, fill: String) {
        body +=
            "<rect x=\"\(number(x))\" y=\"\(number(y))\" width=\"\(number(width))\" height=\"\(number(height))\" fill=\"\(fill)\"/>\n"
    }

    mutating func line(
        _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, stroke: String = "#d9d9d9", width: Double = 1,
        dashes: String? = nil
    ) {
        polyline([(x1, y1), (x2, y2)], stroke: stroke, width: width, dashes: dashes)
    }

    mutating func polyline(
        _ points: [(x: Double, y: Double)], stroke: String, width: Double = 1.5, dashes: String? = nil
    ) {
        let list = points.map { number($0.x) + "," + number($0.y) }.joined(separator: " ")
        let dash = dashes.map { " stroke-dasharray=\"\($0)\"" } ?? ""
        body +=
            "<polyline points=\"\(list)\" fill=\"none\" stroke=\"\(stroke)\" stroke-width=\"\(number(width))\"\(dash)/>\n"
    }

    mutating func circle(_ x: Double, _ y: Double, radius: Double, fill: String) {
        body +=
            "<circle cx=\"\(number(x))\" cy=\"\(number(y))\" r=\"\(number(radius))\" fill=\"\(fill)\" stroke=\"#ffffff\"/>\n"
    }

    mutating func label(
        _ text: String, _ x: Double, _ y: Double, anchor: Anchor = .start, size: Double = 12, fill: String = "#333333",
        isBold: Bool = false, angle: Double = 0
    ) {
        let turn = angle == 0 ? "" : " transform=\"rotate(\(number(angle)) \(number(x)) \(number(y)))\""
        let weight = isBold ? " font-weight=\"bold\"" : ""
        let escaped = harmless(text).replacing("&", with: "&amp;").replacing("<", with: "&lt;")
        body +=
            "<text x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor.rawValue)\" font-size=\"\(number(size))\" "
            + "fill=\"\(fill)\"\(weight)\(turn)>\(escaped)</text>\n"
    }

    private func number(_ value: Double) -> String { shortest((value * 10).rounded() / 10) }
}

/// An axis whose ticks are powers of ten.
struct LogAxis {
    let low: Double
    let high: Double
    let start: Double
    let end: Double

    /// - Parameters:
    ///   - values: what has to fit, widened to whole powers of ten.
    ///   - start: where the low end lies, in pixels.
    init(_ values: [Double], from start: Double, to end: Double) {
        let logs = values.filter { $0 > 0 }.map { logarithm($0) }
        low = (logs.min() ?? 0).rounded(.down)
        high = max((logs.max() ?? 1).rounded(.up), low + 1)
        (self.start, self.end) = (start, end)
    }

    func place(_ value: Double) -> Double {
        start + (end - start) * (logarithm(value) - low) / (high - low)
    }

    /// Powers of ten and how they are written.
    var ticks: [(value: Double, text: String)] {
        (Int(low)...Int(high)).map { power in
            var value = 1.0
            for _ in 0..<abs(power) { value *= 10 }
            if power < 0 { value = 1 / value }
            return (
                value,
                power >= 0 && power < 4
                    ? shortest(value) : power < 0 ? decimals(value, -power) : "10" + superscript(power)
            )
        }
    }
}

/// Base 10.
func logarithm(_ value: Double) -> Double { Glibc.log10(value) }

private func superscript(_ power: Int) -> String {
    let digits = Array("⁰¹²³⁴⁵⁶⁷⁸⁹")
    return (power < 0 ? "⁻" : "") + String(abs(power)).map { String(digits[Int(String($0)) ?? 0]) }.joined()
}
