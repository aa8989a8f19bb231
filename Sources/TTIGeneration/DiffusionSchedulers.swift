package import TTIFormats

/// A checkpoint's scheduler, read as each of the sampling methods.
package struct DiffusionSchedulers: Sendable {
    private var configurations: [SchedulerKind: SchedulerConfiguration] = [:]
    /// What the file does not allow, and why.
    private var reasons: [SchedulerKind: String] = [:]

    /// - Throws: when the file cannot be read as its own class.
    package init(_ fields: Configuration) throws(FormatError) {
        let own = try SchedulerConfiguration(fields)
        for kind in SchedulerKind.allCases {
            do throws(FormatError) {
                configurations[kind] = kind == own.kind ? own : try SchedulerConfiguration(fields, as: kind)
            } catch { reasons[kind] = error.what }
        }
    }

    /// What a batch does to its latents.
    package func plan(_ batch: ImageBatch) throws(SettingsError) -> DiffusionPlan {
        let kind = batch.settings.scheduler
        guard let configuration = configurations[kind] else {
            throw SettingsError(
                "usage.scheduler",
                "this checkpoint cannot be sampled by \(kind.rawValue): \(reasons[kind] ?? "it has no scheduler")")
        }
        return try configuration.plan(steps: batch.settings.steps, from: batch.firstStep)
    }
}
