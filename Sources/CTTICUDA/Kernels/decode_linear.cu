// Products of few rows: the matrix-vector work of decoding, bound by the bytes of the weights, which are read once for all
// rows of a block's group (at most 16; 8 in float).
//
// A block of 8 warps makes `tiles` · 8 outputs; the warps share the inputs between them, 32 at a time (64 of int8, 128 of
// float), and their sums are added in the order of the warps. Weights lie as they are, output after output: the four lanes
// of a row read 64 bytes next to each other, and what belongs to them of x is found in shared memory. They are multiplied
// by mma with x as the tall operand: 16 rows at the price of two.
//
// Sixteen loads of 16 bytes a thread (64 KB a block) are under way before the kernel waits for its inputs: they overlap the
// end of the kernel before (programmatic dependent launch). The norm of x is done here, by every block for itself: a row of
// x is a few KB in the second-level cache, a kernel of its own would cost a microsecond or two.
//
// A row's sums depend on nothing but the row and the matrix.
//
// Measured on an H200 in a chain of such products from memory, two rows of bfloat16: 2 MB in 2.2 us, 8.4 MB in 3.3, 33 MB in
// 9.8 (3.4 of 4.5 TB/s); the norm of 1024 inputs adds 0.9. The smallest kernel that was timed so, an addition, takes 2.1.
#include "device.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP)
// Loads of 16 bytes that a thread has under way.
#define IN_FLIGHT 16

// MARK: x in shared memory

// The rows of x as they are, `stride` bytes apart; zeros from the inputs to `padded`.
INLINE void stage_rows(const tti_decode_linear &p, int first, int rows, int padded, char *shared, int stride) {
    const element *x = pointer<const element>(p.x) + (int64_t)first * p.inputs;
    int vectors = padded / LANES;
    bool is_whole = (p.x | (p.inputs * sizeof(element))) % 16 == 0;
    for (int i = threadIdx.x; i < rows * vectors; i += THREADS) {
        int row = i / vectors, column = i % vectors * LANES;
        element *target = (element *)(shared + row * stride) + column;
        const element *source = x + (int64_t)row * p.inputs + column;
        if (is_whole) {
            copy_async(target, column < p.inputs ? source : x, column < p.inputs);
        } else {
            for (int j = 0; j < LANES; j++) assign(target[j], column + j < p.inputs ? to_float(source[j]) : 0.0f);
        }
    }
    copy_commit();
}

INLINE float sum_of(const floats<LANES> &v) {
    float sums[LANES];
    for (int j = 0; j < LANES; j++) sums[j] = v[j];
#pragma unroll
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int j = 0; j < half; j++) sums[j] += sums[j + half];
    }
    return sums[0];
}

// Mean and 1 / deviation of every row, a warp for each; to be followed by a barrier.
struct row_statistics {
    float mean[16], inverse[16];

    INLINE_MEMBER void find(const tti_decode_linear &p, int rows, const char *shared, int stride) {
        int lane = threadIdx.x % WARP;
        for (int row = threadIdx.x / WARP; row < rows; row += WARPS) {
            const element *x = (const element *)(shared + row * stride);
            float sum = 0, squares = 0, own_mean = 0;
            if (p.norm == TTI_LAYER_NORM) {
#pragma unroll 4
                for (int i = lane * LANES; i < p.inputs; i += WARP * LANES) sum += sum_of(load<LANES>(x + i));
                own_mean = warp_sum(sum) / p.inputs;
            }
#pragma unroll 4
            for (int i = lane * LANES; i < p.inputs; i += WARP * LANES) {
                floats<LANES> v = load<LANES>(x + i);
                for (int j = 0; j < LANES; j++) {
                    float d = i + j < p.inputs ? v[j] - own_mean : 0.0f;
                    v[j] = d * d;
                }
                squares += sum_of(v);
            }
            squares = warp_sum(squares);
            if (lane == 0) {
                mean[row] = own_mean;
                inverse[row] = rsqrtf(squares / p.inputs + p.epsilon);
            }
        }
    }
};

