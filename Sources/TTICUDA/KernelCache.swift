internal import Glibc

/// Compiled kernels on the disk: a file each, named after a hash of everything that went into it.
///
/// Files appear whole (written beside and renamed), so that processes may fill the cache at once. A file that is damaged,
/// or of another key with the same hash, counts as missing; a folder that cannot be written to means that kernels are
/// compiled every time.
struct KernelCache: Sendable {
    /// nil: nothing is kept.
    let folder: String?

    /// Where programs keep such things: TTI_CUDA_CACHE (empty for none), $XDG_CACHE_HOME/tti-ar, ~/.cache/tti-ar.
    static var standard: KernelCache {
        func variable(_ name: String) -> String? { unsafe getenv(name).map { unsafe String(cString: $0) } }
        if let own = variable("TTI_CUDA_CACHE") { return KernelCache(folder: own.isEmpty ? nil : own) }
        if let cache = variable("XDG_CACHE_HOME"), cache.hasPrefix("/") {
            return KernelCache(folder: cache + "/tti-ar")
        }
        if let home = variable("HOME"), home.hasPrefix("/") { return KernelCache(folder: home + "/.cache/tti-ar") }
        return KernelCache(folder: nil)
    }

    private static let magic = Array("tti-ar kernels 1\n".utf8)

    /// What was kept for a key; nil when there is nothing whole.
    func image(for key: String) -> [UInt8]? {
        guard let path = path(for: key), let bytes = KernelCache.read(path) else { return nil }
        // magic, hash of the image, then the key and the image with their lengths before them
        let header = KernelCache.magic.count
        guard bytes.count > header + 24, Array(bytes[0..<header]) == KernelCache.magic else { return nil }
        func number(_ place: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(bytes[place + $1]) << (8 * UInt64($1)) } }
        let (hash, keyCount, imageCount) = (number(header), number(header + 8), number(header + 16))
        let start = header + 24
        guard keyCount < 1 << 30, imageCount < 1 << 30, bytes.count == start + Int(keyCount) + Int(imageCount) else {
            return nil
        }
        let image = Array(bytes[(start + Int(keyCount))...])
        guard bytes[start..<start + Int(keyCount)].elementsEqual(key.utf8), KernelCache.hash(image, 0) == hash else {
            return nil
        }
        return image
    }

    /// Keeps an image, if the disk lets us.
    func keep(_ image: [UInt8], for key: String) {
        guard let folder, let path = path(for: key) else { return }
        KernelCache.makeFolders(folder)
        func bytes(_ number: UInt64) -> [UInt8] {
            (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) }
        }
        let content =
            KernelCache.magic + bytes(KernelCache.hash(image, 0)) + bytes(UInt64(key.utf8.count))
            + bytes(UInt64(image.count)) + Array(key.utf8) + image
        var name = Array((path + ".XXXXXX").utf8CString)
        let descriptor = unsafe mkstemp(&name)
        guard descriptor >= 0 else { return }
        var written = 0
        while written < content.count {
            let count = unsafe content.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress! + written, content.count - written)
            }
            if count <= 0 { break }
            written += count
        }
        let closed = close(descriptor) == 0
        let isThere = unsafe closed && written == content.count && rename(name, path) == 0
        if !isThere { unsafe _ = unlink(name) }
    }

    private func path(for key: String) -> String? {
        let bytes = Array(key.utf8)
        func hex(_ number: UInt64) -> String {
            let digits = String(number, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        return folder.map { "\($0)/\(hex(KernelCache.hash(bytes, 1)))\(hex(KernelCache.hash(bytes, 2))).kernels" }
    }

    /// FNV-1a.
    static func hash(_ bytes: [UInt8], _ seed: UInt64) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325 ^ (seed &* 0x9e37_79b9_7f4a_7c15)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    private static func read(_ path: String) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        guard size > 0, size < 1 << 30, lseek(descriptor, 0, SEEK_SET) == 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        var filled = 0
        while filled < size {
            let count = unsafe bytes.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress! + filled, size - filled)
            }
            if count <= 0 { return nil }
            filled += count
        }
        return bytes
    }

    private static func makeFolders(_ path: String) {
        var partial = ""
        for part in path.split(separator: "/") {
            partial += "/" + part
            unsafe _ = mkdir(partial, 0o755)
        }
    }
}
