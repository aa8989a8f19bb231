// Rows become 8-bit integers, each row in units of its own. Bound by the latency of one row, as norms are (norm.cu), which do
// the same to what they make.
#include "rows.cuh"

#ifdef TTI_BF16
#define THREADS 128
#define WARPS (THREADS / WARP)

// The row in registers of `warps` warps; its width is a multiple of a vector.
template <int vectors, int warps> INLINE void quantise_in_registers(const tti_quantise_rows &p) {
    __shared__ uint32_t parts[WARPS];
    const int team = warps * WARP, step = team * LANES;
    int row = blockIdx.x * (THREADS / team) + threadIdx.x / team, column = threadIdx.x % team * LANES;
    wait_for_inputs();
    // Warps that share a row all return: a block has no other.
    if (row >= p.rows) return;
    const element *x = pointer<const element>(p.x) + (int64_t)row * p.width + column;
    bytes16 packed[vectors];
#pragma unroll
    for (int i = 0; i < vectors; i++) {
        packed[i] = {0, 0, 0, 0};
        if (column + i * step < p.width) packed[i] = *(const bytes16 *)(x + i * step);
    }
    store_integers<vectors, warps>(
        packed, parts, pointer<int8_t>(p.y) + (int64_t)row * p.stride, pointer<float>(p.scales) + row, column, step,
        p.stride);
}

KERNEL(quantise_1, tti_quantise_rows, THREADS) { quantise_in_registers<1, 1>(p); }
KERNEL(quantise_2, tti_quantise_rows, THREADS) { quantise_in_registers<2, 1>(p); }
KERNEL(quantise_4, tti_quantise_rows, THREADS) { quantise_in_registers<1, WARPS>(p); }
KERNEL(quantise_8, tti_quantise_rows, THREADS) { quantise_in_registers<2, WARPS>(p); }
KERNEL(quantise_16, tti_quantise_rows, THREADS) { quantise_in_registers<4, WARPS>(p); }
KERNEL(quantise_32, tti_quantise_rows, THREADS) { quantise_in_registers<8, WARPS>(p); }

// LANES numbers of a row from `column` on; zeros past its end.
INLINE bytes16 part_of_row(const element *x, int column, int width, bool is_whole) {
    if (is_whole && column < width) return *(const bytes16 *)(x + column);
    bytes16 v = {0, 0, 0, 0};
    for (int j = 0; j < LANES && column + j < width; j++) v.word[j / 2] |= (uint32_t)x[column + j].bits << (16 * (j % 2));
    return v;
}

// Rows of any width anywhere, a warp each, which reads them twice.
KERNEL(quantise_any, tti_quantise_rows, THREADS) {
    wait_for_inputs();
    int row = blockIdx.x * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= p.rows) return;
    const element *x = pointer<const element>(p.x) + (int64_t)row * p.width;
    bool is_whole = p.width % LANES == 0 && p.x % 16 == 0;
    uint32_t largest = 0;
#pragma unroll 4
    for (int i = lane * LANES; i < p.width; i += WARP * LANES) {
        largest = max(largest, largest_bits(part_of_row(x, i, p.width, is_whole)));
    }
    row_unit unit(team_max<1>(largest, nullptr));
    if (lane == 0) pointer<float>(p.scales)[row] = unit.size;
#pragma unroll 4
    for (int i = lane * LANES; i < p.stride; i += WARP * LANES) {
        *pointer<bytes8>(p.y + (int64_t)row * p.stride + i) = unit.integers(part_of_row(x, i, p.width, is_whole));
    }
}
#endif
