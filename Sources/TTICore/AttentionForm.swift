/// How a backend computes `attention`.
package enum AttentionForm: String, Sendable, CaseIterable {
    /// In one pass; scores never reach memory.
    case flash
    /// As the formula reads: a product that writes all scores, a softmax over them, a product that reads them again. It is
    /// there to be measured against.
    case eager

    /// Fewer queries than these are done in one way only: what they write of scores stays in caches.
    package static let fewestEagerQueries = 4
}
