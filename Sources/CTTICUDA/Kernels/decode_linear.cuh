// What products of few rows are made of, for the kernel of one product (decode_linear.cu) and for that of many operations
// (decode_run.cu), which give the same bits: x in shared memory as it is multiplied, the norm, the end of a product.
//
// A block has 8 warps, which share the inputs between them, 64 bytes of an output's weights at a time (512 in float); their
// sums are added in the order of the warps. A row's sums depend on nothing but the row and the matrix.
#pragma once
#include "device.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP)
#define MOST_ROWS 16

// MARK: x in shared memory

// Elements that the block's threads take of a row at a time: a thread has the same vectors of every row.
#define ROW_STEP (THREADS * LANES)

// The rows of x as they are, `stride` bytes apart; zeros from the inputs to `padded`. `asynchronously`: all is there after
// the thread's next `copy_wait<0>`, its own vectors for itself, those of others after a barrier.
template <bool asynchronously>
INLINE void stage_rows(const tti_decode_linear &p, int first, int rows, int padded, char *shared, int stride) {
    const element *x = pointer<const element>(p.x) + (int64_t)first * p.inputs;
    bool is_whole = (p.x | (p.inputs * sizeof(element))) % 16 == 0;
    for (int row = 0; row < rows; row++) {
        const element *source = x + (int64_t)row * p.inputs;
        element *target = (element *)(shared + row * stride);
#pragma unroll 4
        for (int column = threadIdx.x * LANES; column < padded; column += ROW_STEP) {
            bool is_inside = column < p.inputs;
            if (!is_whole) {
                for (int j = 0; j < LANES; j++) {
                    assign(target[column + j], column + j < p.inputs ? to_float(source[column + j]) : 0.0f);
                }
            } else if (asynchronously) {
                copy_async(target + column, is_inside ? source + column : x, is_inside);
            } else {
                bytes16 v = {{0, 0, 0, 0}};
                if (is_inside) v = *(const bytes16 *)(source + column);
                *(bytes16 *)(target + column) = v;
            }
        }
    }
    if (asynchronously) copy_commit();
}

// MARK: Norm

// Weights and biases of the norm, which no kernel writes: asked for before the wait. In shared memory, `padded` of each; past
// the end both are zero. To be followed by a barrier, and by `copy_wait<0>` where it is done asynchronously.
template <bool asynchronously> INLINE void stage_norm(const tti_decode_linear &p, int padded, float *norm) {
    const float *sources[2] = {pointer<const float>(p.norm_weight), pointer<const float>(p.norm_bias)};
    bool is_whole = p.inputs % 4 == 0 && (p.norm_weight | p.norm_bias) % 16 == 0;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float *source = sources[half];
        float *target = norm + half * padded;
#pragma unroll 4
        for (int i = threadIdx.x * 4; i < padded; i += THREADS * 4) {
            if (source && is_whole && asynchronously) {
                copy_async(target + i, i < p.inputs ? source + i : source, i < p.inputs);
            } else if (source && is_whole) {
                floats<4> v = {{0, 0, 0, 0}};
                if (i < p.inputs) v = load<4>(source + i);
                store(target + i, v);
            } else {
                for (int j = 0; j < 4; j++) {
                    float without = half == 0 ? 1.0f : 0.0f;
                    target[i + j] = i + j >= p.inputs ? 0.0f : source ? source[i + j] : without;
                }
            }
        }
    }
}

// Weights and biases of the norm in shared memory.
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

INLINE float sum_of(const floats<LANES> &v) {
    float sums[LANES];
    for (int j = 0; j < LANES; j++) sums[j] = v[j];
#pragma unroll
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int j = 0; j < half; j++) sums[j] += sums[j + half];
    }
    return sums[0];
}

// Mean and 1 / deviation of every row. The warps' means and squares around them are merged (Chan et al.): one pass over what
// lies in shared memory, as good as two.
struct row_statistics {
    float mean[MOST_ROWS], inverse[MOST_ROWS];
    float warp_mean[MOST_ROWS][WARPS], warp_squares[MOST_ROWS][WARPS];

