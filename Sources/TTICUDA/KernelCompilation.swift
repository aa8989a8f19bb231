package import TTICore

/// Every kernel file compiled for a kind of GPU that need not be here.
package enum KernelCompilation {
    /// - Parameters:
    ///   - capability: 90 for compute capability 9.0.
    ///   - activations: float32 or bfloat16.
    /// - Returns: the files and the bytes of machine code.
    /// - Throws: `.unavailable`: no NVRTC, or what it said of a file that does not compile.
    package static func run(capability: Int, activations: DType) throws(DeviceError) -> (files: Int, bytes: Int) {
        let compiler = KernelCompiler(
            capability: capability, activations: activations, cache: KernelCache(folder: nil))
        let images = try compiler.images()
        return (images.files.count, images.files.reduce(0) { $0 + $1.image.count })
    }
}
