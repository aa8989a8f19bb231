/// The number with exactly so many digits after the point, rounded half away from zero: `decimals(2.345, 1)` is "2.3".
///
/// "nan" and "inf" for what is no number; beyond 2^53 units of the last place the shortest text that Swift has.
package func decimals(_ value: Double, _ places: Int) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    var scale = 1.0
    for _ in 0..<max(0, places) { scale *= 10 }
    let scaled = (value.magnitude * scale).rounded()
    guard scaled < 0x1p53 else { return value.description }
    let digits = String(UInt64(scaled))
    let sign = value < 0 && scaled > 0 ? "-" : ""
    if places <= 0 { return sign + digits }
    let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
    return sign + padded.dropLast(places) + "." + padded.suffix(places)
}

/// A count of bytes in binary units: "812 bytes", "9.4 GiB".
package func byteText(_ count: Int) -> String {
    let magnitude = Double(count.magnitude)
    if magnitude < 1024 { return count == 1 ? "1 byte" : "\(count) bytes" }
    var scaled = magnitude
    for unit in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        scaled /= 1024
        // 1023.95 would round to 1024.0 of this unit.
        if scaled < 1023.95 { return (count < 0 ? "-" : "") + decimals(scaled, 1) + " " + unit }
    }
    return (count < 0 ? "-" : "") + decimals(scaled / 1024, 1) + " EiB"
}

/// A large count in short: "350.6 M", "3.0 G" (decimal units).
package func countText(_ count: Int) -> String {
    let magnitude = Double(count.magnitude)
    let sign = count < 0 ? "-" : ""
    for (scale, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] where magnitude >= scale * 0.99995 {
        return sign + decimals(magnitude / scale, 1) + " " + unit
    }
    return String(count)
}

/// A time: "850 µs", "12.3 ms", "4.56 s", "2 min 5 s", "1 h 2 min".
package func durationText(seconds: Double) -> String {
    guard seconds.isFinite else { return decimals(seconds, 0) + " s" }
    let magnitude = seconds.magnitude
    if magnitude < 0.9995e-3 { return decimals(seconds * 1e6, 0) + " µs" }
    if magnitude < 0.09995 { return decimals(seconds * 1e3, 1) + " ms" }
    if magnitude < 0.9995 { return decimals(seconds * 1e3, 0) + " ms" }
    if magnitude < 9.995 { return decimals(seconds, 2) + " s" }
    if magnitude < 59.95 { return decimals(seconds, 1) + " s" }
    guard magnitude < 1e9 else { return decimals(seconds, 0) + " s" }
    let whole = Int(magnitude.rounded())
    let sign = seconds < 0 ? "-" : ""
    if whole < 3600 { return "\(sign)\(whole / 60) min \(whole % 60) s" }
    return "\(sign)\(whole / 3600) h \(whole % 3600 / 60) min"
}

extension Duration {
    /// As a number of seconds.
    package var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// The text filled up with spaces on the left.
package func padLeft(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

/// The text filled up with spaces on the right.
package func padRight(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
}