// Weights and biases of the norm in shared memory, `padded` of each; past the end both are zero.
struct staged_norm {
    const float *weights;
    int padded;

    // Neighbouring elements of a row, normalised.
    INLINE_MEMBER floats<LANES> apply(floats<LANES> x, int column, float mean, float inverse) const {
#pragma unroll
        for (int i = 0; i < LANES; i += 4) {
            floats<4> weight = load<4>(weights + column + i), bias = load<4>(weights + padded + column + i);
            for (int j = 0; j < 4; j++) x[i + j] = fmaf((x[i + j] - mean) * inverse, weight[j], bias[j]);
        }
        return x;
    }
};

// Weights and biases of the norm, which no kernel writes: asked for before the wait, there after the next `copy_wait`.
INLINE void stage_norm(const tti_decode_linear &p, int padded, float *norm) {
    const float *sources[2] = {pointer<const float>(p.norm_weight), pointer<const float>(p.norm_bias)};
    bool is_whole = p.inputs % 4 == 0 && (p.norm_weight | p.norm_bias) % 16 == 0;
    for (int half = 0; half < 2; half++) {
        const float *source = sources[half];
        float *target = norm + half * padded;
        for (int i = threadIdx.x * 4; i < padded; i += THREADS * 4) {
            if (source && is_whole) {
                copy_async(target + i, i < p.inputs ? source + i : source, i < p.inputs);
            } else {
                for (int j = 0; j < 4; j++) {
                    float without = half == 0 ? 1.0f : 0.0f;
                    target[i + j] = i + j >= p.inputs ? 0.0f : source ? source[i + j] : without;
                }
            }
        }
    }
}

// MARK: Outputs

// What is added to a thread's first output: asked for as soon as the inputs are there, because at the end it would be a way
// to memory and back of its own.
struct addends {
    float bias, residual;

    INLINE_MEMBER addends(const tti_decode_linear &p, int row, int output, bool is_there) : bias(0), residual(0) {
        if (!is_there || output >= p.outputs) return;
        if (p.bias) bias = pointer<const float>(p.bias)[output];
        if (p.residual) residual = to_float(pointer<const element>(p.residual)[(int64_t)row * p.outputs + output]);
    }
};

// Those of the output that a thread makes first in `reduce`.
INLINE addends first_addends(const tti_decode_linear &p, int first_row, int rows, int first_output, int outputs) {
    int row = threadIdx.x / outputs, output = threadIdx.x % outputs;
    return addends(p, first_row + row, first_output + output, row < rows);
}

// Adds the warps' parts, parts[warp][row][output], and finishes. All threads.
template <class number, class Scale>
INLINE void reduce(const tti_decode_linear &p, int first_row, int rows, int first_output, int outputs, const number *parts,
                   addends first, Scale scale) {
    __syncthreads();
    for (int i = threadIdx.x; i < rows * outputs; i += THREADS) {
        int row = i / outputs, output = i % outputs;
        if (first_output + output >= p.outputs) continue;
        addends own = i < THREADS ? first : addends(p, first_row + row, first_output + output, true);
        number sum = 0;
        for (int warp = 0; warp < WARPS; warp++) sum += parts[(warp * p.group + row) * outputs + output];
        float x = activated(scale(sum, row, first_output + output) + own.bias, p.activation) + own.residual;
        assign(pointer<element>(p.y)[(int64_t)(first_row + row) * p.outputs + first_output + output], x);
    }
}

#ifdef TTI_BF16

// MARK: bfloat16 activations

#define MOST_ROWS 16

// Weights of 16 bytes a lane: of row `lane / 4` of each tile, 16 bytes from `64 · block + 16 · (lane % 4)` on.
template <int tiles> struct weight_stream {
    const char *row[tiles];

    INLINE_MEMBER weight_stream(const tti_decode_linear &p, int first_output, int element_bytes) {
        int lane = threadIdx.x % WARP;
        for (int t = 0; t < tiles; t++) {
            // The last outputs are read again where there are no more.
            int output = min(first_output + t * 8 + lane / 4, p.outputs - 1);
            row[t] = pointer<const char>(p.weight) + (int64_t)output * p.stride * element_bytes + lane % 4 * 16;
        }
    }
    INLINE_MEMBER bytes16 get(int tile, int block) const { return load_stream(row[tile] + (int64_t)block * 64); }
};

