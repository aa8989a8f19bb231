// What operations take besides tensors.

/// An elementwise function at the end of an operation.
package enum Activation: UInt8, Sendable, CaseIterable {
    case identity, relu
    /// x · Φ(x), with the error function.
    case gelu
    /// The tanh approximation ("gelu_new", "gelu_pytorch_tanh").
    case geluTanh
    /// x · sigmoid(1.702 x), CLIP's.
    case quickGelu
    /// x · sigmoid(x), also called swish.
    case silu
}

/// The work that a matrix does most of the time, for which a backend may lay it out. Every product is right with either.
package enum MatrixUse: Sendable {
    /// Many tokens of an entry of the batch at once.
    case sequences
    /// One token of each entry at a time: decoding.
    case tokens
}

/// A weight matrix `[outputs, inputs]` in whatever form a backend multiplies fastest. Models only hold it.
package final class PreparedMatrix {
    package let outputs: Int
    package let inputs: Int
    /// Bytes that one product reads.
    package let byteCount: Int
    /// The backend's own object; nobody else looks inside.
    package let form: AnyObject

    package init(outputs: Int, inputs: Int, byteCount: Int, form: AnyObject) {
        self.outputs = outputs
        self.inputs = inputs
        self.byteCount = byteCount
        self.form = form
    }
}

/// Convolution weights, `[outputs, inputs, kernel height, kernel width]` in the checkpoint, in a backend's own form.
package final class PreparedConvolution {
    package let outputs: Int
    package let inputs: Int
    package let kernelHeight: Int
    package let kernelWidth: Int
    /// Bytes that one convolution reads.
    package let byteCount: Int
    /// The backend's own object; nobody else looks inside.
    package let form: AnyObject

    package init(
        outputs: Int, inputs: Int, kernelHeight: Int, kernelWidth: Int, byteCount: Int, form: AnyObject
    ) {
        self.outputs = outputs
        self.inputs = inputs
        self.kernelHeight = kernelHeight
        self.kernelWidth = kernelWidth
        self.byteCount = byteCount
        self.form = form
    }

    /// As in the checkpoint.
    package var shape: Shape { [outputs, inputs, kernelHeight, kernelWidth] }
}

