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
#include "decode_linear.cuh"

// Loads of 16 bytes that a thread has under way.
#define IN_FLIGHT 16

#ifdef TTI_BF16

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
    for (int base = 0; base < count; base += depth) {
#pragma unroll
        for (int i = 0; i < depth; i++) {
            int k = base + i;
            if (k >= count) break;
            int block = warp + k * WARPS;
            multiply_block<tiles>(own + block * 64, stride, rows, w[i], d);
            if (k + depth < count) {
#pragma unroll
                for (int t = 0; t < tiles; t++) w[i][t] = weights.get(t, block + depth * WARPS);
            }
        }
    }
}

template <int tiles> INLINE void multiply_bfloat16(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    __shared__ row_statistics statistics;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int padded = (p.inputs + 31) / 32 * 32, stride = padded * 2 + 64;
    int first_output = blockIdx.x * tiles * 8;
    float *norm = (float *)(shared + p.group * stride);
    float d[tiles][4] = {};
    first_place place(first_output, tiles * 8);
    addends first(p, place.output);
    stream<tiles>(p, first_output, padded / 32, 2, rows, shared, stride, d, [&] {
        if (p.norm) stage_norm<true>(p, padded, norm);
        wait_for_inputs();
        stage_rows<true>(p, first_row, rows, padded, shared, stride);
        first.ask_residual(p, first_row + place.row, first_row + rows, place.output);
        copy_wait<0>();
        if (p.norm) normalise_rows(p, rows, padded, shared, stride, norm, statistics);
        __syncthreads();
    });
    __syncthreads();
    put_parts<tiles>((float *)shared, d, rows, p.group);
    reduce(p, first_row, rows, first_output, tiles * 8, (const float *)shared, first,
           [](float sum, int, float) { return sum; });
}

template <int tiles> INLINE void multiply_int8(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    __shared__ quantiser quantised;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int padded = (p.inputs + 63) / 64 * 64, stride = padded * 2 + 64, own_stride = padded + 64;
    int first_output = blockIdx.x * tiles * 8;
    char *own = shared + p.group * stride;
    float *norm = (float *)(own + p.group * own_stride);
    int32_t d[tiles][4] = {};
    first_place place(first_output, tiles * 8);
    addends first(p, place.output);
    stream<tiles>(p, first_output, padded / 64, 1, rows, own, own_stride, d, [&] {
        if (p.norm) stage_norm<true>(p, padded, norm);
        wait_for_inputs();
        stage_rows<true>(p, first_row, rows, padded, shared, stride);
        first.ask_residual(p, first_row + place.row, first_row + rows, place.output);
        copy_wait<0>();
        quantise_rows(p, rows, padded, shared, stride, own, own_stride, norm, quantised);
        __syncthreads();
    });
    __syncthreads();
    put_parts<tiles>((int32_t *)shared, d, rows, p.group);
    reduce(p, first_row, rows, first_output, tiles * 8, (const int32_t *)shared, first,
           [&](int32_t sum, int row, float scale) { return __fmul_rn((float)sum, __fmul_rn(quantised.scales[row], scale)); });
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
    if (p.norm) stage_norm<true>(p, padded, norm);
    wait_for_inputs();
    stage_rows<true>(p, first_row, rows, padded, shared, stride);
    first_place place(first_output, OUTPUTS);
    addends first(p, place.output);
    first.ask_residual(p, first_row + place.row, first_row + rows, place.output);
    copy_wait<0>();
    if (p.norm) statistics.find(p, rows, shared, stride);
    __syncthreads();
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
           [](float sum, int, float) { return sum; });
}

KERNEL_RESIDENT(decode_linear_float_2, tti_decode_linear, THREADS, 2) { multiply_float<2>(p); }
KERNEL(decode_linear_float_8, tti_decode_linear, THREADS) { multiply_float<8>(p); }

#endif
