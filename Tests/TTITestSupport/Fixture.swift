package import TTICore
package import TTIFormats

/// A safetensors file under Tests/Fixtures, found beside this source file.
package struct Fixture {
    /// What is not there.
    package struct Missing: Error, CustomStringConvertible {
        package let description: String
    }

    package let file: SafetensorsFile

    /// - Parameter name: the path under Tests/Fixtures without its extension, such as "scenes/vqvae".
    package init(_ name: String) throws(FormatError) {
        file = try SafetensorsFile(path: Fixture.path("\(name).safetensors"))
    }

    /// The path of any file under Tests/Fixtures.
    package static func path(_ name: String) -> String {
        // This file lies in Tests/TTITestSupport.
        let components = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        return (components.dropLast(2) + ["Fixtures", name[...]]).joined(separator: "/")
    }

    /// A tensor by name.
    package func tensor(_ name: String) throws -> HostTensor {
        guard let tensor = try file.tensor(name) else {
            throw Missing(description: "no '\(name)' in \(file.name): \(file.entries.map(\.name))")
        }
        return tensor
    }

    /// All elements of a tensor.
    package func numbers(_ name: String) throws -> [Float] { try tensor(name).floats() }

    /// All elements of a tensor of integers.
    package func integers(_ name: String) throws -> [Int] { try tensor(name).doubles().map { Int($0) } }

    /// What the script that made the file wrote about it.
    package func metadata(_ key: String) -> String? { file.metadata.first { $0.key == key }?.value }
}
