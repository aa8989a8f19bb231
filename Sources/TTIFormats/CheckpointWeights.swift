extension CheckpointFolder {
    /// The names, without ending, that diffusers and transformers give to weights.
    private static let stems = ["diffusion_pytorch_model", "model"]

    /// The weights of this component.
    ///
    /// Without a variant asked for, plain files win over `fp16` and others; a variant that this component does not have
    /// falls back to the plain files, as diffusers does. A whole file wins over shards.
    package func weights() throws(FormatError) -> TensorFiles {
        var candidates: [(file: String, isIndex: Bool)] = []
        func add(_ variant: String?) {
            for stem in Self.stems {
                let dotted = variant.map { "." + $0 } ?? ""
                candidates.append(("\(stem)\(dotted).safetensors", false))
                candidates.append(("\(stem).safetensors.index\(dotted).json", true))
            }
        }
        if let variant {
            guard isPlainFileName(variant) else {
                throw FormatError(.badInput, "input.variant", "\(quoted(variant)) is not the name of a variant")
            }
            add(variant)
        }
        add(nil)
        let others = otherVariants()
        if others.contains("fp16") { add("fp16") } else if others.count == 1 { add(others[0]) }
        for candidate in candidates {
            guard let path = try pathIfPresent(candidate.file) else { continue }
            if !candidate.isIndex { return try TensorFiles(path: path) }
            let index = try json(candidate.file, limit: Self.indexByteLimit)
            return try TensorFiles(index: index, indexName: joinPath(self.path, candidate.file), in: self)
        }
        throw noWeights(others: others)
    }

    /// Variants other than the plain one of which there are files.
    private func otherVariants() -> [String] {
        var variants: Set<String> = []
        for name in folderContents(path) {
            for stem in Self.stems {
                for (beginning, ending) in [(stem + ".", ".safetensors"), (stem + ".safetensors.index.", ".json")]
                where name.hasPrefix(beginning) && name.hasSuffix(ending)
                    && name.utf8.count > beginning.utf8.count + ending.utf8.count
                {
                    let variant = name.dropFirst(beginning.count).dropLast(ending.count)
                    // A shard's number is not part of the variant: "fp16-00001-of-00002".
                    if !variant.contains("-of-"), !variant.contains(".") { variants.insert(String(variant)) }
                }
            }
        }
        return variants.sorted()
    }

    private func noWeights(others: [String]) -> FormatError {
        let names = folderContents(path)
        if others.count > 1 {
            return FormatError(
                .invalid, "model.weights", "there are only variants of weights (\(others.joined(separator: ", ")))",
                at: quoted(path), try: "choose one with --variant")
        }
        let preferred = ["pytorch_model.bin", "diffusion_pytorch_model.bin"].first { names.contains($0) }
        if let pickle = preferred ?? names.first(where: isPickleName) {
            let file = quoted(joinPath(path, pickle))
            return pickleError(
                "the weights are only there as a pickle, which can run code when it is read: \(file)", file)
        }
        if let shard = names.first(where: { $0.hasSuffix(".safetensors") }) {
            return FormatError(
                .invalid, "model.weights",
                "there is \(quoted(shard)), but no \(quoted("model.safetensors")) and no index of shards",
                at: quoted(path), try: "rename it to 'model.safetensors', or fetch the missing index")
        }
        return FormatError(
            .invalid, "model.weights",
            "there are no weights (model.safetensors or diffusion_pytorch_model.safetensors)",
            at: quoted(path), try: repository.map { "fetch them with: hf download \($0)" })
    }
}
