internal import TTICore

extension CUDABackend {
    /// Operations only put work on the stream.
    package var issuesAhead: Bool { true }
}
