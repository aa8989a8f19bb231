internal import TTICore
internal import TTIFormats

/// Image tokens in a safetensors file: `codes` [images, height, width].
package enum TokenFile {
    /// Grids of tokens, row by row; -1 stands for a token to be made.
    package struct Codes: Sendable {
        package let grids: [[Int32]]
        package let height: Int
        package let width: Int
    }

    /// - Throws: `TTIError` of code invalidInput when the file has no such tensor, or values that are no tokens.
    package static func read(_ path: String) throws(TTIError) -> Codes {
        do {
            let file: SafetensorsFile
            do throws(FormatError) { file = try SafetensorsFile(path: path) } catch { throw error.inInputFile }
            func fault(_ what: String) -> TTIError {
                TTIError(
                    .invalidInput, "input.tokens", "\(what): \(quoted(path)); it needs codes [images, height, width]")
            }
            let found = file.entries.map { harmless($0.name, limit: 40) }.prefix(5).joined(separator: ", ")
            guard let codes = try file.tensor("codes") else {
                throw fault("there is no tensor 'codes'" + (found.isEmpty ? "" : ", but \(found)"))
            }
            let shape = codes.shape
            guard shape.rank == 3, shape.elementCount > 0 else { throw fault("'codes' has the shape \(shape)") }
            guard let values = codes.integers() else { throw fault("'codes' holds \(codes.dtype), not integers") }
            guard let narrow = values.narrowed(to: -1...Int64(Int32.max)) else {
                throw fault("'codes' has a value that is no token")
            }
            let size = shape[1] * shape[2]
            let grids = stride(from: 0, to: narrow.count, by: size).map { Array(narrow[$0..<$0 + size]) }
            return Codes(grids: grids, height: shape[1], width: shape[2])
        } catch { throw TTIError(translating: error) }
    }

    /// The bytes of a file with these tokens.
    package static func bytes(_ grids: [[Int32]], height: Int, width: Int) -> [UInt8] {
        let values = grids.flatMap { $0 }.map(Int64.init)
        let codes = HostTensor(values, [grids.count, height, width])
        return SafetensorsWriter.bytes([("codes", codes)])
    }
}

extension HostTensor {
    /// All elements of an integer tensor; nil when it holds something else.
    func integers() -> [Int64]? {
        guard let bytes = unsafe bytes else { return nil }
        let count = elementCount
        func read<Value: FixedWidthInteger & BitwiseCopyable>(_: Value.Type) -> [Int64] {
            let size = MemoryLayout<Value>.size
            return (0..<count).map { index in
                unsafe Int64(truncatingIfNeeded: bytes.loadUnaligned(fromByteOffset: index * size, as: Value.self))
            }
        }
        return switch dtype {
        case .int64: read(Int64.self)
        case .int32: read(Int32.self)
        case .int16: read(Int16.self)
        case .int8: read(Int8.self)
        case .uint64: read(UInt64.self)
        case .uint32: read(UInt32.self)
        case .uint16: read(UInt16.self)
        case .uint8, .bool: read(UInt8.self)
        case .float64, .float32, .float16, .bfloat16, .float8e4m3, .float8e5m2: nil
        }
    }

    /// Copies of the given numbers.
    init(_ values: [Int64], _ shape: Shape) {
        let allocation = HostAllocation(byteCount: values.count * 8)
        unsafe values.withUnsafeBytes { unsafe allocation.bytes.copyMemory(from: $0) }
        unsafe self.init(
            shape: shape, dtype: .int64,
            bytes: UnsafeRawBufferPointer(rebasing: allocation.bytes[0..<values.count * 8]), storage: allocation)
    }
}

extension [Int64] {
    /// The same numbers in 32 bits; nil when one is out of the range.
    func narrowed(to range: ClosedRange<Int64>) -> [Int32]? {
        var narrow: [Int32] = []
        narrow.reserveCapacity(count)
        for value in self {
            guard range.contains(value) else { return nil }
            narrow.append(Int32(value))
        }
        return narrow
    }
}
