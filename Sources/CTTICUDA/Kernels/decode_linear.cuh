// What products of few rows have in common (decode_linear.cu): x and its norm in shared memory, and the end of a product.
#pragma once

#include "device.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP)
// Numbers from one output's parts to the next in shared memory: the warps' parts side by side, and room between, so that
// neighbouring lanes use different banks.
#define PARTS 12

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

// Weights and biases of the norm in shared memory, `padded` of each; past the end both are zero. Lanes have LANES columns each:
// first come the first four of every lane, then the next.
struct staged_norm {
    const float *weights;
    int padded;

    // Where four columns from a multiple of four on begin.
    static INLINE_MEMBER int place(int column, int padded) {
        return column / LANES * 4 + column % LANES / 4 * (padded / (LANES / 4));
    }

    // Neighbouring elements of a row, normalised.
    INLINE_MEMBER floats<LANES> apply(floats<LANES> x, int column, float mean, float inverse) const {
#pragma unroll
        for (int i = 0; i < LANES; i += 4) {
            const float *own = weights + place(column + i, padded);
            floats<4> weight = load<4>(own), bias = load<4>(own + padded);
            for (int j = 0; j < 4; j++) x[i + j] = fmaf((x[i + j] - mean) * inverse, weight[j], bias[j]);
        }
        return x;
    }
};

// Weights and biases of the norm before the wait, whole vectors of a multiple of LANES inputs.
INLINE void stage_whole_norm(const tti_decode_linear &p, float *norm) {
    const float *weights = pointer<const float>(p.norm_weight), *biases = pointer<const float>(p.norm_bias);
#pragma unroll 1
    for (int i = threadIdx.x * 4; i < p.inputs; i += THREADS * 4) {
        float *target = norm + staged_norm::place(i, p.inputs);
        if (weights) copy_async(target, weights + i); else store(target, floats<4>{{1, 1, 1, 1}});
        if (biases) copy_async(target + p.inputs, biases + i); else store(target + p.inputs, floats<4>{{0, 0, 0, 0}});
    }
    copy_commit();
}

// Weights and biases of the norm, which no kernel writes: asked for before the wait, there after the next `copy_wait`.
INLINE void stage_norm(const tti_decode_linear &p, int padded, float *norm) {
    const float *sources[2] = {pointer<const float>(p.norm_weight), pointer<const float>(p.norm_bias)};
    bool is_whole = p.inputs % 4 == 0 && (p.norm_weight | p.norm_bias) % 16 == 0;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float *source = sources[half];
        float *target = norm + half * padded;
        bool is_copied = source && is_whole;
#pragma unroll 1
        for (int i = threadIdx.x * 4; i < padded; i += THREADS * 4) {
            float *place = target + staged_norm::place(i, padded);
            if (is_copied) {
                copy_async(place, i < p.inputs ? source + i : source, i < p.inputs);
            } else {
#pragma unroll 1
                for (int j = 0; j < 4; j++) {
                    float without = half == 0 ? 1.0f : 0.0f;
                    place[j] = i + j >= p.inputs ? 0.0f : source ? source[i + j] : without;
                }
            }
        }
    }
}

// MARK: Outputs

// What is added to an output.
struct addends {
    const float *bias_place;
    const element *residual_place;
    float bias;
    element residual;

    // Where they are, or nowhere.
    INLINE_MEMBER addends(const tti_decode_linear &p, int row, int output, bool is_there)
        : bias_place(nullptr), residual_place(nullptr), bias(0), residual() {
        if (!is_there || output >= p.outputs) return;
        if (p.bias) bias_place = pointer<const float>(p.bias) + output;
        if (p.residual) residual_place = pointer<const element>(p.residual) + (int64_t)row * p.outputs + output;
    }
    INLINE_MEMBER void ask() {
        if (bias_place) bias = load_written(bias_place);
        if (residual_place) residual = load_written(residual_place);
    }
};

// Those of the output that a thread makes first in `reduce`: to be asked for as soon as the inputs are there, because at the
// end it would be a way to memory and back of its own.
template <int outputs>
INLINE addends first_addends(const tti_decode_linear &p, int first_row, int rows, int first_output) {
    int row = threadIdx.x / outputs, output = threadIdx.x % outputs;
    addends first(p, first_row + row, first_output + output, row < rows);
    settle(first.bias_place);
    settle(first.residual_place);
    return first;
}

template <int outputs>
INLINE addends ask_for_addends(const tti_decode_linear &p, int first_row, int rows, int first_output) {
    addends first = first_addends<outputs>(p, first_row, rows, first_output);
    first.ask();
    return first;
}

template <class number> struct __align__(16) four_of {
    number v[4];
    INLINE_MEMBER number sum() const { return (v[0] + v[1]) + (v[2] + v[3]); }
};

// Adds the warps' parts, `PARTS` from one output of a row to the next, and finishes. All threads.
template <int outputs, class number, class Scale>
INLINE void reduce(const tti_decode_linear &p, int first_row, int rows, int first_output, const number *parts, addends first,
                   Scale scale) {
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < rows * outputs; i += THREADS) {
        int row = i / outputs, output = first_output + i % outputs;
        if (output >= p.outputs) continue;
        if (i >= THREADS) {
            first = addends(p, first_row + row, output, true);
            first.ask();
        }
        const four_of<number> *own = (const four_of<number> *)(parts + i * PARTS);
        float x = scale(own[0].sum() + own[1].sum(), i, row, output) + first.bias;
        // The usual two without a table of branches, which would come from memory.
        if (p.activation != 0) x = p.activation == 2 ? gelu(x) : activated(x, p.activation);
        assign(pointer<element>(p.y)[(int64_t)(first_row + row) * p.outputs + output], x + to_float(first.residual));
    }
}
