import TTICore
import TTIFormats
import TTIModels
import TTITestSupport
import Testing

@Suite struct MuseBaseTests {
    @Test(arguments: TestedBackend.allCases)
    func `a small one runs, and its logits at places are those of the whole grid`(_ tested: TestedBackend) throws {
        var c = MuseBaseConfiguration()
        (c.codebookSize, c.gridSide, c.textWidth, c.width, c.mlpWidth, c.layerCount, c.headCount) = (
            30, 4, 8, 16, 32, 2, 2
        )
        let b = try tested.make()
        let model = try MuseBase(.random(seed: 1, dtype: .float32), c, on: b)
        let text = b.uploadActivations(ClosedFormWeights.input([2, 5, 8], 3))
        let prompt = model.prepare(text: text, on: b)
        let tokens = b.upload(HostTensor((0..<64).map { Int32($0 * 7 % 31) }, [4, 4, 4]))
        let hidden = model.hidden(tokens, prompt, on: b)
        let all = try b.numbers(model.logits(hidden, on: b))
        #expect(all.count == 4 * 16 * 30 && all.allSatisfy { $0.isFinite })
        let some = try b.numbers(model.logits(hidden, at: b.upload(HostTensor([Int32(3), 9], [1, 2])), on: b))
        let wanted = rows([3, 9, 19, 25, 35, 41, 51, 57], of: all, width: 30)
        expectClose(some, wanted, .networkInBinary64)
    }

    @Test func `sizes are the paper's`() {
        for (c, layers, millions) in [(MuseBaseConfiguration.muse3B, 48, 3221.0), (.muse600M, 24, 629)] {
            #expect(c.layerCount == layers)
            let parameters = c.layerCount * (8 * c.width * c.width + 2 * c.width * c.mlpWidth)
            #expect(abs(Double(parameters) / 1e6 - millions) < 1)
        }
    }
}
