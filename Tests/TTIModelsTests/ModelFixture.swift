import TTICPU
import TTICore
import TTIFormats
import TTITestSupport
import Testing

/// A file of Tests/Fixtures: inputs and outputs of a network, and for tiny networks its configuration and the shapes of its
/// weights, whose numbers are `ClosedFormWeights`.
struct ModelFixture {
    let file: SafetensorsFile
    private let name: String

    /// - Parameter name: such as "models/uvit2d-512".
    init(_ name: String) throws {
        self.name = name
        file = try SafetensorsFile(path: "\(ModelFixture.folder)/Fixtures/\(name).safetensors")
    }

    /// Tests/, found from where this file was compiled.
    static let folder = String(
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/"))

    private func metadata(_ key: String) throws -> JSON {
        let text = try #require(file.metadata.first { $0.key == key }?.value)
        return try JSON(Array(text.utf8), file: name)
    }

    var configuration: Configuration {
        get throws { try Configuration(try metadata("configuration"), file: "\(name)/config.json") }
    }

    /// The tensors that the formula gives.
    var tensors: [String: HostTensor] {
        get throws {
            var shapes: [String: Shape] = [:]
            for (name, shape) in try #require(try metadata("shapes").object) {
                shapes[name.string] = Shape(try #require(shape.array).compactMap(\.integer))
            }
            return ClosedFormWeights.tensors(shapes)
        }
    }

    var weights: Weights { get throws { .values(try tensors) } }

    func host(_ tensor: String) throws -> HostTensor { try #require(try file.tensor(tensor)) }
    func numbers(_ tensor: String) throws -> [Double] { try host(tensor).doubles() }

    /// Integers of any width as int32.
    func integers(_ tensor: String) throws -> HostTensor {
        let source = try host(tensor)
        return HostTensor(source.doubles().map { Int32($0) }, source.shape)
    }

    /// The rows of a matrix.
    func rows<Element>(_ tensor: String, _ element: (Double) -> Element) throws -> [[Element]] {
        let source = try host(tensor)
        let values = source.doubles().map(element)
        let width = source.shape.last
        return (0..<source.shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
    }

    /// `[batch, channels, height, width]` as `[batch, height, width, channels]`.
    func channelsLast(_ tensor: String) throws -> HostTensor {
        let source = try host(tensor)
        let values = source.doubles()
        let (batch, channels, places) = (source.shape[0], source.shape[1], source.shape[2] * source.shape[3])
        var result = [Double](repeating: 0, count: values.count)
        for entry in 0..<batch {
            for channel in 0..<channels {
                for place in 0..<places {
                    result[(entry * places + place) * channels + channel] =
                        values[(entry * channels + channel) * places + place]
                }
            }
        }
        return HostTensor(result, [batch, source.shape[2], source.shape[3], channels])
    }
}

/// What networks are tested on.
enum TestedBackend: CaseIterable, CustomTestStringConvertible {
    /// Plain loops in binary64.
    case reference
    case cpu

    func make() throws -> any Backend {
        switch self {
        case .reference: return ReferenceBackend()
        case .cpu:
            let backend = CPUBackend(weightType: .float32, threads: 2)
            try backend.reserve(arenaBytes: 256 << 20)
            return backend
        }
    }

    var testDescription: String { self == .reference ? "reference" : "cpu f32" }

    var tolerance: Tolerance { self == .reference ? .networkInBinary64 : .network }
}

extension Backend {
    /// The numbers of a tensor, in binary64 where the backend has them.
    func numbers(_ tensor: Tensor) throws -> [Double] {
        if let reference = self as? ReferenceBackend { return try reference.readDoubles(tensor) }
        return try read(tensor).map { Double($0) }
    }
}

/// Some rows of a matrix that is kept flat.
func rows(_ chosen: [Int], of numbers: [Double], width: Int) -> [Double] {
    var result: [Double] = []
    for row in chosen { result += numbers[row * width..<(row + 1) * width] }
    return result
}

/// Expects equal shapes and nearly equal numbers.
func expectClose(
    _ found: Tensor, _ wanted: HostTensor, on backend: any Backend, _ tolerance: Tolerance,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    #expect(found.shape.array == wanted.shape.array, sourceLocation: sourceLocation)
    expectClose(try backend.numbers(found), wanted.doubles(), tolerance, sourceLocation: sourceLocation)
}

/// Expects nearly equal numbers.
func expectClose(
    _ found: [Double], _ wanted: [Double], _ tolerance: Tolerance, sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(found.count == wanted.count, sourceLocation: sourceLocation)
    var (largest, place, squares) = (0.0, 0, 0.0)
    for (index, pair) in zip(found, wanted).enumerated() {
        let difference = pair.0.isFinite ? abs(pair.0 - pair.1) : .infinity
        squares += difference * difference
        if difference > largest { (largest, place) = (difference, index) }
    }
    let scale = wanted.reduce(0) { max($0, abs($1)) }
    let size = wanted.reduce(0) { $0 + $1 * $1 }
    #expect(
        largest <= tolerance.maximum * scale && squares <= tolerance.meanSquare * size,
        """
        maximum \(largest / scale), mean square \(squares / size); \
        the largest at \(place): \(found[place]), not \(wanted[place])
        """, sourceLocation: sourceLocation)
}
