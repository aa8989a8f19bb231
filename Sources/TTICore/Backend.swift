/// What a device can do: memory, operations, fused operations, recording.
///
/// Primitive operations are what every backend must have. Fused operations are requirements too, but each has a default
/// built from primitives (`Backend+Fused.swift`), which is also the oracle of every override.
///
/// Rules that hold for all operations:
/// - Tensors are contiguous and row-major. Results are new tensors in the arena, in `activationType` unless it says
///   otherwise; arguments named `in` or `into` are changed in place.
/// - A wrong shape is our own fault and traps with the shapes in the message. Nothing here throws: faults of the device are
///   kept and thrown by `read` and `synchronize`.
/// - A row's result never depends on how many rows there are, nor on the number of threads: batch n equals n singles, bit
///   for bit. So the path of a product is chosen by the tokens of one batch entry, never by the batch.
package protocol Backend: AnyObject {
    /// "cpu", "cuda:0".
    var name: String { get }
    /// How weight matrices are held and multiplied: float32, bfloat16 or int8 (tables, and kernels but for
    /// `kernelType`, are then bfloat16, and rows are quantised as they come). Sums are float32, or exact.
    var weightType: DType { get }
    /// The element type of activations: float32 on a CPU.
    var activationType: DType { get }
    /// The element type of `KeyValueCache`.
    var cacheType: DType { get }
    /// The type of kernels of convolutions between many channels (`kernelType(outputs:inputs:)`).
    var kernelType: DType { get }
    /// How `attention` is computed; the results differ by rounding only.
    var attentionForm: AttentionForm { get }
    /// Whether operations are done behind the host that issues them, so that waiting and single launches cost, and what was
    /// recorded is cheap to do again.
    var issuesAhead: Bool { get }
    /// Where results go.
    var arena: Arena { get }

    // MARK: Memory

    /// Makes the arena at least this large; whatever is in it is lost, so only between requests.
    func reserve(arenaBytes: Int) throws(DeviceError)
    /// A tensor in the arena, its contents undefined.
    func allocate(_ shape: Shape, _ dtype: DType) -> Tensor
    /// A matrix `[outputs, inputs]` (a Linear's weight), packed for this device.
    /// - Parameter use: how many tokens it is mostly multiplied with; a hint.
    func prepare(matrix: HostTensor, for use: MatrixUse) throws(DeviceError) -> PreparedMatrix
    /// A kernel `[outputs, inputs, height, width]`, packed for this device.
    func prepare(convolution: HostTensor) throws(DeviceError) -> PreparedConvolution
    /// A depthwise kernel `[channels, 1, height, width]` as `[height, width, channels]` float32.
    func prepare(depthwise: HostTensor) throws(DeviceError) -> Tensor
    /// An embedding table `[rows, width]` in `weightType`, or bfloat16 beside int8.
    func prepare(table: HostTensor) throws(DeviceError) -> Tensor
    /// Anything small that is read as it is (norm weights, biases, codebooks): float32, or int32 for integers; kept until
    /// the last reference goes.
    func prepare(constant: HostTensor) throws(DeviceError) -> Tensor
    /// Fills a tensor; floating-point sources are converted, int64 becomes int32. Traps when the shapes' counts differ.
    func write(_ source: HostTensor, to tensor: Tensor)
    /// Waits, then gives the elements as float32 numbers.
    func read(_ tensor: Tensor) throws(DeviceError) -> [Float]
    /// Waits, then gives the elements of an int32 tensor.
    func readIntegers(_ tensor: Tensor) throws(DeviceError) -> [Int32]
    /// Waits for everything issued; throws what went wrong since the last time, a number that is not finite included.
    func synchronize() throws(DeviceError)
    /// Does `body` once and keeps it for replay, which begins at the mark at which the arena stands now (see `Program`).
    func record(_ body: @escaping () -> Void) -> any Program
    /// Copies the elements of one tensor to another of the same count and type; they may overlap.
    func copy(_ source: Tensor, to target: Tensor)
    /// Makes the last operation's result at `target` instead, which has its size, when it has not been begun; nobody may read
    /// `source` afterwards. False: nothing has been done.
    func redirect(_ source: Tensor, to target: Tensor) -> Bool

    // MARK: Dense

    /// activation(x · weightᵀ + bias) + residual.
    /// - Parameters:
    ///   - x: `[…, inputs]`
    ///   - bias: `[outputs]`
    ///   - residual: the result's shape.
    /// - Returns: `[…, outputs]`
    func linear(
        _ x: Tensor, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation, adding residual: Tensor?
    ) -> Tensor
    /// Rows of a table.
    /// - Parameters:
    ///   - ids: `[…]` int32, each below `rows` (traps on the CPU, undefined elsewhere).
    ///   - table: `[rows, width]` in any floating-point type.
    /// - Returns: `[…, width]`
    func embed(_ ids: Tensor, _ table: Tensor) -> Tensor
    /// activation(convolution(x) + bias) + residual.
    /// - Parameters:
    ///   - x: `[batch, height, width, channels]`
    ///   - bias: `[outputs]`
    ///   - residual: the result's shape.
    /// - Returns: `[batch, output height, output width, outputs]`
    func convolve(
        _ x: Tensor, _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry,
        activation: Activation, adding residual: Tensor?
    ) -> Tensor
    /// Each channel with its own kernel, zero padding to the same size, no bias.
    /// - Parameters:
    ///   - x: `[batch, height, width, channels]`
    ///   - weight: `[kernel height, kernel width, channels]` (from `prepare(depthwise:)`), both odd.
    /// - Returns: the shape of `x`.
    func depthwiseConvolve(_ x: Tensor, _ weight: Tensor) -> Tensor

    // MARK: Norms

    /// (x - mean) / √(variance + ε) · weight + bias over the last axis, or its RMS form x / √(mean x² + ε) · weight.
    func norm(_ x: Tensor, _ parameters: NormParameters) -> Tensor
    /// Over the pixels and channels of each group of an image, then the activation.
    /// - Parameter x: `[batch, height, width, channels]`
    func groupNorm(_ x: Tensor, _ parameters: GroupNormParameters, activation: Activation) -> Tensor
    /// ConvNeXt V2's: n = ‖x‖₂ over the pixels of a channel / (its mean over channels + 1e-6); gamma · x · n + beta + x.
    /// - Parameters:
    ///   - x: `[batch, height, width, channels]`
    ///   - gamma: `[channels]`
    ///   - beta: `[channels]`
    func globalResponseNorm(_ x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor

    // MARK: Attention

    /// softmax(q · kᵀ · scale + mask) · v for whole sequences, head by head.
    /// - Parameters:
    ///   - q: `[batch, queries, heads · head width]`
    ///   - k: `[key batch, keys, heads · head width]`. The key batch divides the batch: entry b of the queries reads entry
    ///     b · key batch / batch of the keys, so that images of one prompt share them.
    ///   - v: like `k`.
    ///   - scale: usually 1/√(head width).
    /// - Returns: `[batch, queries, heads · head width]`
    func attention(_ q: Columns, _ k: Columns, _ v: Columns, heads: Int, scale: Float, mask: AttentionMask) -> Tensor
    /// `x` in the type of caches, for keys and values that every token reads again; `x` itself when it has that type.
    /// `attention` takes keys and values in either type.
    func castToCache(_ x: Tensor) -> Tensor
    /// Writes keys and values of one token for each batch entry at `position`.
    /// - Parameters:
    ///   - k: `[batch, 1, heads · head width]`
    ///   - v: like `k`.
    ///   - position: `[1]` int32, below the capacity.
    func append(_ k: Columns, _ v: Columns, to cache: KeyValueCache, at position: Tensor)
    /// One query for each batch entry over the cache's positions 0...position (flash decoding: online softmax, split over
    /// keys, no score buffer as long as the sequence).
    /// - Parameters:
    ///   - q: `[batch, 1, heads · head width]`
    ///   - position: `[1]` int32: the query's own place, already in the cache.
    ///   - window: leaves out keys that the query at `position` does not see.
    /// - Returns: `[batch, 1, heads · head width]`
    func decodeAttention(
        _ q: Columns, over cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor

    /// Turns queries and keys by the angles of their places (rotary positions, Su et al. 2021): of every head the pair of
    /// elements (2i, 2i + 1) becomes (a · cos - b · sin, b · cos + a · sin). Values stay as they are.
    /// - Parameters:
    ///   - qkv: `[batch, tokens, 3 · heads · head width]`: queries, keys, values.
    ///   - angles: `[places, head width]` float32: cosine and sine of every pair, in turns.
    ///   - position: `[1]` int32: the first token's place; the others follow.
    /// - Returns: the shape of `qkv`.
    func rotate(_ qkv: Tensor, heads: Int, by angles: Tensor, at position: Tensor) -> Tensor

    // MARK: Elementwise and layout

    /// x + y, where y's elements repeat: y's count divides x's.
    func add(_ x: Tensor, _ y: Tensor) -> Tensor
    /// The function of every element.
    func activate(_ x: Tensor, _ activation: Activation) -> Tensor
    /// value · activation(gate) of the two halves of the last axis.
    /// - Parameter x: `[…, 2 · width]`
    /// - Returns: `[…, width]`
    func gate(_ x: Tensor, _ activation: Activation, _ order: GateOrder) -> Tensor
    /// x · (1 + scale) + shift.
    /// - Parameters:
    ///   - x: `[batch, …, width]`
    ///   - modulation: `[modulation batch, 2 · width]`: scale, then shift. Its batch divides the batch, as keys' does.
    func modulate(_ x: Tensor, _ modulation: Tensor) -> Tensor
    /// Joined along an axis; all of one type, any four-byte type.
    func concatenate(_ parts: [Tensor], axis: Int) -> Tensor
    /// Rows by index.
    /// - Parameters:
    ///   - x: `[batch, tokens, width]`
    ///   - indices: `[batch or more, count]` int32; -1 gives zeros. When there are more rows of indices than of `x`, entry b
    ///     reads entry b · batch / (rows of indices).
    /// - Returns: `[rows of indices, count, width]`
    func gather(_ x: Tensor, _ indices: Tensor) -> Tensor
    /// Every pixel's 4 · channels values as 2×2 pixels: value (dy, dx, channel) goes to pixel (2y + dy, 2x + dx).
    /// - Parameter x: `[batch, height, width, 4 · channels]`
    /// - Returns: `[batch, 2 · height, 2 · width, channels]`
    func depthToSpace(_ x: Tensor) -> Tensor
    /// Adds 1 to every element of an int32 tensor.
    func increment(in counter: Tensor)

    // MARK: Choice

    /// Classifier-free guidance: unconditional + g · (conditional - unconditional), g = guidance[position].
    /// - Parameter logits: `[2 · images, …]` float32 or activations: all unconditional rows, then all conditional ones.
    /// - Returns: `[images, …]` float32: guidance is a multiple of a difference, whose bits a choice and a sampler depend on.
    func guide(_ logits: Tensor, _ state: SamplingState) -> Tensor
    /// One token for each image by Gumbel-max: argmax(logits / temperature + Gumbel noise) over what top-k, then top-p leave
    /// (in transformers' order and meaning), ties to the lower id. Noise is `RandomStream`'s: purpose token, position,
    /// index = token.
    /// - Parameters:
    ///   - logits: `[images, vocabulary]` float32 or activations
    ///   - codes: `[images, tokens]` int32; the token is also written at `position`.
    /// - Returns: `[images]` int32
    func sample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor
    /// The first `count` places of each image that are still masked, in ascending order, then -1.
    /// - Parameter tokens: `[images, tokens]` int32
    /// - Returns: `[images, count]` int32
    func maskedPlaces(_ tokens: Tensor, maskToken: Int, count: Int) -> Tensor
    /// One step of masked decoding (MaskGIT; aMUSEd's scheduler): draws a token for every masked place, keeps the most
    /// confident ones and masks the rest again, as many as `grid.remaining[position]` says, but at least one fewer than were
    /// masked, and at least one, except after the last step, which leaves none.
    ///
    /// A token is drawn as `sample` draws, with index = place · vocabulary + token and position = the step. Its confidence is
    /// log(probability at temperature 1, before top-k and top-p) + grid.noise[step] · Gumbel noise (purpose confidence,
    /// index = place). With `grid.order`, places are revealed by rank instead.
    /// - Parameters:
    ///   - logits: `[images or 1, count, vocabulary]` float32 or activations; one row of logits serves all images.
    ///   - places: `[images, count]` int32 from `maskedPlaces`.
    ///   - grid: `tokens` and `predicted` are changed in place.
    func unmask(_ logits: Tensor, at places: Tensor, _ state: SamplingState, in grid: MaskedGrid)
    /// One step of diffusion: the predicted picture from the network's output, then the next sample and what is kept, each a
    /// weighted sum of what there was before the step, the output, the limited prediction and the step's noise.
    /// - Parameters:
    ///   - output: `[images, height, width, channels]` float32 or activations, guided.
    ///   - state: `latents` and `input` are changed in place, with the weights of step `state.position`.
    func combine(_ output: Tensor, in state: DiffusionState)
    /// The index of the nearest code (Euclidean; ties to the lower index) to every row.
    /// - Parameters:
    ///   - x: `[…, width]`
    ///   - codebook: `[codes, width]` float32
    /// - Returns: `[…]` int32
    func nearestCode(_ x: Tensor, _ codebook: Tensor) -> Tensor

    // MARK: Fused, each with a default

    /// The concatenation of two, which a step does: without a list, which would be on the heap.
    func concatenate(_ x: Tensor, _ y: Tensor, axis: Int) -> Tensor
    /// linear(norm(x)).
    func normLinear(
        _ x: Tensor, _ norm: NormParameters, _ weight: PreparedMatrix, bias: Tensor?, activation: Activation
    ) -> Tensor
    /// modulate(norm(x), modulation).
    func normModulate(_ x: Tensor, _ norm: NormParameters, _ modulation: Tensor) -> Tensor
    /// linear(gate(linear(norm(x), input) + inputBias), output) + outputBias + residual; nil: no norm.
    func gatedFeedForward(
        _ x: Tensor, _ norm: NormParameters?, input: PreparedMatrix, inputBias: Tensor?, output: PreparedMatrix,
        outputBias: Tensor?, activation: Activation, order: GateOrder, adding residual: Tensor?
    ) -> Tensor
    /// convolve(groupNorm(x, activation)).
    func groupNormConvolve(
        _ x: Tensor, _ norm: GroupNormParameters, activation: Activation, _ weight: PreparedConvolution, bias: Tensor?,
        _ geometry: ConvolutionGeometry, adding residual: Tensor?
    ) -> Tensor
    /// linear(concatenate(x, other)) along the last axis.
    func joinedLinear(_ x: Tensor, _ other: Tensor, _ weight: PreparedMatrix, bias: Tensor?) -> Tensor
    /// groupNorm(concatenate(x, other)) along the channels.
    /// - Parameters:
    ///   - x: `[batch, height, width, channels]`
    ///   - other: `[batch, height, width, other channels]`
    func joinedGroupNorm(
        _ x: Tensor, _ other: Tensor, _ parameters: GroupNormParameters, activation: Activation
    ) -> Tensor
    /// convolve(joinedGroupNorm(x, other)): what a UNet's way out does with what its way in left.
    func joinedGroupNormConvolve(
        _ x: Tensor, _ other: Tensor, _ norm: GroupNormParameters, activation: Activation,
        _ weight: PreparedConvolution, bias: Tensor?, _ geometry: ConvolutionGeometry
    ) -> Tensor
    /// Appends this token's keys and values, then attends over the cache.
    /// - Parameter qkv: `[batch, 1, 3 · heads · head width]`
    func qkvDecodeAttention(
        _ qkv: Tensor, _ cache: KeyValueCache, at position: Tensor, scale: Float, window: AttentionWindow?
    ) -> Tensor
    /// sample(guide(logits)) when there are two rows for each image, else sample(logits).
    /// - Parameter logits: `[images or 2 · images, vocabulary]` float32 or activations
    func guideAndSample(_ logits: Tensor, _ state: SamplingState, into codes: Tensor) -> Tensor
}

extension Backend {
    package var kernelType: DType { weightType.besideMatrices }

    /// In what a kernel is held: never in int8 where channels are few, as pixels and latents have.
    package func kernelType(outputs: Int, inputs: Int) -> DType {
        kernelType == .int8 && (outputs < 32 || inputs < 32) ? .bfloat16 : kernelType
    }
}
