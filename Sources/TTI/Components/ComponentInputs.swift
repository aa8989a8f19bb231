internal import TTICore
internal import TTIFormats
internal import TTIModels

/// The tensors that `tti-ar run` is given, checked against what a network takes.
struct ComponentInputs {
    private let file: SafetensorsFile
    private let path: String
    private let component: String

    /// - Parameters:
    ///   - required: names that must be there, each with its shape in words.
    ///   - optional: names that may be there.
    /// - Throws: `TTIError` of code missingInput, or invalidInput for a damaged file, a missing tensor or one too many.
    init(
        _ path: String, component: String, required: KeyValuePairs<String, String>,
        optional: KeyValuePairs<String, String> = [:]
    ) throws(TTIError) {
        self.path = path
        self.component = component
        do throws(FormatError) { file = try SafetensorsFile(path: path) } catch {
            throw TTIError(translating: error.inInputFile)
        }
        let takes = required.map { "\($0.key) \($0.value)" } + optional.map { "\($0.key) \($0.value) if wanted" }
        let expectation = "'\(component)' takes " + takes.joined(separator: ", ")
        for (name, _) in required where !file.contains(name) {
            throw fault("there is no tensor '\(name)'", try: expectation)
        }
        let known = required.map(\.key) + optional.map(\.key)
        for entry in file.entries where !known.contains(entry.name) {
            throw fault("the tensor \(quoted(entry.name, limit: 60)) belongs to no input", try: expectation)
        }
    }

    func contains(_ name: String) -> Bool { file.contains(name) }

    func fault(_ what: String, try remedy: String? = nil) -> TTIError {
        TTIError(.invalidInput, "input.tensors", "\(what): \(quoted(path))" + (remedy.map { "; " + $0 } ?? ""))
    }

    /// A tensor whose extents are as given; a nil one may be anything from 1 on.
    private func tensor(_ name: String, _ extents: [Int?], _ words: String) throws(TTIError) -> HostTensor {
        let found: HostTensor?
        do throws(FormatError) { found = try file.tensor(name) } catch {
            throw TTIError(translating: error.inInputFile)
        }
        guard let tensor = found else { throw fault("there is no tensor '\(name)'") }
        let shape = tensor.shape.array
        let fits = shape.count == extents.count && zip(shape, extents).allSatisfy { $0 >= 1 && ($1 == nil || $0 == $1) }
        guard fits, shape.reduce(1, *) <= 1 << 31 else {
            throw fault("'\(name)' has the shape \(tensor.shape), not \(words)")
        }
        return tensor
    }

    /// Numbers of any floating-point type, as float32.
    func floats(_ name: String, _ extents: [Int?], _ words: String) throws(TTIError) -> (values: [Float], shape: [Int])
    {
        let tensor = try tensor(name, extents, words)
        guard tensor.dtype.isFloatingPoint else {
            throw fault("'\(name)' holds \(tensor.dtype), not floating-point numbers")
        }
        let values = tensor.floats()
        guard values.allSatisfy(\.isFinite) else { throw fault("'\(name)' has a number that is not finite") }
        return (values, tensor.shape.array)
    }

    /// Numbers of any type, integers too, as float32.
    func numbers(_ name: String, _ extents: [Int?]) throws(TTIError) -> [Float] {
        let words = "[" + extents.map { $0.map(String.init) ?? "?" }.joined(separator: ", ") + "]"
        let tensor = try tensor(name, extents, words)
        guard tensor.dtype != .bool else { throw fault("'\(name)' holds \(tensor.dtype), not numbers") }
        let values = tensor.floats()
        guard values.allSatisfy(\.isFinite) else { throw fault("'\(name)' has a number that is not finite") }
        return values
    }

    /// As many numbers as there are rows, or one for all.
    func numbers(_ name: String, count: Int) throws(TTIError) -> [Float] {
        do throws(TTIError) { return try numbers(name, [count]) } catch { return try numbers(name, [1]) }
    }

    /// Integers of any type, all in the range.
    func integers(
        _ name: String, _ extents: [Int?], _ words: String, in range: Range<Int>
    ) throws(TTIError) -> (values: [Int32], shape: [Int]) {
        let tensor = try tensor(name, extents, words)
        guard let wide = tensor.integers() else { throw fault("'\(name)' holds \(tensor.dtype), not I32 or I64") }
        guard let values = wide.narrowed(to: Int64(range.lowerBound)...Int64(range.upperBound - 1)) else {
            throw fault(
                "'\(name)' has a value outside \(range.lowerBound)...\(range.upperBound - 1), the ids of this model")
        }
        return (values, tensor.shape.array)
    }

    /// `input_ids` [B,T] and `attention_mask` [B,T]; without a mask nothing is masked.
    func tokens(vocabularySize: Int, maximumLength: Int) throws(TTIError) -> TokenRows {
        let (ids, shape) = try integers("input_ids", [nil, nil], "[B, T]", in: 0..<vocabularySize)
        guard shape[1] <= maximumLength else {
            throw fault("'input_ids' has \(shape[1]) tokens a row, and the model takes at most \(maximumLength)")
        }
        let rows = rows(ids, shape[1])
        return TokenRows(rows, mask: try mask(batch: shape[0], length: shape[1]))
    }

    /// `attention_mask` [B,T], nil when there is none.
    func mask(batch: Int, length: Int) throws(TTIError) -> [[Bool]]? {
        guard contains("attention_mask") else { return nil }
        let (values, _) = try integers(
            "attention_mask", [batch, length], "[\(batch), \(length)], that of the text", in: 0..<2)
        let mask = rows(values, length).map { row in row.map { $0 != 0 } }
        guard mask.allSatisfy({ $0.contains(true) }) else { throw fault("'attention_mask' masks a whole text") }
        return mask
    }

    private func rows(_ values: [Int32], _ length: Int) -> [[Int32]] {
        stride(from: 0, to: values.count, by: length).map { Array(values[$0..<$0 + length]) }
    }
}

extension [Float] {
    /// `[batch, channels, height, width]` as `[batch, height, width, channels]`.
    func channelsLast(_ shape: [Int]) -> [Float] {
        let (channels, pixels) = (shape[1], shape[2] * shape[3])
        var result = [Float](repeating: 0, count: count)
        for image in 0..<shape[0] {
            let base = image * channels * pixels
            for channel in 0..<channels {
                for pixel in 0..<pixels {
                    result[base + pixel * channels + channel] = self[base + channel * pixels + pixel]
                }
            }
        }
        return result
    }

    /// `[batch, pixels, channels]` as `[batch, channels, pixels]`.
    func channelsFirst(batch: Int, pixels: Int, channels: Int) -> [Float] {
        var result = [Float](repeating: 0, count: count)
        for image in 0..<batch {
            let base = image * channels * pixels
            for channel in 0..<channels {
                for pixel in 0..<pixels {
                    result[base + channel * pixels + pixel] = self[base + pixel * channels + channel]
                }
            }
        }
        return result
    }
}