/// How a kernel moves over an image.
package struct ConvolutionGeometry: Sendable, Hashable {
    /// Output pixel (y, x) is computed at input pixel (y · stride - top, x · stride - left).
    package var stride = 1
    /// Zero rows and columns around the (upsampled) image.
    package var top = 0, left = 0, bottom = 0, right = 0
    /// 2: every input pixel stands for 2×2 pixels (nearest upsampling), read in place, never written out.
    package var upsampling = 1

    package init(stride: Int = 1, padding: Int = 0, upsampling: Int = 1) {
        self.stride = stride
        (top, left, bottom, right) = (padding, padding, padding, padding)
        self.upsampling = upsampling
    }

    package init(stride: Int, top: Int, left: Int, bottom: Int, right: Int) {
        self.stride = stride
        (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
    }

    /// The output's height and width for an input image and a kernel.
    package func outputSize(height: Int, width: Int, kernelHeight: Int, kernelWidth: Int) -> (height: Int, width: Int) {
        (
            (height * upsampling + top + bottom - kernelHeight) / stride + 1,
            (width * upsampling + left + right - kernelWidth) / stride + 1
        )
    }
}

/// A norm over the last axis: weights, and which norm it is.
package struct NormParameters {
    package enum Kind: Sendable { case layer, rms }

    package let kind: Kind
    /// `[width]`; nil stands for ones.
    package let weight: Tensor?
    /// `[width]`; nil stands for zeros. An RMS norm has none.
    package let bias: Tensor?
    package let epsilon: Float

    package init(kind: Kind, weight: Tensor?, bias: Tensor?, epsilon: Float) {
        self.kind = kind
        self.weight = weight
        self.bias = bias
        self.epsilon = epsilon
    }
}

/// A norm over groups of channels of an image.
package struct GroupNormParameters {
    package let groups: Int
    /// `[channels]`
    package let weight: Tensor
    /// `[channels]`
    package let bias: Tensor
    package let epsilon: Float

    package init(groups: Int, weight: Tensor, bias: Tensor, epsilon: Float) {
        self.groups = groups
        self.weight = weight
        self.bias = bias
        self.epsilon = epsilon
    }
}

/// Parti's convolution-shaped sparse attention: a query sees key 0 (the start token) and those earlier keys, itself
/// included, that lie in the `size`×`size` neighbourhood of its own place; key i stands at row i / columns, column
/// i mod columns.
package struct AttentionWindow: Sendable, Hashable {
    package let columns: Int
    package let size: Int

    package init(columns: Int, size: Int) {
        self.columns = columns
        self.size = size
    }

    /// Whether the query at place `query` sees the key at place `key` (causality not counted).
    package func sees(query: Int, key: Int) -> Bool {
        let reach = size / 2
        return key == 0
            || (abs(query / columns - key / columns) <= reach && abs(query % columns - key % columns) <= reach)
    }
}

/// Which keys a query sees, and what is added to the scores.
package struct AttentionMask {
    /// Query i sees keys 0...i.
    package var causal = false
    /// Only together with `causal`.
    package var window: AttentionWindow?
    /// `[key batch, keys]` float32, added to every score of that key: 0, or -infinity for padding. A row in which every
    /// key is masked gives zeros.
    package var keyBias: Tensor?
    /// `[1 or heads, queries, keys]` float32, added to the scores (relative positions).
    package var scoreBias: Tensor?

    package init(causal: Bool = false, window: AttentionWindow? = nil, keyBias: Tensor? = nil, scoreBias: Tensor? = nil)
    {
        self.causal = causal
        self.window = window
        self.keyBias = keyBias
        self.scoreBias = scoreBias
    }

    package static var none: AttentionMask { AttentionMask() }
}

/// The keys and values of one layer for all positions so far.
package struct KeyValueCache {
    /// `[batch, heads, capacity, head width]`, in the backend's `cacheType`.
    package let keys: Tensor
    /// The same shape.
    package let values: Tensor

    package init(keys: Tensor, values: Tensor) {
        self.keys = keys
        self.values = values
    }

    package var headCount: Int { keys.shape[1] }
    package var capacity: Int { keys.shape[2] }
}

/// Which half of `[…, 2 * width]` is multiplied by the other half's activation.
package enum GateOrder: Sendable {
    /// First half value, second half gate: GEGLU of diffusers.
    case valueFirst
    /// First half gate, second half value: T5's wi_0 and wi_1 stacked.
    case gateFirst
}

/// What a token is drawn with; on the device, so that a recorded step needs no host value.
package struct SamplingState {
    /// `[3]` float32: temperature (0 takes the likeliest token), top-k (0 is off), top-p (1 is off).
    package let settings: Tensor
    /// `[images, 2]` int32: low and high word of each image's seed.
    package let keys: Tensor
    /// `[1]` int32: the position in the sequence, or the index of the step.
    package let position: Tensor
    /// `[entries]` float32: guidance scale by position; positions past the end take the last entry.
    package let guidance: Tensor

    package init(settings: Tensor, keys: Tensor, position: Tensor, guidance: Tensor) {
        self.settings = settings
        self.keys = keys
        self.position = position
        self.guidance = guidance
    }
}

/// The grid that masked decoding fills, and its plan.
package struct MaskedGrid {
    /// `[images, tokens]` int32: known tokens, and `maskToken` elsewhere.
    package let tokens: Tensor
    /// `[images, tokens]` int32: every token as it is known or was last predicted, never the mask token.
    package let predicted: Tensor
    /// The id that stands for "not known yet".
    package let maskToken: Int
    /// `[steps]` int32: how many tokens the schedule leaves masked after each step; 0 after the last.
    package let remaining: Tensor
    /// `[steps]` float32: how much Gumbel noise is added to the confidences at each step.
    package let noise: Tensor
    /// `[tokens]` int32: the rank at which a place is revealed, when the order is fixed in advance (Halton); nil: the most
    /// confident places first.
    package let order: Tensor?

    package init(
        tokens: Tensor, predicted: Tensor, maskToken: Int, remaining: Tensor, noise: Tensor, order: Tensor?
    ) {
        self.tokens = tokens
        self.predicted = predicted
        self.maskToken = maskToken
        self.remaining = remaining
        self.noise = noise
        self.order = order
    }
}
