/// A decimal number as serde_json reads it, which `tokenizers` reads its files with: the digits as an integer, times or
/// divided by a power of ten, in two roundings where Swift does one.
///
/// The last bit of a score decides between two segmentations that are equally good, so it has to be that library's. Digits
/// beyond what 64 bits hold are dropped, as there. Nil when the number is too large for a Double.
///
/// - Parameter text: a JSON number.
func approximateDouble(_ text: String) -> Double? {
    var significand: UInt64 = 0
    var exponent = 0
    var isFraction = false
    var isFull = false
    var characters = text.utf8.makeIterator()
    var isNegative = false
    var next = characters.next()
    if next == UInt8(ascii: "-") {
        isNegative = true
        next = characters.next()
    }
    while let character = next {
        if character == UInt8(ascii: ".") {
            isFraction = true
        } else if character >= UInt8(ascii: "0"), character <= UInt8(ascii: "9") {
            let digit = UInt64(character - UInt8(ascii: "0"))
            let (tens, overflows) = significand.multipliedReportingOverflow(by: 10)
            let (sum, carries) = tens.addingReportingOverflow(digit)
            if isFull || overflows || carries {
                isFull = true
                if !isFraction { exponent += 1 }
            } else {
                significand = sum
                if isFraction { exponent -= 1 }
            }
        } else {
            break
        }
        next = characters.next()
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
        var isNegative = false
        var value = 0
        while let character = characters.next() {
            if character == UInt8(ascii: "-") { isNegative = true }
            if character >= UInt8(ascii: "0"), character <= UInt8(ascii: "9") {
                value = min(1_000_000, value * 10 + Int(character - UInt8(ascii: "0")))
            }
        }
        exponent += isNegative ? -value : value
    }
    var result = Double(significand)
    while exponent < -308, result != 0 {
        result /= 1e308
        exponent += 308
    }
    if result != 0 {
        guard exponent <= 308, let power = Double("1e\(abs(exponent))") else { return nil }
        if exponent >= 0 { result *= power } else { result /= power }
    }
    guard result.isFinite else { return nil }
    return isNegative ? -result : result
}
