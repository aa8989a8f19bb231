// What the device can do at best, measured beside the work.
#include "device.cuh"

#define THREADS 256

// Reads everything once: eight loads of 16 bytes a thread under way. The sum keeps the compiler from leaving them out.
KERNEL(read_all, tti_read_all, THREADS) {
    wait_for_inputs();
    const bytes16 *x = pointer<const bytes16>(p.x);
    uint32_t sum = 0;
    int64_t step = (int64_t)gridDim.x * THREADS * 8;
    for (int64_t i = (int64_t)blockIdx.x * THREADS * 8 + threadIdx.x; i + 7 * THREADS < p.count; i += step) {
        bytes16 v[8];
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = load_stream(x + i + j * THREADS);
#pragma unroll
        for (int j = 0; j < 8; j++) sum ^= v[j].word[0] ^ v[j].word[1] ^ v[j].word[2] ^ v[j].word[3];
    }
    if (sum == 0x9e3779b9u) *pointer<uint32_t>(p.y) = sum;
}

// 32 multiply-adds a thread and round, in 16 chains.
KERNEL(multiply_adds, tti_rounds, THREADS) {
    wait_for_inputs();
    float sums[16];
#pragma unroll
    for (int i = 0; i < 16; i++) sums[i] = (float)(threadIdx.x + i);
    float a = 1.0f + (float)p.rounds * 1e-30f, b = 1e-7f;
    for (int round = 0; round < p.rounds; round++) {
#pragma unroll
        for (int i = 0; i < 32; i++) sums[i % 16] = fmaf(sums[i % 16], a, b);
    }
    float total = 0;
#pragma unroll
    for (int i = 0; i < 16; i++) total += sums[i];
    if (total == -1.0f) *pointer<float>(p.y) = total;
}

// 8 products of tiles a warp and round: 16×8×16 of bfloat16, 16×8×32 of int8.
template <class number> INLINE void multiply_tiles(const tti_rounds &p) {
    wait_for_inputs();
    number sums[8][4] = {};
    uint32_t a[4] = {threadIdx.x, threadIdx.x * 3, 5, 7}, b[2] = {threadIdx.x * 11, 13};
    for (int round = 0; round < p.rounds; round++) {
#pragma unroll
        for (int i = 0; i < 8; i++) multiply_tile(sums[i], a, b);
    }
    number total = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    if (total == (number)-1) *pointer<number>(p.y) = total;
}

KERNEL(multiply_bfloat16_tiles, tti_rounds, THREADS) { multiply_tiles<float>(p); }
KERNEL(multiply_int8_tiles, tti_rounds, THREADS) { multiply_tiles<int32_t>(p); }
