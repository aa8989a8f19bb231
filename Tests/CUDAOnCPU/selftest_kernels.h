// The kernels of selftest.cpp, right ones and wrong ones.
#pragma once

static const char kernels_source[] = R"source(
#include "device.cuh"

struct args { device_address y, x, other; int64_t count; int32_t flag; };

template <class T> INLINE T *shift(T *p, int64_t by) { return p + by; }

KERNEL(sums, args, 256) {
    wait_for_inputs();
    float total = 0;
    for (int64_t i = threadIdx.x; i < p.count; i += blockDim.x) total += pointer<const float>(p.x)[blockIdx.x * p.count + i];
    total = block_sum(total);
    float most = block_max((float)threadIdx.x);
    if (threadIdx.x == 0) pointer<float>(p.y)[blockIdx.x] = total + most;
}

KERNEL(shuffles, args, 64) {
    uint32_t *y = pointer<uint32_t>(p.y) + threadIdx.x * 16;
    uint32_t lane = threadIdx.x % 32, x = 100 + lane;
    y[0] = __shfl_sync(ALL_LANES, x, 5);
    y[1] = __shfl_sync(ALL_LANES, x, 3, 8);
    y[2] = __shfl_xor_sync(ALL_LANES, x, 7);
    y[3] = __shfl_down_sync(ALL_LANES, x, 3);
    y[4] = __shfl_up_sync(ALL_LANES, x, 3);
    y[5] = __shfl_down_sync(ALL_LANES, x, 3, 16);
    y[6] = __ballot_sync(ALL_LANES, lane % 3 == 0);
    y[7] = __any_sync(ALL_LANES, lane == 9) * 2 + __all_sync(ALL_LANES, lane < 31);
    y[8] = __reduce_add_sync(ALL_LANES, lane);
    y[9] = __reduce_max_sync(ALL_LANES, (int)lane - 40);
    // Halves of a warp that do not go the same way.
    if (lane < 16) y[10] = __reduce_add_sync(0x0000ffffu, lane);
    else y[10] = __reduce_min_sync(0xffff0000u, lane);
    __syncwarp();
    y[11] = (uint32_t)(__shfl_xor_sync(ALL_LANES, (long long)x << 33, 1) >> 33);
    y[12] = __syncthreads_count(threadIdx.x % 2);
    y[13] = __syncthreads_or(threadIdx.x == 40) * 2 + __syncthreads_and(threadIdx.x < 63);
    y[14] = lane;
    y[15] = 0;
}

