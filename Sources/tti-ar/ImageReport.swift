internal import TTI
internal import TTIFormats

/// What `generate --json` says of an image.
struct ImageReport {
    let path: String
    let id: String
    let index: Int
    let prompt: String
    let metadata: ImageMetadata
    let settings: ResolvedSettings
    let truncatedTokens: Int
    let timings: GenerationTimings

    var json: JSON {
        let stored = metadata.json
        return [
            "path": JSON(path), "id": JSON(id), "index": JSON(index), "seed": stored["seed"] ?? nil,
            "prompt": JSON(prompt),
            "mode": JSON(settings.mode.rawValue), "checkpoint": stored["checkpoint"] ?? nil,
            "backend": stored["backend"] ?? nil, "device": stored["device"] ?? nil, "dtype": stored["dtype"] ?? nil,
            "width": JSON(settings.width),
            "height": JSON(settings.height), "steps": JSON(settings.steps), "truncated_tokens": JSON(truncatedTokens),
            "timings": timings.json,
            // Everything that --from needs.
            "settings": stored,
        ]
    }

    /// What is said of a picture that was there and is left alone: of its making only what it says itself.
    static func skipped(path: String, id: String, index: Int, _ metadata: ImageMetadata?) -> JSON {
        var members = JSONObject()
        members.set("path", JSON(path))
        members.set("id", JSON(id))
        members.set("index", JSON(index))
        for key in [
            "seed", "prompt", "mode", "checkpoint", "backend", "device", "dtype", "width", "height", "steps",
        ] {
            if let value = metadata?.json[key] { members.set(ByteString(key), value) }
        }
        members.set("timings", GenerationTimings().json)
        if let metadata { members.set("settings", metadata.json) }
        members.set("skipped", true)
        return .members(members)
    }
}

extension GenerationTimings {
    var json: JSON {
        let step = stepMilliseconds / 1000
        return [
            "load_s": JSON(load), "encode_s": JSON(encode), "decode_s": JSON(decode), "detokenize_s": JSON(detokenize),
            "total_s": JSON(total), "tokens": JSON(tokens),
            "tokens_per_s": JSON(decode > 0 ? Double(tokens) / decode : 0),
            "steps": JSON(steps), "step_ms_median": JSON(stepMilliseconds),
            "weight_bytes_per_step": JSON(weightBytesPerStep), "flops_per_step": JSON(flopsPerStep),
            "bandwidth_gb_s": JSON(step > 0 ? Double(weightBytesPerStep) / step / 1e9 : 0),
            "tflop_s": JSON(step > 0 ? Double(flopsPerStep) / step / 1e12 : 0), "peak_memory_bytes": JSON(peakMemory),
        ]
    }
}
