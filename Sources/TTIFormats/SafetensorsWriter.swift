package import TTICore

/// Makes a safetensors file: metadata first, tensors ordered by element size so that each lies aligned, and otherwise in
/// the order given. The same input gives the same bytes.
package enum SafetensorsWriter {
    /// The bytes of the file. Traps when two tensors have the same name; a tensor of which only the shape is known is
    /// written as zeros.
    package static func bytes(
        _ tensors: [(name: String, tensor: HostTensor)], metadata: [(key: String, value: String)] = []
    ) -> [UInt8] {
        let ordered = tensors.enumerated().sorted {
            (-$0.element.tensor.dtype.byteCount, $0.offset) < (-$1.element.tensor.dtype.byteCount, $1.offset)
        }.map(\.element)
        var file = header(ordered, metadata)
        file.reserveCapacity(file.count + ordered.reduce(0) { $0 + byteCount($1.tensor) })
        for (_, tensor) in ordered {
            if let bytes = unsafe tensor.bytes {
                unsafe file.append(contentsOf: bytes)
            } else {
                file.append(contentsOf: repeatElement(0, count: byteCount(tensor)))
            }
        }
        return file
    }

    private static func byteCount(_ tensor: HostTensor) -> Int { tensor.elementCount * tensor.dtype.byteCount }

    /// The length and the JSON, filled up with spaces to a multiple of eight bytes.
    private static func header(
        _ tensors: [(name: String, tensor: HostTensor)], _ metadata: [(key: String, value: String)]
    ) -> [UInt8] {
        var object = JSONObject()
        if !metadata.isEmpty {
            var strings = JSONObject()
            for (key, value) in metadata { strings.set(ByteString(key), JSON(value)) }
            object.set("__metadata__", .members(strings))
        }
        var offset = 0
        for (name, tensor) in tensors {
            let end = offset + byteCount(tensor)
            let isNew = object.append(
                ByteString(name),
                [
                    "dtype": JSON(tensor.dtype.safetensorsName),
                    "shape": .list(tensor.shape.array.map { JSON($0) }),
                    "data_offsets": [JSON(offset), JSON(end)],
                ])
            precondition(isNew, "two tensors of the name \(name)")
            offset = end
        }
        var json = JSON.members(object).bytes()
        json.append(contentsOf: repeatElement(0x20, count: (8 - json.count % 8) % 8))
        return (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) } + json
    }
}
