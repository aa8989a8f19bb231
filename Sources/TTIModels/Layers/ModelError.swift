package import TTICore
package import TTIFormats

/// Why a model could not be made.
package enum ModelError: Error, CustomStringConvertible {
    /// Its configuration or weights are wrong.
    case checkpoint(FormatError)
    /// The device could not take its weights.
    case device(DeviceError)

    package var description: String {
        switch self {
        case .checkpoint(let error): error.description
        case .device(let error): error.description
        }
    }
}

extension Weights {
    /// A tensor on the host.
    func host(_ name: String, _ shape: Shape) throws(ModelError) -> HostTensor {
        do { return try tensor(name, shape) } catch { throw .checkpoint(error) }
    }

    /// A tensor on the host; nil when there is none.
    func hostIfPresent(_ name: String, _ shape: Shape) throws(ModelError) -> HostTensor? {
        do { return try tensorIfPresent(name, shape) } catch { throw .checkpoint(error) }
    }
}

// Preparing with this room's error.
extension Backend {
    func load(matrix: HostTensor, for use: MatrixUse = .sequences) throws(ModelError) -> PreparedMatrix {
        do { return try prepare(matrix: matrix, for: use) } catch { throw .device(error) }
    }

    func load(convolution: HostTensor) throws(ModelError) -> PreparedConvolution {
        do { return try prepare(convolution: convolution) } catch { throw .device(error) }
    }

    func load(depthwise: HostTensor) throws(ModelError) -> Tensor {
        do { return try prepare(depthwise: depthwise) } catch { throw .device(error) }
    }

    func load(table: HostTensor) throws(ModelError) -> Tensor {
        do { return try prepare(table: table) } catch { throw .device(error) }
    }

    func load(constant: HostTensor) throws(ModelError) -> Tensor {
        do { return try prepare(constant: constant) } catch { throw .device(error) }
    }
}
