// Norms over the last axis: bound by bytes, in practice by the latency of one row. A row is kept in registers and read once:
// by a warp, or where it is wide by the four of a block. What does not depend on the row's statistics (weights, modulation) is
// asked for before them, constants before the inputs are there. Longer or oddly placed rows are read three times by a warp,
// from cache. Beside matrices of int8 rows are left as integers, too, in case a product comes next (rows.cuh).
#include "rows.cuh"

#define THREADS 128
#define WARPS (THREADS / WARP)

// What normalised numbers become: `vectors` of a thread, whose columns lie `step` apart. Vectors stay packed until they are
// used: what is taken apart has to be there.
template <int vectors, int step> struct row_ending {
    floats<LANES> weight[vectors], bias[vectors];
    bytes16 scale[vectors], shift[vectors];

    INLINE_MEMBER void load_constants(const tti_row_norm &p, int column) {
#pragma unroll
        for (int i = 0; i < vectors; i++, column += step) {
            for (int j = 0; j < LANES; j++) {
                weight[i][j] = 1;
                bias[i][j] = 0;
            }
            if (column >= p.width) continue;
            if (p.weight) weight[i] = load_floats<LANES>(pointer<const float>(p.weight) + column);
            if (p.bias) bias[i] = load_floats<LANES>(pointer<const float>(p.bias) + column);
        }
    }

    INLINE_MEMBER void load_modulation(const tti_row_norm &p, int row, int column) {
        const element *modulation = pointer<const element>(p.modulation) + (int64_t)(row / p.rows_of_entry) * 2 * p.width;
#pragma unroll
        for (int i = 0; i < vectors; i++, column += step) {
            if (column >= p.width) continue;
            scale[i] = *(const bytes16 *)(modulation + column);
            shift[i] = *(const bytes16 *)(modulation + p.width + column);
        }
    }
};

// The row in registers of `warps` warps; its width is a multiple of a vector.
template <int vectors, int warps> INLINE void norm_in_registers(const tti_row_norm &p) {
    __shared__ __align__(16) float parts[2][WARPS];
    const int team = warps * WARP, step = team * LANES;
    int row = blockIdx.x * (THREADS / team) + threadIdx.x / team, column = threadIdx.x % team * LANES;
    bool is_there = row < p.rows;
    float part = 1.0f / p.width;
    row_ending<vectors, step> ending;
    ending.load_constants(p, column);
    if (p.modulation && p.is_settled && is_there) ending.load_modulation(p, row, column);
    wait_for_inputs();
    // Warps that share a row all return: a block has no other.
    if (!is_there) return;
    const element *x = pointer<const element>(p.x) + (int64_t)row * p.width + column;
    bytes16 packed[vectors];
#pragma unroll
    for (int i = 0; i < vectors; i++) {
        packed[i] = {0, 0, 0, 0};
        if (column + i * step < p.width) packed[i] = *(const bytes16 *)(x + i * step);
    }
    if (p.modulation && !p.is_settled) ending.load_modulation(p, row, column);

    floats<LANES> v[vectors];
    float sums[vectors];
#pragma unroll
    for (int i = 0; i < vectors; i++) v[i] = unpack(packed[i]);
    if (p.norm == TTI_LAYER_NORM) {
#pragma unroll
        for (int i = 0; i < vectors; i++) sums[i] = sum_of<LANES>(v[i].v);
        float mean = team_sum<warps>(sum_of<vectors>(sums), parts[0]) * part;
#pragma unroll
        for (int i = 0; i < vectors; i++) {
            for (int j = 0; j < LANES; j++) v[i][j] = column + i * step < p.width ? v[i][j] - mean : 0.0f;
        }
    }
#pragma unroll
    for (int i = 0; i < vectors; i++) {
        floats<LANES> squares;
        for (int j = 0; j < LANES; j++) squares[j] = v[i][j] * v[i][j];
        sums[i] = sum_of<LANES>(squares.v);
    }
    float inverse = rsqrtf(team_sum<warps>(sum_of<vectors>(sums), parts[1]) * part + p.epsilon);
    element *y = pointer<element>(p.y) + (int64_t)row * p.width + column;
#pragma unroll
    for (int i = 0; i < vectors; i++) {
        if (column + i * step >= p.width) continue;
        for (int j = 0; j < LANES; j++) v[i][j] = v[i][j] * inverse * ending.weight[i][j] + ending.bias[i][j];
        if (p.modulation) {
            floats<LANES> scale = unpack(ending.scale[i]), shift = unpack(ending.shift[i]);
            for (int j = 0; j < LANES; j++) v[i][j] = v[i][j] * (1 + scale[j]) + shift[j];
        }
#ifdef TTI_BF16
        for (int j = 0; j < 4; j++) packed[i].word[j] = pack_bfloat16(v[i][2 * j], v[i][2 * j + 1]);
        *(bytes16 *)(y + i * step) = packed[i];
#else
        store(y + i * step, v[i]);
#endif
    }
#ifdef TTI_BF16
    // What lies past the row's end is zero still.
    if (p.integers == 0) return;
    __shared__ uint32_t largest[WARPS];
    store_integers<vectors, warps>(
        packed, largest, pointer<int8_t>(p.integers) + (int64_t)row * p.stride, pointer<float>(p.scales) + row, column,
        step, p.stride);
#endif
}

KERNEL(norm_1, tti_row_norm, THREADS) { norm_in_registers<1, 1>(p); }
KERNEL(norm_2, tti_row_norm, THREADS) { norm_in_registers<2, 1>(p); }
KERNEL(norm_4, tti_row_norm, THREADS) { norm_in_registers<1, WARPS>(p); }
KERNEL(norm_8, tti_row_norm, THREADS) { norm_in_registers<2, WARPS>(p); }
KERNEL(norm_16, tti_row_norm, THREADS) { norm_in_registers<4, WARPS>(p); }

// Rows of any width anywhere, a warp each.
KERNEL(norm_any, tti_row_norm, THREADS) {
    wait_for_inputs();
    int row = blockIdx.x * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= p.rows) return;
    const element *x = pointer<const element>(p.x) + (int64_t)row * p.width;
    element *y = pointer<element>(p.y) + (int64_t)row * p.width;
    const float *weight = pointer<const float>(p.weight), *bias = pointer<const float>(p.bias);
    const element *modulation = pointer<const element>(p.modulation) + (int64_t)(row / p.rows_of_entry) * 2 * p.width;
    float mean = 0;
    if (p.norm == TTI_LAYER_NORM) {
        float sum = 0;
        for (int i = lane; i < p.width; i += WARP) sum += to_float(x[i]);
        mean = warp_sum(sum) / p.width;
    }
    float squares = 0;
    for (int i = lane; i < p.width; i += WARP) squares += (to_float(x[i]) - mean) * (to_float(x[i]) - mean);
    float inverse = rsqrtf(warp_sum(squares) / p.width + p.epsilon);
    for (int i = lane; i < p.width; i += WARP) {
        float v = (to_float(x[i]) - mean) * inverse;
        if (p.weight) v *= weight[i];
        if (p.bias) v += bias[i];
        if (p.modulation) v = v * (1 + to_float(modulation[i])) + to_float(modulation[p.width + i]);
        assign(y[i], v);
    }
}
