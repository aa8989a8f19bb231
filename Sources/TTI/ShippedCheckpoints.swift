internal import Glibc
internal import TTIFormats

/// The name of the checkpoint that ships for a mode.
package func nameOfShippedCheckpoint(for mode: GenerationMode) -> String {
    switch mode {
    case .parallel: "scenes-masked"
    case .autoregressive: "scenes-ar"
    case .diffusion: "scenes-diffusion"
    }
}

/// The folder of a checkpoint that ships, such as `scenes-masked`; nil when it is in none of the places looked at.
///
/// Looked at, in this order: the folder that `TTI_AR_CHECKPOINTS` names; a `Checkpoints` folder beside the executable or
/// beside any folder above it, which is where a build in the repository finds it; `Checkpoints` in the working directory;
/// `tti-ar/Checkpoints` in the user's and the system's data folders (`XDG_DATA_HOME`, `XDG_DATA_DIRS`).
package func findShippedCheckpoint(named name: String) -> String? {
    // A name is one component: never a path that leads elsewhere.
    guard !name.isEmpty, !name.hasPrefix("."), !name.utf8.contains(UInt8(ascii: "/")) else { return nil }
    for folder in shippedCheckpointFolders() {
        let candidate = folder + "/" + name
        if isFile(candidate + "/model_index.json") { return candidate }
    }
    return nil
}

/// Names of the shipped checkpoints that can be found, in alphabetical order.
package func shippedCheckpointNames() -> [String] {
    var names: Set<String> = []
    for folder in shippedCheckpointFolders() {
        for name in folderContents(folder) where isFile(folder + "/" + name + "/model_index.json") {
            names.insert(name)
        }
    }
    return names.sorted()
}

/// Where checkpoints that ship may lie, the first place first. Not all of them exist.
func shippedCheckpointFolders() -> [String] {
    var folders: [String] = []
    if let named = environmentVariable("TTI_AR_CHECKPOINTS") { folders.append(named) }
    var folder = executablePath()
    while let slash = folder.utf8.lastIndex(of: UInt8(ascii: "/")) {
        folder = String(folder[..<slash])
        folders.append(folder + "/Checkpoints")
    }
    folders.append("Checkpoints")
    // Values that are not absolute are invalid, says the XDG specification, and ignored.
    var roots: [String] = []
    if let home = environmentVariable("XDG_DATA_HOME"), home.hasPrefix("/") {
        roots.append(home)
    } else if let home = environmentVariable("HOME"), home.hasPrefix("/") {
        roots.append(home + "/.local/share")
    }
    let system = environmentVariable("XDG_DATA_DIRS") ?? "/usr/local/share:/usr/share"
    roots += system.split(separator: ":").map(String.init).filter { $0.hasPrefix("/") }
    return folders + roots.map { $0 + "/tti-ar/Checkpoints" }
}

/// The program that is running, links resolved; empty when the system does not say.
package func executablePath() -> String {
    var bytes = [CChar](repeating: 0, count: 4096)
    let count = unsafe readlink("/proc/self/exe", &bytes, bytes.count)
    return count > 0 ? String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
}

private func isFile(_ path: String) -> Bool { FileStatus(path: path)?.kind == .file }
