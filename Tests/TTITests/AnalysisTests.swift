import TTI
import TTIAccounting
import TTICore
import TTIFormats
import TTITestSupport
import Testing

/// What models cost, from shapes alone: against numbers derived by hand and published ones.
@Suite struct AnalysisTests {
    private func cost(_ name: String, _ change: (inout ModelSizes) -> Void = { _ in }) throws -> ModelCost {
        var sizes = ModelSizes()
        change(&sizes)
        return try ModelCost(name, sizes)
    }

    private func stage(_ cost: ModelCost, _ name: String) throws -> StageCost {
        try #require(cost.stages.first { $0.name == name })
    }

    @Test func `the language of shapes says what a network that is run says`() throws {
        // Stable Diffusion's UNet in both, with guidance.
        let run = try stage(cost("stable-diffusion"), "step")
        let written = StageCost.stableDiffusionInShapes(rows: 2)
        for kind in [OperatorClass.linear, .convolution, .spatialAttention, .crossAttention, .norm] {
            #expect(written.flops(kind) == run.flops(kind) / run.count, "\(kind)")
        }
        #expect(written.lengths == run.lengths)
        // Operands agree but for biases and norms, which the language holds in the type of the weights.
        for kind in [OperatorClass.spatialAttention, .crossAttention] {
            #expect(written.operandBytes(kind) == run.operandBytes(kind) / run.count)
        }
    }

    @Test func `LLaMA2-7B`() throws {
        let llama = try cost("llama2") { $0.tokens = 10 }
        let layer = 4 * 4096 * 4096 + 3 * 4096 * 11008
        #expect(llama.parameters == 6_738_415_616)
        let (prefill, token) = (try stage(llama, "prefill"), try stage(llama, "token"))
        let (layers, head, pair) = (2 * 32 * layer, 2 * 4096 * 32000, 32 * (4 * 4096 + 4 * 32))
        #expect(prefill.flops(.linear) == 10 * layers + head)
        #expect(prefill.flops(.spatialAttention) == 55 * pair)
        #expect(token.flops(.linear) == 10 * (layers + head))
        // Ten tokens over 11, 12 … 20 keys.
        let pairs = (11...20).reduce(0, +)
        #expect(token.flops(.decodeAttention) == pairs * pair)
        #expect(token.lengths == Array(11...20))
    }

    @Test func `published sizes`() throws {
        func isNear(_ value: Int, _ published: Double, within limit: Double = 0.01) -> Bool {
            let ratio = Double(value) / published
            return abs(ratio - 1) < limit
        }
        #expect(isNear(try cost("parti-3b").parameters, 3.07e9))
        // A step of Stable Diffusion at 512², one row: 0.803 T; SDXL at 1024²: 6.76 T.
        #expect(isNear(try stage(cost("stable-diffusion"), "step").flops, 100 * 0.803e12))
        #expect(isNear(try stage(cost("production"), "step").flops, 100 * 6.76e12))
        // Muse-3B: 2.98 T a step of 256 tokens; Stable Diffusion's decoder: 2.52 T at 512².
        #expect(isNear(try stage(cost("muse"), "step 1").flops, 24 * 2.98e12))
        #expect(isNear(try stage(cost("stable-diffusion"), "pixels").flops, 2.52e12))
        // Imagen's three UNets together have 3 B beside T5-XXL's 4.6 B.
        #expect(isNear(try cost("imagen").parameters, 7.6e9, within: 0.06))
    }