    // All threads, of which each has staged its own vectors; ends with a barrier.
    INLINE_MEMBER void find(const tti_decode_linear &p, int rows, const char *shared, int stride) {
        int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
        bool is_layer = p.norm == TTI_LAYER_NORM;
        // Where a warp is not used whole, a warp for each row.
        if (p.inputs % (WARP * LANES) != 0) {
            __syncthreads();
            for (int row = warp; row < rows; row += WARPS) find_row(p, row, (const element *)(shared + row * stride));
            __syncthreads();
            return;
        }
        for (int row = 0; row < rows; row++) {
            const element *x = (const element *)(shared + row * stride);
            float own_mean = 0, squares = 0;
            int count = 0;
            if (is_layer) {
                float sum = 0;
#pragma unroll 2
                for (int i = threadIdx.x * LANES; i < p.inputs; i += ROW_STEP, count += LANES) {
                    sum += sum_of(load<LANES>(x + i));
                }
                own_mean = count > 0 ? __fdividef(sum, (float)count) : 0.0f;
            }
#pragma unroll 2
            for (int i = threadIdx.x * LANES; i < p.inputs; i += ROW_STEP) {
                floats<LANES> v = load<LANES>(x + i);
                for (int j = 0; j < LANES; j++) v[j] = (v[j] - own_mean) * (v[j] - own_mean);
                squares += sum_of(v);
            }
            if (is_layer) {
                float half = 0.5f * count;
#pragma unroll
                for (int offset = 1; offset < WARP; offset *= 2, half *= 2) {
                    float other = __shfl_xor_sync(ALL_LANES, own_mean, offset), apart = other - own_mean;
                    squares += __shfl_xor_sync(ALL_LANES, squares, offset);
                    squares = fmaf(apart * apart, half, squares);
                    own_mean = 0.5f * (own_mean + other);
                }
            } else {
                squares = warp_sum(squares);
            }
            if (lane == 0) {
                warp_mean[row][warp] = own_mean;
                warp_squares[row][warp] = squares;
            }
        }
        __syncthreads();
        if ((int)threadIdx.x < rows) merge(p, threadIdx.x);
        __syncthreads();
    }

    INLINE_MEMBER void merge(const tti_decode_linear &p, int row) {
        float sum = 0, squares = 0, counts[WARPS];
#pragma unroll
        for (int i = 0; i < WARPS; i++) {
            counts[i] = (p.inputs + (WARPS - 1 - i) * WARP * LANES) / ROW_STEP * (WARP * LANES);
            sum = fmaf(warp_mean[row][i], counts[i], sum);
        }
        float own_mean = sum / p.inputs;
#pragma unroll
        for (int i = 0; i < WARPS; i++) {
            float apart = warp_mean[row][i] - own_mean;
            squares += fmaf(apart * apart, counts[i], warp_squares[row][i]);
        }
        mean[row] = own_mean;
        inverse[row] = rsqrtf(squares / p.inputs + p.epsilon);
    }

