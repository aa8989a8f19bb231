// The nearest code to every row: exact differences, as on the CPU, not |c|² - 2 x·c, which cancels. Bound by arithmetic: two
// instructions for each row, code and number.
//
// A block of 8 warps takes 32 rows and a part of the codes, 128 at a time and 16 numbers deep through shared memory; a
// thread has 4 rows (its warp's) and 4 codes. A distance is summed in one order whatever the parts.
#include "device.cuh"

#define THREADS 256
#define ROWS 32
#define CODES 128
#define DEPTH 16
#define EACH 4

template <class T> INLINE void find_nearest(const tti_nearest &p) {
    __shared__ float rows[ROWS][DEPTH], codes[DEPTH][CODES + 1];
    wait_for_inputs();
    int lane = threadIdx.x % WARP, own_row = threadIdx.x / WARP * EACH;
    int64_t first_row = (int64_t)blockIdx.x * ROWS, begin = blockIdx.y * p.codes_of_part;
    int64_t end = begin + p.codes_of_part < p.codes ? begin + p.codes_of_part : p.codes;
    const T *x = pointer<const T>(p.x);
    const float *codebook = pointer<const float>(p.codebook);
    float best[EACH];
    int64_t nearest[EACH];
    for (int i = 0; i < EACH; i++) {
        best[i] = as_float(0x7f800000u);
        nearest[i] = 0;
    }
    for (int64_t start = begin; start < end; start += CODES) {
        float distance[EACH][EACH] = {};
        for (int64_t depth = 0; depth < p.width; depth += DEPTH) {
            __syncthreads();
            for (int i = threadIdx.x; i < ROWS * DEPTH; i += THREADS) {
                int64_t row = first_row + i / DEPTH, column = depth + i % DEPTH;
                bool is_there = row < p.rows && column < p.width;
                rows[i / DEPTH][i % DEPTH] = is_there ? to_float(x[row * p.width + column]) : 0;
            }
            for (int i = threadIdx.x; i < CODES * DEPTH; i += THREADS) {
                int64_t code = start + i / DEPTH, column = depth + i % DEPTH;
                bool is_there = code < end && column < p.width;
                codes[i % DEPTH][i / DEPTH] = is_there ? codebook[code * p.width + column] : 0;
            }
            __syncthreads();
            // Sums of 16, then their sum: a few roundings instead of hundreds.
            float part[EACH][EACH] = {};
#pragma unroll
            for (int d = 0; d < DEPTH; d++) {
                float a[EACH], b[EACH];
                for (int i = 0; i < EACH; i++) a[i] = rows[own_row + i][d];
                for (int j = 0; j < EACH; j++) b[j] = codes[d][lane + j * WARP];
                for (int i = 0; i < EACH; i++) {
                    for (int j = 0; j < EACH; j++) part[i][j] = fmaf(a[i] - b[j], a[i] - b[j], part[i][j]);
                }
            }
            for (int i = 0; i < EACH; i++) {
                for (int j = 0; j < EACH; j++) distance[i][j] += part[i][j];
            }
        }
        for (int j = 0; j < EACH; j++) {
            int64_t code = start + lane + j * WARP;
            if (code >= end) continue;
            for (int i = 0; i < EACH; i++) {
                if (distance[i][j] < best[i]) {
                    best[i] = distance[i][j];
                    nearest[i] = code;
                }
            }
        }
    }
    for (int i = 0; i < EACH; i++) {
        // Distances are not negative, so their bits order as they do; between equals the lower code.
        uint64_t own = (uint64_t)as_bits(best[i]) << 32 | (uint32_t)nearest[i];
        for (int offset = WARP / 2; offset > 0; offset /= 2) {
            uint64_t other = __shfl_xor_sync(ALL_LANES, own, offset);
            own = other < own ? other : own;
        }
        int64_t row = first_row + own_row + i;
        if (lane == 0 && row < p.rows) pointer<uint64_t>(p.parts)[blockIdx.y * p.rows + row] = own;
    }
}

KERNEL(nearest_code, tti_nearest, THREADS) { find_nearest<element>(p); }
#ifdef TTI_BF16
KERNEL(nearest_code_float, tti_nearest, THREADS) { find_nearest<float>(p); }
#endif

// The nearest of all parts.
KERNEL(nearest_code_end, tti_nearest, THREADS) {
    wait_for_inputs();
    int64_t row = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (row >= p.rows) return;
    uint64_t best = ~(uint64_t)0;
    for (int64_t part = 0; part < p.part_count; part++) {
        uint64_t other = pointer<const uint64_t>(p.parts)[part * p.rows + row];
        best = other < best ? other : best;
    }
    pointer<int32_t>(p.y)[row] = (int32_t)(uint32_t)best;
}
