internal import CTTICUDA
internal import Glibc
internal import TTICore

/// Turns the embedded sources into machine code for a device, with what is already on the disk.
struct KernelCompiler {
    let capability: Int
    let activations: DType
    var cache = KernelCache.standard

    /// Every file's machine code.
    struct Images {
        var files: [(file: String, image: [UInt8])]
        var compiledCount: Int
    }

    /// What the compiler is told.
    var options: [String] {
        // Hopper's and Blackwell's own instructions are in targets of their own.
        let target = "sm_\(capability)\(capability == 90 || capability >= 100 ? "a" : "")"
        return ["--gpu-architecture=\(target)", "--std=c++17", "-default-device"]
            + (activations == .bfloat16 ? ["-DTTI_BF16"] : []) + KernelCompiler.experiments
    }

    /// - Throws: `.unavailable`: no NVRTC and something is not in the cache, or a file does not compile.
    func images() throws(DeviceError) -> Images {
        let sources = KernelCompiler.sources
        let keys = sources.map(key)
        var images = keys.map { cache.image(for: $0) }
        let missing = images.indices.filter { images[$0] == nil }
        let compiled = Parallel.map(missing) { compile(sources[$0]) }
        for (index, result) in zip(missing, compiled) {
            let image = try result.get()
            cache.keep(image, for: keys[index])
            images[index] = image
        }
        return Images(
            files: zip(sources, images).map { ($0.name, $1 ?? []) }, compiledCount: missing.count)
    }

    /// Options of an experiment with kernels: TTI_CUDA_OPTIONS="-DNAME -DOTHER".
    private static let experiments: [String] =
        unsafe getenv("TTI_CUDA_OPTIONS").map { unsafe String(cString: $0).split(separator: " ").map(String.init) }
        ?? []

    // MARK: One file

    struct Source: Sendable {
        let name, text: String
    }

    static let sources = (0..<Int(ctti_kernel_source_count)).map { unsafe source(ctti_kernel_sources_at($0)) }
    static let headers = (0..<Int(ctti_kernel_header_count)).map { unsafe source(ctti_kernel_headers_at($0)) }

    private static func source(_ source: ctti_source) -> Source {
        unsafe Source(name: String(cString: source.name), text: String(cString: source.text))
    }

    /// Everything that the machine code depends on.
    private func key(_ source: Source) -> String {
        var version: (major: Int32, minor: Int32) = (0, 0)
        if let compiler = unsafe ctti_find_compiler(nil) {
            unsafe _ = compiler.pointee.version(&version.major, &version.minor)
        }
        let texts = ([source] + KernelCompiler.headers).map { "\($0.name) \($0.text.utf8.count)\n\($0.text)" }
        return "nvrtc \(version.major).\(version.minor)\n" + options.joined(separator: " ") + "\n"
            + texts.joined(separator: "\n")
    }

    private func compile(_ source: Source) -> Result<[UInt8], DeviceError> {
        var search = ctti_search()
        guard let compiler = unsafe ctti_find_compiler(&search) else {
            return .failure(
                DeviceError(
                    .unavailable,
                    "kernels must be compiled and NVRTC was not found (\(text(search.text))); install nvidia-cuda-dev or `pip install nvidia-cuda-nvrtc`, or set TTI_CUDA_PATH to where libnvrtc is"
                ))
        }
        var program: ctti_handle?
        let headers = KernelCompiler.headers
        let created = unsafe CStrings(headers.map(\.text)).with { texts in
            unsafe CStrings(headers.map(\.name)).with { names in
                unsafe compiler.pointee.create(
                    &program, source.text, source.name, Int32(headers.count), texts, names)
            }
        }
        guard created == 0 else {
            return .failure(DeviceError(.unavailable, "NVRTC refused \(source.name) (\(created))"))
        }
        defer { unsafe _ = compiler.pointee.destroy(&program) }
        let options = self.options
        let status = unsafe CStrings(options).with {
            unsafe compiler.pointee.compile(program, Int32(options.count), $0)
        }
        var count = 0
        guard status == 0, unsafe compiler.pointee.image_size(program, &count) == 0, count > 0 else {
            unsafe _ = compiler.pointee.log_size(program, &count)
            var log = [CChar](repeating: 0, count: count + 1)
            unsafe _ = compiler.pointee.log(program, &log)
            let words = String(
                decoding: log.prefix { $0 != 0 }.prefix(4000).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return .failure(
                DeviceError(
                    .unavailable,
                    "\(source.name) does not compile for \(options[0]): \(words)"))
        }
        var image = [UInt8](repeating: 0, count: count)
        let taken = unsafe image.withUnsafeMutableBytes {
            unsafe compiler.pointee.image(program, $0.baseAddress?.assumingMemoryBound(to: CChar.self))
        }
        return taken == 0
            ? .success(image) : .failure(DeviceError(.unavailable, "NVRTC gave no code for \(source.name)"))
    }
}

/// Strings as a C array of C strings.
private struct CStrings {
    let strings: [String]
    init(_ strings: [String]) { self.strings = strings }

    func with<R>(_ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> R) -> R {
        let copies = unsafe strings.map { unsafe strdup($0) }
        defer { for index in unsafe copies.indices { unsafe free(copies[index]) } }
        return unsafe copies.map { unsafe UnsafePointer($0) }.withUnsafeBufferPointer { unsafe body($0.baseAddress) }
    }
}

/// Work of seconds, each piece on a thread of its own.
enum Parallel {
    /// The results of `body`, in order.
    static func map<T: Sendable, R: Sendable>(_ items: [T], _ body: @escaping @Sendable (T) -> R) -> [R] {
        if items.count < 2 { return items.map(body) }
        let results = Collected<R>(count: items.count)
        var threads: [pthread_t] = []
        for (index, item) in items.enumerated() {
            let work = Work { results.set(index, body(item)) }
            var thread = pthread_t()
            let raw = unsafe Unmanaged.passRetained(work).toOpaque()
            let status = unsafe pthread_create(
                &thread, nil,
                { raw in
                    guard let raw = unsafe raw else { return nil }
                    unsafe Unmanaged<Work>.fromOpaque(raw).takeRetainedValue().body()
                    return nil
                }, raw)
            if status == 0 {
                threads.append(thread)
            } else {
                unsafe Unmanaged<Work>.fromOpaque(raw).takeRetainedValue().body()
            }
        }
        for thread in threads { _ = pthread_join(thread, nil) }
        return results.all
    }

    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
