// Embedding tti-ar: a picture from a prompt, with an error that can be shown to a person.
import TTI

do {
    let generator = try ImageGenerator(checkpoint: .demo(.parallel), device: .automatic)
    let image = try generator.generate("a large red cube to the left of a small blue sphere", seed: 7)
    try image.writePNG(to: "cube.png")
    print("cube.png: \(image.width)x\(image.height), made on \(generator.backend)")

    // The same in steps: settings, progress, and a way to stop.
    var request = GenerationRequest("a small green cone", seed: 1)
    request.count = 2
    request.steps = 8
    let images = try generator.generate(request) { event in
        if case .step(let done, let count, _) = event, done == count { print("\(count) steps done") }
        return true  // false would stop here
    }
    for made in images { try made.image.writePNG(to: "cone-\(made.seed).png") }
} catch let error as TTIError {
    // One sentence for a person, a code for a program.
    print("\(error.message) (code \(error.code.rawValue))")
}