// Threads that end before a barrier count as there.
KERNEL(early, args, 256) {
    __shared__ float values[256];
    if (threadIdx.x >= 96) return;
    values[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    if (threadIdx.x % 32 >= 20) return;
    __syncwarp();
    __syncthreads();
    pointer<float>(p.y)[threadIdx.x] = values[95 - threadIdx.x];
}

KERNEL(product_bf16, args, 32) {
    uint32_t *x = pointer<uint32_t>(p.x) + threadIdx.x * 6;
    float *y = pointer<float>(p.y) + threadIdx.x * 4;
    multiply_tile(y, x, x + 4);
}

KERNEL(product_s8, args, 32) {
    uint32_t *x = pointer<uint32_t>(p.x) + threadIdx.x * 6;
    int32_t *y = pointer<int32_t>(p.y) + threadIdx.x * 4;
    multiply_tile(y, x, x + 4);
}

KERNEL(matrices, args, 32) {
    __shared__ __align__(16) uint16_t tile[32][8];
    for (int i = 0; i < 8; i++) tile[threadIdx.x][i] = (uint16_t)(threadIdx.x * 8 + i);
    __syncthreads();
    uint32_t *y = pointer<uint32_t>(p.y) + threadIdx.x * 8;
    load_matrices(y, tile[threadIdx.x]);
    load_matrices_transposed(y + 4, tile[threadIdx.x]);
}

KERNEL(copies, args, 64) {
    SHARED_MEMORY(memory);
    bytes16 *stage = (bytes16 *)memory;
    const bytes16 *x = pointer<const bytes16>(p.x);
    bytes16 *y = pointer<bytes16>(p.y);
    copy_async(&stage[threadIdx.x], &x[threadIdx.x]);
    copy_commit();
    copy_async(&stage[64 + threadIdx.x], &x[64 + threadIdx.x], threadIdx.x % 2 == 0);
    copy_commit();
    copy_wait<1>();
    y[threadIdx.x] = stage[threadIdx.x];
    y[64 + threadIdx.x] = stage[64 + threadIdx.x];  // not there yet
    copy_wait<0>();
    y[128 + threadIdx.x] = stage[64 + threadIdx.x];
}

KERNEL(counts, args, 128) {
    unsigned *y = pointer<unsigned>(p.y);
    atomicAdd(&y[0], 1u);
    atomicMax((int *)&y[1], (int)threadIdx.x);
    atomicAdd((float *)&y[2], 0.5f);
    atomicCAS(&y[3], 0u, threadIdx.x + 1);
    atomicOr(&y[4], 1u << (threadIdx.x % 32));
    atomicAdd((unsigned long long *)&y[6], 1ull << 32);
}

// The last block that arrives adds up what all left.
KERNEL(last_block, args, 64) {
    __shared__ bool is_last;
    float *parts = pointer<float>(p.x);
    float sum = block_sum((float)(blockIdx.x + threadIdx.x));
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
        __threadfence();
        is_last = atomicAdd(pointer<unsigned>(p.other), 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!is_last) return;
    float total = 0;
    for (int i = threadIdx.x; i < (int)gridDim.x; i += blockDim.x) total += parts[i];
    total = block_sum(total);
    if (threadIdx.x == 0) pointer<float>(p.y)[0] = total;
}

// The last block looks for what those before it have left; with a flag, for what nobody has, or leaves something twice.
KERNEL(marks, args, 32) {
    marked_float *left = pointer<marked_float>(p.x);
    if (p.flag) {
        left = pointer<marked_float>(p.y);
        clear_mark(left);
        if (p.flag == 1) left[0] = look_for_marked(left);
        for (int i = 0; i < 2; i++) leave_marked(left, 1);
    } else if (blockIdx.x < gridDim.x - 1) {
        leave_marked(left + blockIdx.x * WARP + threadIdx.x, (float)(blockIdx.x + threadIdx.x));
    } else {
        float total = 0;
        for (int i = 0; i < (int)gridDim.x - 1; i++) {
            marked_float found = look_for_marked(left + i * WARP + threadIdx.x);
            total += found.mark ? found.value : -1;
        }
        pointer<float>(p.y)[threadIdx.x] = total;
    }
}

KERNEL(unwritten, args, 32) {
    __shared__ float values[32];
    SHARED_MEMORY(memory);
    pointer<float>(p.y)[threadIdx.x] = p.flag ? ((float *)memory)[threadIdx.x] : values[threadIdx.x];
}

KERNEL(awaited, args, 64) {
    __shared__ volatile int flag;
    if (threadIdx.x == 0) flag = 0;
    __syncthreads();
    if (threadIdx.x == 63) flag = 1;
    while (!flag) __nanosleep(100);
    pointer<float>(p.y)[threadIdx.x] = 1;
}

// Without a barrier between writing and reading: right or wrong by the order of threads.
KERNEL(racing, args, 64) {
    __shared__ float values[64];
    values[threadIdx.x] = (float)threadIdx.x;
    if (p.flag) __syncthreads();
    pointer<float>(p.y)[threadIdx.x] = values[threadIdx.x ^ 32];
}

KERNEL(store, args, 256) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.count) pointer<float>(p.y)[i] = (float)i;
}

KERNEL(add_one, args, 256) {
    if ((int64_t)threadIdx.x < p.count) pointer<float>(p.y)[threadIdx.x] += 1;
}

