// Products of few rows in float32: the matrix-vector work of decoding, bound by the bytes of the weights, which are read once
// for up to 8 rows.
//
// A block of 8 warps makes 8 outputs; the warps share the inputs between them, 128 at a time, and their sums are added in the
// order of the warps. x lies in shared memory; its norm is done by every block for itself.
//
// A row's sums depend on nothing but the row and the matrix.
#include "device.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP)

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

#ifndef TTI_BF16

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
