// Norms over the last axis: bound by bytes, in practice by the latency of one row. A warp takes a row, keeps it in registers
// (up to 8 vectors of 16 bytes a lane) and reads it once; longer or oddly placed rows are read three times, from cache.
#include "device.cuh"

#define THREADS 128
#define WARPS (THREADS / WARP)

// What becomes of `count` neighbouring elements of a normalised row.
template <int count>
INLINE void finish(const tti_row_norm &p, int64_t row, int column, floats<count> x, float mean, float inverse) {
    const float *weight = pointer<const float>(p.weight) + column, *bias = pointer<const float>(p.bias) + column;
    const element *modulation = pointer<const element>(p.modulation) + row / p.rows_of_entry * 2 * p.width + column;
    for (int j = 0; j < count; j++) x[j] = (x[j] - mean) * inverse;
    if (p.weight) {
        for (int j = 0; j < count; j++) x[j] *= weight[j];
    }
    if (p.bias) {
        for (int j = 0; j < count; j++) x[j] += bias[j];
    }
    if (p.modulation) {
        floats<count> scale = load<count>(modulation), shift = load<count>(modulation + p.width);
        for (int j = 0; j < count; j++) x[j] = x[j] * (1 + scale[j]) + shift[j];
    }
    store(pointer<element>(p.y) + row * p.width + column, x);
}

// The row in registers; its width is a multiple of a vector.
template <int vectors> INLINE void norm_in_registers(const tti_row_norm &p) {
    wait_for_inputs();
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (row >= p.rows) return;
    const element *x = pointer<const element>(p.x) + row * p.width;
    floats<LANES> v[vectors];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < vectors; i++) {
        int column = (i * WARP + lane) * LANES;
        if (column >= p.width) continue;
        v[i] = load<LANES>(x + column);
        for (int j = 0; j < LANES; j++) sum += v[i][j];
    }
    float mean = p.norm == TTI_LAYER_NORM ? warp_sum(sum) / p.width : 0.0f;
    float squares = 0;
#pragma unroll
    for (int i = 0; i < vectors; i++) {
        if ((i * WARP + lane) * LANES >= p.width) continue;
        for (int j = 0; j < LANES; j++) squares += (v[i][j] - mean) * (v[i][j] - mean);
    }
    float inverse = rsqrtf(warp_sum(squares) / p.width + p.epsilon);
#pragma unroll
    for (int i = 0; i < vectors; i++) {
        int column = (i * WARP + lane) * LANES;
        if (column < p.width) finish<LANES>(p, row, column, v[i], mean, inverse);
    }
}

KERNEL(norm_1, tti_row_norm, THREADS) { norm_in_registers<1>(p); }
KERNEL(norm_2, tti_row_norm, THREADS) { norm_in_registers<2>(p); }
KERNEL(norm_4, tti_row_norm, THREADS) { norm_in_registers<4>(p); }
KERNEL(norm_8, tti_row_norm, THREADS) { norm_in_registers<8>(p); }

// Rows of any width anywhere.
KERNEL(norm_any, tti_row_norm, THREADS) {
    wait_for_inputs();
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (row >= p.rows) return;
    const element *x = pointer<const element>(p.x) + row * p.width;
    float mean = 0;
    if (p.norm == TTI_LAYER_NORM) {
        float sum = 0;
        for (int i = lane; i < p.width; i += WARP) sum += to_float(x[i]);
        mean = warp_sum(sum) / p.width;
    }
    float squares = 0;
    for (int i = lane; i < p.width; i += WARP) squares += (to_float(x[i]) - mean) * (to_float(x[i]) - mean);
    float inverse = rsqrtf(warp_sum(squares) / p.width + p.epsilon);
    for (int i = lane; i < p.width; i += WARP) finish<1>(p, row, i, load<1>(x + i), mean, inverse);
}