    INLINE_MEMBER void find_row(const tti_decode_linear &p, int row, const element *x) {
        int lane = threadIdx.x % WARP;
        float sum = 0, squares = 0, own_mean = 0;
        if (p.norm == TTI_LAYER_NORM) {
            for (int i = lane * LANES; i < p.inputs; i += WARP * LANES) sum += sum_of(load<LANES>(x + i));
            own_mean = warp_sum(sum) / p.inputs;
        }
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
};

#ifdef TTI_BF16

// Rows as they are multiplied: normalised, rounded to elements, in place. All threads; to be followed by a barrier.
INLINE void normalise_rows(
    const tti_decode_linear &p, int rows, int padded, char *shared, int stride, const float *norm,
    row_statistics &statistics
) {
    statistics.find(p, rows, shared, stride);
    for (int row = 0; row < rows; row++) {
        float mean = statistics.mean[row], inverse = statistics.inverse[row];
        for (int i = threadIdx.x * LANES; i < padded; i += ROW_STEP) {
            element *x = (element *)(shared + row * stride) + i;
            store(x, staged_norm{norm, padded}.apply(load<LANES>(x), i, mean, inverse));
        }
    }
}

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

// What turning rows into int8 takes besides them.
struct quantiser {
    row_statistics statistics;
    row_parts parts;
    // What a unit of a row stands for.
    float scales[MOST_ROWS];
};

// Rows of elements as int8 in `target`, normalised first where that is asked for, each with a scale of its own: 127 is its
// largest magnitude. All threads, of which each has staged its own vectors; every row is shared by all warps. To be followed
// by a barrier.
INLINE void quantise_rows(const tti_decode_linear &p, int rows, int padded, char *shared, int stride, char *target,
                          int target_stride, const float *norm, quantiser &q) {
    int first = threadIdx.x * LANES;
    const float infinity = as_float(0x7f800000u);
    if (p.norm) q.statistics.find(p, rows, shared, stride);
    for (int row = 0; row < rows; row++) {
        float largest = 0;
        for (int i = first; i < padded; i += ROW_STEP) {
            element *x = (element *)(shared + row * stride) + i;
            floats<LANES> v = load<LANES>(x);
            if (p.norm) {
                store(x, staged_norm{norm, padded}.apply(v, i, q.statistics.mean[row], q.statistics.inverse[row]));
                v = load<LANES>(x);
            }
            // A NaN counts as infinite.
            for (int j = 0; j < LANES; j++) largest = fmaxf(largest, fabsf(v[j]) < infinity ? fabsf(v[j]) : infinity);
        }
        q.parts.put(row, largest);
    }
    __syncthreads();
    for (int row = 0; row < rows; row++) {
        float largest = q.parts.largest(row);
        bool is_finite = largest < infinity;
        float inverse = is_finite && largest > 7.888609e-31f ? __fdiv_rn(127.0f, largest) : 0.0f;
        if (threadIdx.x == 0) q.scales[row] = is_finite ? __fdiv_rn(largest, 127.0f) : as_float(0x7fc00000u);
        for (int i = first; i < padded; i += ROW_STEP) {
            floats<LANES> v = load<LANES>((const element *)(shared + row * stride) + i);
            uint32_t packed[2] = {0, 0};
            for (int j = 0; j < LANES; j++) {
                int n = is_finite ? __float2int_rn(v[j] * inverse) : 0;
                packed[j / 4] |= (uint32_t)(n & 0xff) << (8 * (j % 4));
            }
            uint32_t *place = (uint32_t *)(target + row * target_stride + i);
            place[0] = packed[0];
            place[1] = packed[1];
        }
    }
}

// MARK: Products

// One block of 64 bytes of the inputs: d[tile] += x · weights. `x` points to the lane's part of its row.
template <int tiles, class number>
INLINE void multiply_block(const char *x, int stride, int rows, const bytes16 w[tiles], number d[tiles][4]) {
    int row = threadIdx.x % WARP / 4;
    bytes16 low = {{0, 0, 0, 0}}, high = {{0, 0, 0, 0}};
    if (row < rows) low = *(const bytes16 *)x;
    if (row + 8 < rows) high = *(const bytes16 *)(x + 8 * stride);
    uint32_t first[4] = {low.word[0], high.word[0], low.word[1], high.word[1]};
    uint32_t second[4] = {low.word[2], high.word[2], low.word[3], high.word[3]};
#pragma unroll
    for (int t = 0; t < tiles; t++) {
        multiply_tile(d[t], first, &w[t].word[0]);
        multiply_tile(d[t], second, &w[t].word[2]);
    }
}

// A warp's tiles to parts[warp][row][output], `group` rows.
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

#endif

// MARK: Outputs

// What an output takes besides the sum: asked for early, because at the end it would be a way to memory and back of its own.
struct addends {
    float bias, residual, scale;

    // Constants, which no kernel writes.
    INLINE_MEMBER addends(const tti_decode_linear &p, int output) : bias(0), residual(0), scale(0) {
        if (output >= p.outputs) return;
        if (p.bias) bias = pointer<const float>(p.bias)[output];
        if (p.scales) scale = pointer<const float>(p.scales)[output];
    }
    INLINE_MEMBER void ask_residual(const tti_decode_linear &p, int row, int rows, int output) {
        if (!p.residual || row >= rows || output >= p.outputs) return;
        residual = to_float(pointer<const element>(p.residual)[(int64_t)row * p.outputs + output]);
    }
};

// The row and output that a thread ends first in `reduce`, of `outputs` from `first_output` on.
struct first_place {
    int row, output;

    INLINE_MEMBER first_place(int first_output, int outputs)
        : row(threadIdx.x / outputs), output(first_output + threadIdx.x % outputs) {}
};

// Adds the warps' parts, parts[warp][row][output], and finishes. All threads. `first` belongs to the thread's first place.
template <class number, class Scale>
INLINE void reduce(const tti_decode_linear &p, int first_row, int rows, int first_output, int outputs, const number *parts,
                   addends first, Scale scale) {
    __syncthreads();
    for (int i = threadIdx.x; i < rows * outputs; i += THREADS) {
        int row = i / outputs, output = i % outputs;
        if (first_output + output >= p.outputs) continue;
        addends own = first;
        if (i >= THREADS) {
            own = addends(p, first_output + output);
            own.ask_residual(p, first_row + row, first_row + rows, first_output + output);
        }
        number sum = 0;
        for (int warp = 0; warp < WARPS; warp++) sum += parts[(warp * p.group + row) * outputs + output];
        float x = activated(scale(sum, row, own.scale) + own.bias, p.activation) + own.residual;
        assign(pointer<element>(p.y)[(int64_t)(first_row + row) * p.outputs + first_output + output], x);
    }
}
