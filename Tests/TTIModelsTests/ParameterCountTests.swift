import TTIAccounting
import TTICore
import TTIFormats
import TTIModels
import Testing

/// Published counts of parameters, from configurations alone.
@Suite struct ParameterCountTests {
    private let counter = AccountingBackend(weightType: .bfloat16, cacheType: .bfloat16)

    @Test(arguments: [(UNetConfiguration.sd15, 859_520_964), (.sdxl, 2_567_463_684)])
    func `Stable Diffusion`(_ configuration: UNetConfiguration, _ count: Int) throws {
        _ = try UNet(.shapesOnly(dtype: .float32), configuration, on: counter)
        #expect(counter.preparedParameterCount == count)
    }

    @Test(arguments: [(UVit2DConfiguration.amused256, 603_537_664), (.amused512, 608_257_792)])
    func `aMUSEd`(_ configuration: UVit2DConfiguration, _ count: Int) throws {
        _ = try UVit2D(.shapesOnly(dtype: .float32), configuration, on: counter)
        #expect(counter.preparedParameterCount == count)
    }

    /// 12 d² a layer of the encoder, 16 d² a layer of the decoder; besides them tables, positions, head and norms.
    @Test(arguments: [
        (PartiConfiguration.parti350M, 150_994_944, 201_326_592), (.parti750M, 150_994_944, 603_979_776),
        (.parti3B, 603_979_776, 2_415_919_104), (.parti20B, 3_221_225_472, 17_179_869_184),
    ])
    func `Parti, table 1`(_ c: PartiConfiguration, _ encoder: Int, _ decoder: Int) throws {
        _ = try Parti(.shapesOnly(dtype: .float32), c, on: counter)
        let tables = (c.vocabularySize + c.codebookSize + 1 + c.codebookSize) * c.width
        // Matrices and tables are bf16, positions and norms f32.
        #expect(counter.preparedBytes[.bfloat16] == 2 * (encoder + decoder + tables))
    }

    /// Millions in the matrices, tables and positions of both halves, as the published files hold them; their heads still have
    /// the ids that are no codes.
    @Test(arguments: [(DalleBartConfiguration.mini, 202.5 + 235.1), (.mega, 1109.7 + 1477.1)])
    func `DALL-E mini and mega`(_ c: DalleBartConfiguration, _ millions: Double) throws {
        _ = try DalleBart(.shapesOnly(dtype: .float32), c, on: counter)
        let positions = (c.maximumTextLength + c.imageLength) * c.width
        let cut = (c.imageVocabularySize + 1 - c.codebookSize) * c.width
        let count = counter.preparedBytes[.bfloat16, default: 0] / 2 + positions + cut
        #expect(abs(Double(count) / 1e6 - millions) < 0.1)
    }

    /// A base layer: 16 d² with d = 2048.
    @Test func `Muse-3B`() throws {
        let c = MuseBaseConfiguration.muse3B
        _ = try MuseBase(.shapesOnly(dtype: .float32), c, on: counter)
        let rest = c.textWidth * c.width + (c.codebookSize + 1 + c.codebookSize) * c.width
        #expect(counter.preparedBytes[.bfloat16] == 2 * (48 * 67_108_864 + rest))
    }

    /// FLOP of one pass of the UNet at 512×512 without guidance, by hand: the published 0.803 T (0.678 T without the two
    /// products of attention).
    @Test func `FLOP of a pass of Stable Diffusion 1 by class`() throws {
        let network = try UNet(.shapesOnly(dtype: .float32), .sd15, on: counter)
        let prepared = network.prepare(
            text: counter.allocate([1, 77, 768], .float32), timesteps: [1], on: counter)
        counter.reset()
        _ = network(
            counter.allocate([1, 64, 64, 4], .float32), at: counter.allocate([1], .int32), prepared, on: counter)
        var flops: [OperatorClass: Int] = [:]
        for operation in counter.operations { flops[operation.kind, default: 0] += operation.flops }
        // Products of self-attention: 4 · S² · width, for each of 5 layers at three sizes and one at the innermost, and 4
        // FLOP a score of 8 heads.
        let spatial = [(4096, 320, 5), (1024, 640, 5), (256, 1280, 5), (64, 1280, 1)].reduce(0) {
            $0 + $1.2 * $1.0 * $1.0 * (4 * $1.1 + 32)
        }
        let cross = [(4096, 320, 5), (1024, 640, 5), (256, 1280, 5), (64, 1280, 1)].reduce(0) {
            $0 + $1.2 * $1.0 * 77 * (4 * $1.1 + 32)
        }
        #expect(flops[.spatialAttention] == spatial && flops[.crossAttention] == cross)
        let products = flops[.linear, default: 0] + flops[.convolution, default: 0]
        #expect(Double(products) / 0.678e12 > 0.99 && Double(products) / 0.678e12 < 1.01)
        #expect(
            counter.operations.compactMap(\.attention).filter { $0.queries == $0.keys }.map(\.keys)
                == [4096, 4096, 1024, 1024, 256, 256, 64, 256, 256, 256, 1024, 1024, 1024, 4096, 4096, 4096])
    }
}