KERNEL(stuck_barrier, args, 64) {
    if (threadIdx.x < 40) __shfl_xor_sync(0x1ffu, threadIdx.x, 1);
    __syncthreads();
}
KERNEL(stuck_warp, args, 64) {
    if (threadIdx.x == 3) __syncthreads();
    else warp_sum(1);
    __syncthreads();
}
KERNEL(ended_lanes, args, 32) {
    if (threadIdx.x == 7) return;
    warp_sum(1);
}
KERNEL(mixed_primitives, args, 32) {
    if (threadIdx.x < 16) __ballot_sync(ALL_LANES, 1);
    else warp_sum(1);
}
KERNEL(misaligned, args, 32) {
    if (threadIdx.x == 9) *pointer<bytes16>(p.y) = *(bytes16 *)(p.y + 4);
}
KERNEL(outside_array, args, 32) {
    __shared__ float values[32];
    values[threadIdx.x + p.flag] = 1;
    __syncthreads();
    pointer<float>(p.y)[0] = values[0];
}
KERNEL(beside_dynamic, args, 32) {
    SHARED_MEMORY(memory);
    memory[threadIdx.x + p.flag] = 1;
}
INLINE int deeper(int n, volatile char *out) {
    volatile char local[200000];
    local[n] = 1;
    return local[n] + *out;
}
KERNEL(deep, args, 32) { pointer<float>(p.y)[0] = deeper(p.flag, pointer<volatile char>(p.y)); }
KERNEL(matrices_of_global, args, 32) {
    uint32_t r[4];
    load_matrices(r, pointer<char>(p.y));
    pointer<uint32_t>(p.y)[0] = r[0];
}
KERNEL(divides, args, 32) { pointer<int>(p.y)[0] = (int)p.count / p.flag; }

KERNEL(sleeps, args, 32) {
    __shared__ volatile int flag;
    flag = 0;
    while (!flag) __nanosleep(100);
}
KERNEL(misaligned_atomic, args, 32) { atomicAdd((unsigned *)(p.y + 2), 1u); }
KERNEL(misaligned_float, args, 32) { pointer<float>(p.y + 4 * threadIdx.x + (threadIdx.x == 5))[0] = 1; }
KERNEL(diverged_barrier, args, 64) {
    if (threadIdx.x < 8) __syncthreads();
    else if (p.flag == 0)
        __syncthreads();
}
KERNEL(wild, args, 32) { pointer<float>(p.x)[threadIdx.x] = 1; }
KERNEL(freed, args, 32) { pointer<float>(p.other)[threadIdx.x] = 1; }

KERNEL(turns, args, 256) {
    float x = 0;
    for (int64_t i = 0; i < p.count; i++) x = __shfl_xor_sync(ALL_LANES, x, 1);
    if (threadIdx.x == 0) pointer<float>(p.y)[0] = x;
}
KERNEL(barriers, args, 256) {
    for (int64_t i = 0; i < p.count; i++) __syncthreads();
}

// y [m, n] = a [m, k] · b [n, k] transposed, bfloat16: 64 × 64 a block of four warps.
KERNEL(matmul, args, 128) {
    __shared__ __align__(16) uint16_t a[64][24], b[64][24];
    const int size = (int)p.count;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float d[8][4] = {};
    for (int k = 0; k < size; k += 16) {
        int row = threadIdx.x / 2, column = threadIdx.x % 2 * 8;
        copy_async(&a[row][column], pointer<uint16_t>(p.x) + (size_t)(blockIdx.y * 64 + row) * size + k + column);
        copy_async(&b[row][column], pointer<uint16_t>(p.other) + (size_t)(blockIdx.x * 64 + row) * size + k + column);
        copy_commit();
        copy_wait<0>();
        __syncthreads();
        uint32_t x[4];
        load_matrices(x, &a[warp * 16 + lane % 16][lane / 16 * 8]);
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            uint32_t y[4];
            load_matrices(y, &b[j * 8 + lane / 16 * 8 + lane % 8][lane / 8 % 2 * 8]);
            multiply_tile(d[j], x, y);
            multiply_tile(d[j + 1], x, y + 2);
        }
        __syncthreads();
    }
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 4; i++) {
            int row = blockIdx.y * 64 + warp * 16 + lane / 4 + i / 2 * 8;
            int column = blockIdx.x * 64 + j * 8 + lane % 4 * 2 + i % 2;
            pointer<float>(p.y)[(size_t)row * size + column] = d[j][i];
        }
}
)source";
