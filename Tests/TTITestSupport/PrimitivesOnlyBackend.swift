package import TTICore

/// Another backend without its own fused operations: what is left are the defaults, the oracles of every override.
package final class PrimitivesOnlyBackend: Backend {
    package let wrapped: any Backend
    /// Whether pipelines are to replay what they can.
    package var issuesAhead = false

    package init(_ wrapped: any Backend) { self.wrapped = wrapped }

    package var name: String { wrapped.name }
    package var weightType: DType { wrapped.weightType }
    package var activationType: DType { wrapped.activationType }
    package var cacheType: DType { wrapped.cacheType }
    package var kernelType: DType { wrapped.kernelType }
    package var arena: Arena { wrapped.arena }

    package func reserve(arenaBytes: Int) throws(DeviceError) { try wrapped.reserve(arenaBytes: arenaBytes) }
    package func allocate(_ shape: Shape, _ dtype: DType) -> Tensor { wrapped.allocate(shape, dtype) }
    package func prepare(matrix: HostTensor, for use: MatrixUse) throws(DeviceError) -> PreparedMatrix {
        try wrapped.prepare(matrix: matrix, for: use)
    }
    package func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution {
        try wrapped.prepare(convolution: convolution)
    }
    package func prepare(depthwise: HostTensor) throws(DeviceError) -> Tensor {
        try wrapped.prepare(depthwise: depthwise)
    }
    package func prepare(table: HostTensor) throws(DeviceError) -> Tensor { try wrapped.prepare(table: table) }
    package func prepare(constant: HostTensor) throws(DeviceError) -> Tensor { try wrapped.prepare(constant: constant) }
    package func write(_ source: HostTensor, to tensor: Tensor) { wrapped.write(source, to: tensor) }
    package func read(_ tensor: Tensor) throws(DeviceError) -> [Float] { try wrapped.read(tensor) }
    package func readIntegers(_ tensor: Tensor) throws(DeviceError) -> [Int32] { try wrapped.readIntegers(tensor) }
    package func synchronize() throws(DeviceError) { try wrapped.synchronize() }
    package func record(_ body: @escaping () -> Void) -> any Program { wrapped.record(body) }
    package func copy(_ source: Tensor, to target: Tensor) { wrapped.copy(source, to: target) }

    package func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor { wrapped.linear(x, weight, bias: bias, activation: activation, adding: residual) }
    package func embed(_ ids: Tensor, _ table: Tensor) -> Tensor { wrapped.embed(ids, table) }
    package func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor { wrapped.convolve(x, weight, bias: bias, geometry, activation: activation, adding: residual) }
    package func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor { wrapped.depthwiseConvolve(x, weight) }
    package func norm(_ x: Tensor, _ parameters: NormParameters) -> Tensor { wrapped.norm(x, parameters) }
    package func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor {
        wrapped.groupNorm(x, parameters, activation: activation)
    }
    package func globalResponseNorm(_ x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor {
        wrapped.globalResponseNorm(x, gamma: gamma, beta: beta)
    }
    package func attention(
        _ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask
    ) -> Tensor { wrapped.attention(q, k, v, heads: heads, scale: scale, mask: mask) }
    package func castToCache(_ x: Tensor) -> Tensor { wrapped.castToCache(x) }
    package func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor) {
        wrapped.append(k, v, to: cache, at: position)
    }
    package func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor { wrapped.decodeAttention(q, over: cache, at: position, scale: scale, window: window) }
    package func rotate(_ qkv: Tensor, heads: Int, by angles: Tensor, at position: Tensor) -> Tensor {
        wrapped.rotate(qkv, heads: heads, by: angles, at: position)
    }
    package func add(_ x: Tensor, _ y: Tensor) -> Tensor { wrapped.add(x, y) }
    package func activate(_ x: Tensor, _ activation: Activation) -> Tensor { wrapped.activate(x, activation) }
    package func gate(_ x: Tensor, _ activation: Activation, _ order: GateOrder) -> Tensor {
        wrapped.gate(x, activation, order)
    }
    package func modulate(_ x: Tensor, _ modulation: Tensor) -> Tensor { wrapped.modulate(x, modulation) }
    package func concatenate(_ parts: [Tensor], axis: Int) -> Tensor { wrapped.concatenate(parts, axis: axis) }
    package func gather(_ x: Tensor, _ indices: Tensor) -> Tensor { wrapped.gather(x, indices) }
    package func depthToSpace(_ x: Tensor) -> Tensor { wrapped.depthToSpace(x) }
    package func increment(in counter: Tensor) { wrapped.increment(in: counter) }
    package func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor { wrapped.guide(logits, state) }
    package func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor {
        wrapped.sample(logits, state, into: codes)
    }
    package func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor {
        wrapped.maskedPlaces(tokens, maskToken: maskToken, count: count)
    }
    package func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid) {
        wrapped.unmask(logits, at: places, state, in: grid)
    }
    package func combine(_ output: Tensor, in state: DiffusionState) { wrapped.combine(output, in: state) }
    package func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor { wrapped.nearestCode(x, codebook) }
}
