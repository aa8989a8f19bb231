internal import CTTICUDA
internal import Glibc
internal import TTICore

/// A compiled kernel.
@safe
struct CUDAKernel {
    let name: String
    let function: ctti_handle
    /// The most dynamic shared memory that it may be started with.
    let sharedBytes: Int
}

/// The kernels of one device and one type of activations, compiled by NVRTC or taken from the disk.
@safe
final class KernelLibrary {
    private let device: CUDADevice
    private var modules: [ctti_handle] = unsafe []
    private var kernels: [String: CUDAKernel] = [:]
    /// How many files were compiled now; the others came from the disk.
    private(set) var compiledCount = 0

    /// Compiles what is not in the cache, each file on a thread of its own.
    /// - Throws: `.unavailable`: no NVRTC and not everything in the cache, or a file that does not compile.
    init(_ device: CUDADevice, activations: DType) throws(DeviceError) {
        self.device = device
        let compiler = KernelCompiler(capability: device.capability, activations: activations)
        let images = try compiler.images()
        compiledCount = images.compiledCount
        device.makeCurrent()
        for (file, image) in images.files {
            var module: ctti_handle?
            let status = unsafe image.withUnsafeBytes {
                unsafe device.driver.pointee.load_module(&module, $0.baseAddress)
            }
            guard status == 0, let module = unsafe module else {
                throw device.error(status, "loading the kernels of \(file)")
            }
            unsafe modules.append(module)
        }
    }

    deinit {
        device.makeCurrent()
        for index in unsafe modules.indices { unsafe _ = device.driver.pointee.unload_module(modules[index]) }
    }

    /// A kernel by its name; traps when there is none.
    /// - Parameter shared: bytes of dynamic shared memory that it is to be started with.
    /// - Returns: nil when the device has failed.
    func kernel(_ name: String, shared: Int = 0) -> CUDAKernel? {
        guard let kernel = kernels[name] ?? find(name) else { return nil }
        if shared > kernel.sharedBytes {
            // 227 KB on Hopper, 163 KB on sm_80, 99 KB on sm_86.
            unsafe _ = device.driver.pointee.set_function_attribute(kernel.function, 8, Int32(shared))
            kernels[name] = unsafe CUDAKernel(name: name, function: kernel.function, sharedBytes: shared)
        }
        return kernel
    }

    private func find(_ name: String) -> CUDAKernel? {
        device.makeCurrent()
        for index in unsafe modules.indices {
            var function: ctti_handle?
            let status = unsafe device.driver.pointee.function(&function, modules[index], name)
            if status == 0, let function = unsafe function {
                // 48 KB need no leave, of which the kernel's fixed arrays take a part.
                let kernel = unsafe CUDAKernel(name: name, function: function, sharedBytes: 32 << 10)
                kernels[name] = kernel
                return kernel
            }
            // 500: it is in another file. After a fault every call gives the fault.
            if status != 500 {
                device.check(status, "work before the kernel '\(name)'")
                return nil
            }
        }
        preconditionFailure("no kernel '\(name)'")
    }
}
