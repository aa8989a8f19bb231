/// Arithmetic on sizes that come from outside: never wraps, never traps.
package enum CheckedSize {
    /// The product of all factors, or nil when it does not fit, or when a factor is negative. Overflow counts even where
    /// a later factor is zero.
    package static func product(_ factors: some Sequence<Int>) -> Int? {
        var product = 1
        var hasZero = false
        for factor in factors {
            if factor < 0 { return nil }
            if factor == 0 {
                hasZero = true
                continue
            }
            let (next, overflow) = product.multipliedReportingOverflow(by: factor)
            if overflow { return nil }
            product = next
        }
        return hasZero ? 0 : product
    }

    /// The sum, or nil when it does not fit.
    package static func sum(_ a: Int, _ b: Int) -> Int? {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? nil : sum
    }

    /// `value` rounded up to a multiple of a power of two, or nil when that does not fit.
    package static func roundUp(_ value: Int, toMultipleOf alignment: Int) -> Int? {
        sum(value, alignment - 1).map { $0 & ~(alignment - 1) }
    }
}
