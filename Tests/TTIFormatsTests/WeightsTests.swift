import TTICore
import TTIFormats
import Testing

@Suite struct WeightsTests {
    private func sample() throws -> TensorFiles {
        let bytes = SafetensorsWriter.bytes([
            ("encoder.layers.0.fc1.weight", HostTensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])),
            ("encoder.layers.0.fc1.bias", HostTensor([7, 8] as [Float], [2])),
            ("encoder.position_ids", HostTensor([0, 1] as [Int32], [2])),
            ("extra", HostTensor([9] as [Float], [])),
        ])
        return TensorFiles(try SafetensorsFile(bytes: bytes, name: "'test.safetensors'"))
    }

    @Test func `tensors are found by place, name and shape`() throws {
        let weights = Weights.checkpoint(try sample())
        let fc1 = weights["encoder"]["layers"][0]["fc1"]
        #expect(fc1.path == "encoder.layers.0.fc1")
        #expect(try fc1.tensor("weight", [2, 3]).floats() == [1, 2, 3, 4, 5, 6])
        #expect(try weights["encoder.layers.0"].tensor("fc1.bias", [2]).floats() == [7, 8])
        #expect(try weights.tensor("extra", []).floats() == [9])
        #expect(fc1.contains("bias"))
        #expect(!fc1.contains("gamma"))
        #expect(try fc1.tensorIfPresent("gamma", [2]) == nil)
        #expect(weights.unread == ["encoder.position_ids"])
        weights.ignore { $0.hasSuffix("position_ids") }
        #expect(weights.unread.isEmpty)
    }

    @Test func `a miss says what is there instead`() throws {
        let weights = Weights.checkpoint(try sample())
        do {
            _ = try weights["encoder.layers.0"].tensor("fc2.weight", [2, 3])
            Issue.record("no error")
        } catch {
            #expect(error.code == "model.tensor")
            #expect(error.kind == .invalid)
            #expect(error.message.contains("'encoder.layers.0.fc2.weight' [2, 3]"))
            #expect(error.message.contains("'fc1.weight'"))
            #expect(error.message.contains("'test.safetensors'"))
        }
        do {
            _ = try weights["encoder.layers.0"].tensor("fc1.weight", [3, 2])
            Issue.record("no error")
        } catch {
            #expect(error.code == "model.shape")
            #expect(error.message.contains("is [2, 3], and [3, 2] was expected"))
        }
        #expect { try weights["encoder"].tensor("position_ids", [2]) } throws: {
            ($0 as? FormatError)?.code == "model.dtype"
        }
    }

    @Test func `names can be changed on the way to the file`() throws {
        let weights = Weights.checkpoint(try sample())
        let renamed = weights.renamed { "encoder." + $0 }["text"]
            .renamed { $0.hasPrefix("text.") ? String($0.dropFirst(5)) : $0 }
        #expect(try renamed["layers"][0].tensor("fc1.bias", [2]).floats() == [7, 8])
        #expect(renamed.contains("layers.0.fc1.weight"))
        #expect(!weights.unread.contains("encoder.layers.0.fc1.bias"))
    }

    @Test func `random weights depend on seed, name and shape alone`() throws {
        let weights = Weights.random(seed: 1, dtype: .float32)
        let a = try weights["x"].tensor("weight", [64, 400]).floats()
        _ = try weights.tensor("other", [1000, 1000])
        #expect(try Weights.random(seed: 1, dtype: .float32).tensor("x.weight", [64, 400]).floats() == a)
        #expect(try Weights.random(seed: 2, dtype: .float32).tensor("x.weight", [64, 400]).floats() != a)
        #expect(try weights.tensor("y.weight", [64, 400]).floats() != a)
        let deviation = (a.reduce(0) { $0 + $1 * $1 } / Float(a.count)).squareRoot()
        #expect(abs(deviation - 0.05) < 0.002)
        let gains = try weights.tensor("norm.weight", [1000]).floats()
        #expect(gains.allSatisfy { abs($0 - 1) < 0.2 })
        let biases = try weights.tensor("norm.bias", [1000]).floats()
        #expect(biases.allSatisfy { abs($0) < 0.2 })
        #expect(try weights.tensorIfPresent("bias", [4], assumed: false) == nil)
        #expect(try weights.tensorIfPresent("bias", [4]) != nil)
        #expect(!weights.contains("bias"))
        #expect(weights.unread.isEmpty)
        for dtype in [DType.bfloat16, .float16, .float64] {
            let other = try Weights.random(seed: 1, dtype: dtype).tensor("x.weight", [64, 400])
            #expect(other.dtype == dtype)
            #expect(zip(other.floats(), a).allSatisfy { abs($0 - $1) <= abs($1) / 128 })
        }
    }

    @Test func `a tensor longer than the random block is filled to its end`() throws {
        let tensor = try Weights.random(seed: 3, dtype: .float32).tensor("w", [3, 1_000_000])
        let values = tensor.floats()
        #expect(values.suffix(1000).contains { $0 != 0 })
        #expect(values.allSatisfy { $0.isFinite })
    }

    @Test func `shapes alone have no bytes`() throws {
        let tensor = try Weights.shapesOnly(dtype: .bfloat16)["a"].tensor("b", [100_000, 100_000])
        #expect(tensor.shape == [100_000, 100_000])
        #expect(tensor.dtype == .bfloat16)
        #expect(tensor.bytes == nil)
    }

    @Test func `given values are checked like a file`() throws {
        let weights = Weights.values(["a.b": HostTensor([1] as [Float], [1])])
        #expect(try weights["a"].tensor("b", [1]).floats() == [1])
        #expect(throws: FormatError.self) { try weights["a"].tensor("b", [2]) }
        #expect(throws: FormatError.self) { try weights["a"].tensor("c", [1]) }
    }
}
