internal import CTTICUDA
package import TTICore

extension CUDABackend {
    package func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor {
        var shape = logits.shape
        precondition(shape[0] % 2 == 0, "two rows for each image: \(logits.shape)")
        shape[0] /= 2
        let result = allocate(shape, .float32)
        launch(
            kernel("guide", of: logits), elements: result.elementCount, each: 16 / logits.dtype.byteCount,
            tti_guide(
                y: result.device, logits: logits.device, guidance: state.guidance.device,
                position: state.position.device, count: Int64(result.elementCount),
                entries: Int64(state.guidance.elementCount)))
        return result
    }

    package func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        precondition(logits.rowCount == codes.shape[0], "\(logits.shape) for codes \(codes.shape)")
        return choose(logits, state, into: codes)
    }

    /// In one kernel.
    package func guideAndSample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        choose(logits, state, into: codes)
    }

    private func choose(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        let (images, rows, vocabulary) = (codes.shape[0], logits.rowCount, logits.shape.last)
        precondition(
            (rows == images || rows == 2 * images) && codes.dtype == .int32, "\(logits.shape) for codes \(codes.shape)")
        let result = allocate([images], .int32)
        let draw = tti_draw(state, images: images, vocabulary: vocabulary, on: self)
        launch(
            kernel("sample", of: logits), grid: (images, 1, 1), threads: 1024, shared: sharedBytes(vocabulary).count,
            tti_sample(
                draw: draw, y: result.device, codes: codes.device, logits: logits.device,
                guidance: state.guidance.device, images: Int64(images), tokens: Int64(codes.shape[1]),
                entries: Int64(state.guidance.elementCount), is_guided: rows == images ? 0 : 1))
        return result
    }

    package func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor {
        let (rows, codes, width) = (x.rowCount, codebook.shape[0], codebook.shape[1])
        precondition(
            x.shape.last == width && codebook.dtype == .float32, "\(x.shape) in a codebook of \(codebook.shape)")
        let result = allocate(x.shape[0..<x.shape.rank - 1], .int32)
        // As many parts of the codes as fill the device; the distances are the same in every division.
        let (blocks, tiles) = ((rows + 31) / 32, (codes + 127) / 128)
        let wanted = max(1, min(tiles, 2 * device.multiprocessorCount / max(1, blocks)))
        let tilesOfPart = (tiles + wanted - 1) / wanted
        let parts = (tiles + tilesOfPart - 1) / tilesOfPart
        let between = scratch("nearestCode", parts * rows * 8)
        let parameters = tti_nearest(
            y: result.device, x: x.device, codebook: codebook.device, parts: between.device, rows: Int64(rows),
            codes: Int64(codes), width: Int64(width), codes_of_part: Int64(128 * tilesOfPart),
            part_count: Int64(parts))
        launch(kernel("nearest_code", of: x), grid: (blocks, parts, 1), threads: 256, parameters)
        launch("nearest_code_end", elements: rows, each: 1, parameters)
        return result
    }

    /// A kernel for operands in the type of activations, or the one for float32 where that is another.
    func kernel(_ name: String, of x: Tensor) -> String {
        precondition(x.dtype == activationType || x.dtype == .float32, "\(x.dtype) \(x.shape)")
        return x.dtype == activationType ? name : name + "_float"
    }

    /// Shared memory of a block that chooses from rows of `width` numbers, with the row where that fits.
    func sharedBytes(_ width: Int) -> (count: Int, holdsRow: Bool) {
        let selection = Int(TTI_SELECTION_BYTES)
        // Ampere and Ada for the desktop and Blackwell for it have 99 KB, all others 163 KB at least; some is static.
        let most = ([80, 87].contains(device.capability) || (90..<120).contains(device.capability) ? 160 : 96) << 10
        // Static shared memory counts towards the 48 KB that nobody need ask for: near them, more is asked for.
        let needed = selection + 4 * width
        let count = needed > 44 << 10 ? max(needed, 49 << 10) : needed
        return count <= most ? (count, true) : (selection, false)
    }
}

extension tti_draw {
    /// Traps when the shapes do not belong together.
    init(_ state: SamplingState, images: Int, vocabulary: Int, on backend: CUDABackend) {
        precondition(state.keys.elementCount == 2 * images, "keys \(state.keys.shape) for \(images) images")
        precondition(state.settings.elementCount == 3, "settings \(state.settings.shape)")
        // So that neither part's sum over the vocabulary exceeds 32 bits.
        let logarithm = Int.bitWidth - max(0, vocabulary - 1).leadingZeroBitCount
        self.init(
            settings: state.settings.device, keys: state.keys.device, position: state.position.device,
            non_finite: backend.nonFinite.device, vocabulary: Int64(vocabulary),
            is_shared: backend.sharedBytes(vocabulary).holdsRow ? 1 : 0,
            weight_bits: Int32(min(31, 63 - 2 * logarithm)), low_bits: Int32(min(16, 32 - logarithm)))
    }
}
