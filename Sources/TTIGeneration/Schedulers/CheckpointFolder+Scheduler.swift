package import TTIFormats

extension CheckpointFolder {
    /// scheduler_config.json of this folder.
    ///
    /// Python writes a number that is not finite, the default of DPM-Solver's `lambda_min_clipped`, in a way that JSON does
    /// not know; here it reads as null.
    package func schedulerConfiguration() throws(FormatError) -> Configuration {
        let name = "scheduler_config.json"
        var bytes = try read(name)
        let (infinity, null) = (Array(": -Infinity".utf8), Array(": null     ".utf8))
        for start in bytes.indices where bytes[start...].starts(with: infinity) {
            bytes.replaceSubrange(start..<start + infinity.count, with: null)
        }
        return try Configuration(JSON(bytes, file: joinPath(path, name)), file: joinPath(path, name))
    }
}