    @Test func `sequence lengths: a U, a line, a constant`() throws {
        #expect(
            try stage(cost("stable-diffusion"), "step").lengths
                == [4096, 4096, 1024, 1024, 256, 256, 64, 256, 256, 256, 1024, 1024, 1024, 4096, 4096, 4096])
        #expect(try stage(cost("parti"), "token").lengths == Array(1...1024))
        #expect(Set(try stage(cost("muse"), "step 1").lengths) == [256])
        #expect(try stage(cost("phenaki") { $0.frames = 21 }, "step").lengths.first == 11 * 256)
    }

    @Test func `regimes on an H200`() throws {
        func regime(_ name: String, _ part: String) throws -> Regime {
            Regime(intensity: try stage(cost(name), part).intensity, ridge: RooflineDevice.h200.ridge)
        }
        #expect(try regime("stable-diffusion", "step") == .prefillLike)
        #expect(try regime("muse", "step 1") == .prefillLike)
        #expect(try regime("parti", "token") == .decodeLike)
        #expect(try regime("llama2", "token") == .decodeLike && regime("llama2", "prefill") == .prefillLike)
        // Two rows share each weight of two bytes: 2 FLOP a byte but for the keys and values.
        let token = try stage(cost("parti"), "token")
        #expect(token.intensity > 1.9 && token.intensity <= 2.1)
    }

    @Test func `eager attention adds the scores and nothing else`() throws {
        let flash = try stage(cost("stable-diffusion"), "step")
        let eager = try stage(cost("stable-diffusion") { $0.attention = .eager }, "step")
        #expect(eager.flops == flash.flops && eager.lengths == flash.lengths)
        // Scores of 16 self- and 16 cross-attentions, 8 heads, 2 rows, 2 bytes, written and read twice each.
        let places = [(4096, 5), (1024, 5), (256, 5), (64, 1)]
        let scores = places.reduce(0) { $0 + $1.1 * 2 * 8 * $1.0 * ($1.0 + 77) }
        #expect(eager.operandBytes - flash.operandBytes == 50 * 4 * 2 * scores)
        #expect(eager.operations.count == flash.operations.count + 2 * 32)
    }

    @Test func `memory of the similarity matrices`() {
        func megabytes(_ side: Int) -> Double {
            Double(scoreMatrixBytes(latentSide: side / 8, textTokens: 77, depth: 3)) / 1e6
        }
        // 2 · (2 · (4096 · 4173 + 1024 · 1101 + 256 · 333) + 64 · 141)
        #expect(scoreMatrixBytes(latentSide: 64, textTokens: 77, depth: 3) == 73_239_168)
        #expect(abs(megabytes(256) - 4.89) < 0.005 && abs(megabytes(1024) - 1152) < 0.5)
        #expect(abs(megabytes(1024) / megabytes(512) - 15.7) < 0.05)
    }

    @Test func `spatial and temporal attention cross where frames are as many as places`() {
        for side in [8, 16, 32, 64] {
            let even = videoAttentionFlops(places: side * side, frames: side * side, width: 64)
            #expect(even.spatial == even.temporal)
            let fewer = videoAttentionFlops(places: side * side, frames: side, width: 64)
            #expect(fewer.spatial == side * fewer.temporal)
        }
    }

    @Test func `a roofline predicts what its bytes and its arithmetic take`() {
        let device = RooflineDevice(name: "d", bandwidth: 100, matrixRate: 1000, launch: 0.5)
        #expect(device.ridge == 10)
        let operation = OperationRecord(
            name: "linear", kind: .linear, shapes: "", flops: 4000, weightBytes: 100, bytesRead: 50, bytesWritten: 50)
        #expect(device.seconds(operation) == 4.5)
        var stage = StageCost(name: "s", count: 3)
        stage.add([operation], times: 3)
        #expect(device.seconds(stage) == 13.5 && stage.flops == 12000 && stage.streamedBytes == 300)
        #expect(
            DeviceChoice("200,2,1.5")
                == .known(
                    RooflineDevice(name: "200,2,1.5", bandwidth: 200e9, matrixRate: 2e12, launch: 1.5e-6)))
        #expect(DeviceChoice("200") == nil && DeviceChoice("0,1") == nil && DeviceChoice("1,x") == nil)
    }

    // MARK: The commands

    private let place = Workplace()

    private func json(_ arguments: String...) throws -> JSON {
        let outcome = CommandProcess.run(arguments + ["--json"], in: place.path)
        #expect(outcome.status == 0, "\(outcome)")
        return try JSON(outcome.output, file: "output")
    }

    @Test func `analyze prints the suite`() throws {
        let analysis = try json("analyze", "--sweep", "--device", "a100")
        #expect(analysis["models"]?.array?.compactMap { $0["name"]?.string } == ModelCost.suite)
        for model in analysis["models"]?.array ?? [] {
            for form in ["operators", "eager_operators"] {
                let shares: [Double] = try #require(model[form]?.object).map { $0.value["time_share"]?.number ?? 0 }
                let sum = shares.reduce(0, +)
                #expect(abs(sum - 1) < 1e-9)
            }
            #expect(model["source"]?.string?.isEmpty == false)
            let (eager, flash) = (model["eager_seconds"]?.number ?? 0, model["seconds"]?.number ?? 0)
            #expect(eager > flash && flash > 0)
        }
        #expect(analysis["sizes"]?.array?.count == 8 && analysis["score_memory"]?.array?.count == 7)
        let half = try #require(analysis["sizes"]?.array?.first { $0["side"]?.integer == 512 }?["lengths"]?.array)
        let shares = half.map { $0["share"]?.number ?? 0 }
        #expect(shares == [0.0625, 0.3125, 0.3125, 0.3125])
        let table = CommandProcess.run(["analyze", "--model", "muse,sdxl"], in: place.path)
        #expect(table.status == 0 && table.text.contains("prefill-like") && table.text.contains("256×48"))
    }

    @Test func `compare measures every mode, and draws`() throws {
        try DiffusionFixture("sd15").writeCheckpoint(to: place["sd15"])
        let report = try json(
            "compare", "-m", "scenes-masked,scenes-ar,sd15", "--repeats", "1", "--plot", "plot.svg", "-q")
        let models = try #require(report["models"]?.array)
        #expect(models.compactMap { $0["name"]?.string } == ["scenes-masked", "scenes-ar", "sd15"])
        for model in models {
            let stages = try #require(model["stages"]?.array)
            #expect(stages.count == 3)
            for stage in stages {
                let operators = try #require(stage["operators"]?.object)
                let times: [Double] = operators.map { $0.value["seconds"]?.number ?? 0 }
                let flops: [Int] = operators.map { $0.value["flops"]?.integer ?? 0 }
                let (time, whole) = (times.reduce(0, +), stage["seconds"]?.number ?? 0)
                #expect(abs(time - whole) < 1e-6 * whole)
                #expect(flops.reduce(0, +) == stage["flops"]?.integer)
            }
        }
        let token = try #require(models[1]["stages"]?.array?[1])
        #expect(token["regime"]?.string == "decode-like" && token["passes"]?.integer == 256)
        #expect(token["sequence_lengths"]?.array?.last?.integer == 256)
        let plot = String(decoding: place.read("plot.svg"), as: UTF8.self)
        #expect(plot.hasPrefix("<svg") && plot.hasSuffix("</svg>\n") && plot.contains("scenes-ar, token"))
        #expect(plot.split(separator: "<circle").count == 1 + 9)
        let eager = try json("compare", "-m", "scenes-masked", "--repeats", "1", "--attention", "eager", "-q")
        func step(_ report: JSON) -> Int {
            let stage = report["models"]?.array?.first?["stages"]?.array?[1]
            return stage?["operand_bytes"]?.integer ?? 0
        }
        #expect(eager["attention"]?.string == "eager" && step(eager) > step(report))
    }

    @Test func `eager attention makes the same picture`() throws {
        for form in ["flash", "eager"] {
            let outcome = CommandProcess.run(
                ["generate", "a red cube", "-s", "3", "-o", form + ".png", "--attention", form, "-q"], in: place.path)
            #expect(outcome.status == 0, "\(outcome)")
        }
        let (flash, eager) = (try PNG.decode(path: place["flash.png"]), try PNG.decode(path: place["eager.png"]))
        // Sums in another order may flip a token that was a close call; a wrong scale or mask would change them all.
        let different = zip(flash.bytes, eager.bytes).count { abs(Int($0) - Int($1)) > 2 }
        #expect(different * 20 < flash.bytes.count)
    }
}