// d[tile] += x · weights over this warp's blocks of 64 bytes. `before` is done when the first loads are under way; then x
// lies in shared memory, `stride` bytes a row, in the type of the weights.
template <int tiles, class number, class Before>
INLINE void stream(const tti_decode_linear &p, int first_output, int blocks, int element_bytes, int rows, const char *x,
                   int stride, number d[tiles][4], Before before) {
    constexpr int depth = IN_FLIGHT / tiles;
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int count = (blocks - warp + WARPS - 1) / WARPS;
    weight_stream<tiles> weights(p, first_output, element_bytes);
    bytes16 w[depth][tiles];
#pragma unroll
    for (int i = 0; i < depth; i++) {
        if (i < count) {
#pragma unroll
            for (int t = 0; t < tiles; t++) w[i][t] = weights.get(t, warp + i * WARPS);
        }
    }
    before();
    const char *own = x + lane / 4 * stride + lane % 4 * 16;
    bool has_row = lane / 4 < rows, has_second = lane / 4 + 8 < rows;
    for (int base = 0; base < count; base += depth) {
#pragma unroll
        for (int i = 0; i < depth; i++) {
            int k = base + i;
            if (k >= count) break;
            int block = warp + k * WARPS;
            bytes16 low = {{0, 0, 0, 0}}, high = {{0, 0, 0, 0}};
            if (has_row) low = *(const bytes16 *)(own + block * 64);
            if (has_second) high = *(const bytes16 *)(own + 8 * stride + block * 64);
            uint32_t first[4] = {low.word[0], high.word[0], low.word[1], high.word[1]};
            uint32_t second[4] = {low.word[2], high.word[2], low.word[3], high.word[3]};
#pragma unroll
            for (int t = 0; t < tiles; t++) {
                multiply_tile(d[t], first, &w[i][t].word[0]);
                multiply_tile(d[t], second, &w[i][t].word[2]);
            }
            if (k + depth < count) {
#pragma unroll
                for (int t = 0; t < tiles; t++) w[i][t] = weights.get(t, block + depth * WARPS);
            }
        }
    }
}

// A warp's tiles to parts[warp][row][output].
template <int tiles, class number> INLINE void put_parts(number *parts, const number d[tiles][4], int rows, int group) {
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int row = lane / 4, column = lane % 4 * 2;
    for (int t = 0; t < tiles; t++) {
        for (int j = 0; j < 4; j++) {
            int own = row + j / 2 * 8;
            if (own < rows) parts[(warp * group + own) * tiles * 8 + t * 8 + column + j % 2] = d[t][j];
        }
    }
}

// Rows as they are multiplied: normalised, rounded to elements, in place. All threads.
INLINE void normalise_rows(
    const tti_decode_linear &p, int rows, int padded, char *shared, int stride, const float *norm
) {
    __shared__ row_statistics statistics;
    statistics.find(p, rows, shared, stride);
    __syncthreads();
    for (int row = 0; row < rows; row++) {
        float mean = statistics.mean[row], inverse = statistics.inverse[row];
        for (int i = threadIdx.x * LANES; i < padded; i += THREADS * LANES) {
            element *x = (element *)(shared + row * stride) + i;
            store(x, staged_norm{norm, padded}.apply(load<LANES>(x), i, mean, inverse));
        }
    }
    __syncthreads();
}

template <int tiles> INLINE void multiply_bfloat16(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int padded = (p.inputs + 31) / 32 * 32, stride = padded * 2 + 64;
    int first_output = blockIdx.x * tiles * 8;
    float *norm = (float *)(shared + p.group * stride);
    float d[tiles][4] = {};
    addends first(p, 0, 0, false);
    stream<tiles>(p, first_output, padded / 32, 2, rows, shared, stride, d, [&] {
        if (p.norm) stage_norm(p, padded, norm);
        wait_for_inputs();
        stage_rows(p, first_row, rows, padded, shared, stride);
        first = first_addends(p, first_row, rows, first_output, tiles * 8);
        copy_wait<0>();
        __syncthreads();
        if (p.norm) normalise_rows(p, rows, padded, shared, stride, norm);
    });
    __syncthreads();
    put_parts<tiles>((float *)shared, d, rows, p.group);
    reduce(p, first_row, rows, first_output, tiles * 8, (const float *)shared, first,
           [](float sum, int, int) { return sum; });
}

// MARK: int8 weights

// The largest magnitude that each warp saw of each row.
struct row_parts {
    float of[MOST_ROWS][WARPS];

    // All lanes give theirs; to be followed by a barrier.
    INLINE_MEMBER void put(int row, float x) {
        x = warp_max(x);
        if (threadIdx.x % WARP == 0) of[row][threadIdx.x / WARP] = x;
    }
    INLINE_MEMBER float largest(int row) const {
        float most = of[row][0];
        for (int i = 1; i < WARPS; i++) most = fmaxf(most, of[row][i]);
        return most;
    }
};

// Rows of elements as int8, normalised first where that is asked for, each with a scale of its own: 127 is its largest
// magnitude. All threads; every row is shared by all warps.
INLINE void quantise_rows(const tti_decode_linear &p, int rows, int padded, char *shared, int stride, char *target,
                          int target_stride, const float *norm, float *scales) {
    __shared__ row_statistics statistics;
    __shared__ row_parts parts;
    int first = threadIdx.x * LANES;
    const int step = THREADS * LANES;
    const float infinity = as_float(0x7f800000u);
    if (p.norm) {
        statistics.find(p, rows, shared, stride);
        __syncthreads();
    }
    for (int row = 0; row < rows; row++) {
        float largest = 0;
        for (int i = first; i < padded; i += step) {
            element *x = (element *)(shared + row * stride) + i;
            floats<LANES> v = load<LANES>(x);
            if (p.norm) {
                store(x, staged_norm{norm, padded}.apply(v, i, statistics.mean[row], statistics.inverse[row]));
                v = load<LANES>(x);
            }
            // A NaN counts as infinite.
            for (int j = 0; j < LANES; j++) largest = fmaxf(largest, fabsf(v[j]) < infinity ? fabsf(v[j]) : infinity);
        }
        parts.put(row, largest);
    }
    __syncthreads();
    for (int row = 0; row < rows; row++) {
        float largest = parts.largest(row);
        bool is_finite = largest < infinity;
        float inverse = is_finite && largest > 7.888609e-31f ? __fdiv_rn(127.0f, largest) : 0.0f;
        if (threadIdx.x == 0) scales[row] = is_finite ? __fdiv_rn(largest, 127.0f) : as_float(0x7fc00000u);
        for (int i = first; i < padded; i += step) {
            floats<LANES> v = load<LANES>((const element *)(shared + row * stride) + i);
            uint32_t packed[2] = {0, 0};
            for (int j = 0; j < LANES; j++) {
                int q = is_finite ? __float2int_rn(v[j] * inverse) : 0;
                packed[j / 4] |= (uint32_t)(q & 0xff) << (8 * (j % 4));
            }
            uint32_t *place = (uint32_t *)(target + row * target_stride + i);
            place[0] = packed[0];
            place[1] = packed[1];
        }
    }
    __syncthreads();
}

template <int tiles> INLINE void multiply_int8(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    __shared__ float scales[MOST_ROWS];
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int padded = (p.inputs + 63) / 64 * 64, stride = padded * 2 + 64, own_stride = padded + 64;
    int first_output = blockIdx.x * tiles * 8;
    char *own = shared + p.group * stride;
    float *norm = (float *)(own + p.group * own_stride);
    int32_t d[tiles][4] = {};
    addends first(p, 0, 0, false);
    stream<tiles>(p, first_output, padded / 64, 1, rows, own, own_stride, d, [&] {
        if (p.norm) stage_norm(p, padded, norm);
        wait_for_inputs();
        stage_rows(p, first_row, rows, padded, shared, stride);
        first = first_addends(p, first_row, rows, first_output, tiles * 8);
        copy_wait<0>();
        __syncthreads();
        quantise_rows(p, rows, padded, shared, stride, own, own_stride, norm, scales);
    });
    __syncthreads();
    put_parts<tiles>((int32_t *)shared, d, rows, p.group);
    const float *weight_scales = pointer<const float>(p.scales);
    reduce(p, first_row, rows, first_output, tiles * 8, (const int32_t *)shared, first,
           [&](int32_t sum, int row, int output) { return __fmul_rn((float)sum, __fmul_rn(scales[row], weight_scales[output])); });
}

#define DECODE_LINEAR(tiles) \
    KERNEL_RESIDENT(decode_linear_bfloat16_##tiles, tti_decode_linear, THREADS, 2) { multiply_bfloat16<tiles>(p); } \
    KERNEL_RESIDENT(decode_linear_int8_##tiles, tti_decode_linear, THREADS, 2) { multiply_int8<tiles>(p); }

DECODE_LINEAR(1)
DECODE_LINEAR(2)
DECODE_LINEAR(3)
DECODE_LINEAR(4)
DECODE_LINEAR(6)
DECODE_LINEAR(8)

#else

// MARK: float

#define OUTPUTS 8

// Lanes read 512 bytes of an output's weights next to each other.
template <int most_rows> INLINE void multiply_float(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    __shared__ row_statistics statistics;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int padded = (p.inputs + 127) / 128 * 128, stride = padded * 4;
    float *norm = (float *)(shared + p.group * stride);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, first_output = blockIdx.x * OUTPUTS;
    float sums[OUTPUTS][most_rows] = {};
    bytes16 w[OUTPUTS];
    const char *weights[OUTPUTS];
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
        int output = min(first_output + o, p.outputs - 1);
        weights[o] = pointer<const char>(p.weight) + (int64_t)output * p.stride * 4 + lane * 16;
        if (warp * 128 + lane * 4 < p.stride) w[o] = load_stream(weights[o] + warp * 512);
    }
    if (p.norm) stage_norm(p, padded, norm);
    wait_for_inputs();
    stage_rows(p, first_row, rows, padded, shared, stride);
    addends first = first_addends(p, first_row, rows, first_output, OUTPUTS);
    copy_wait<0>();
    __syncthreads();
    if (p.norm) {
        statistics.find(p, rows, shared, stride);
        __syncthreads();
    }
    for (int block = warp; block * 128 + lane * 4 < p.stride; block += WARPS) {
        bytes16 current[OUTPUTS];
#pragma unroll
        for (int o = 0; o < OUTPUTS; o++) {
            current[o] = w[o];
            if ((block + WARPS) * 128 + lane * 4 < p.stride) w[o] = load_stream(weights[o] + (block + WARPS) * 512);
        }
#pragma unroll
        for (int r = 0; r < most_rows; r++) {
            if (r >= rows) break;
            int column = block * 128 + lane * 4;
            floats<4> x = load<4>((const float *)(shared + r * stride) + column);
            if (p.norm) x = staged_norm{norm, padded}.apply(x, column, statistics.mean[r], statistics.inverse[r]);
#pragma unroll
            for (int o = 0; o < OUTPUTS; o++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sums[o][r] = fmaf(x[j], as_float(current[o].word[j]), sums[o][r]);
            }
        }
    }
    __syncthreads();
    float *parts = (float *)shared;
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
#pragma unroll
        for (int r = 0; r < most_rows; r++) {
            if (r >= rows) break;
            float sum = warp_sum(sums[o][r]);
            if (lane == 0) parts[(warp * p.group + r) * OUTPUTS + o] = sum;
        }
    }
    reduce(p, first_row, rows, first_output, OUTPUTS, (const float *)parts, first,
           [](float sum, int, int) { return sum; });
}

KERNEL_RESIDENT(decode_linear_float_2, tti_decode_linear, THREADS, 2) { multiply_float<2>(p); }
KERNEL(decode_linear_float_8, tti_decode_linear, THREADS) { multiply_float<8>(p); }

#endif
