// Products of few rows: the matrix-vector work of decoding, bound by the bytes of the weights, which are read once for all
// rows of a block's group (at most 16; 8 in float).
//
// A block of 8 warps makes `tiles` · 8 outputs; the warps share the inputs between them, 32 at a time (64 of int8, 128 of
// float), and their sums are added in a fixed order. Weights lie as they are, output after output: the four lanes
// of a row read 64 bytes next to each other, and what belongs to them of x is found in shared memory. They are multiplied
// by mma with x as the tall operand: 16 rows at the price of two.
//
// Sixteen loads of 16 bytes a thread (64 KB a block) are under way before the kernel waits for its inputs: they overlap the
// end of the kernel before (programmatic dependent launch). The norm of x is done here, by every block for itself: a row of
// x is a few KB in the second-level cache, a kernel of its own would cost a microsecond or two. Rows of a multiple of 256
// inputs are normalised and quantised in registers (decode_rows.cuh), others in shared memory.
//
// A row's sums depend on nothing but the row and the matrix.
//
// Measured on an H200 in a chain of such products from memory, two rows of bfloat16: 2 MB in 2.2 us, 8.4 MB in 3.3, 33 MB in
// 9.8 (3.4 of 4.5 TB/s); the norm of 1024 inputs adds 0.9. The smallest kernel that was timed so, an addition, takes 2.1.
#include "decode_rows.cuh"

// Loads of 16 bytes that a thread has under way.
#define IN_FLIGHT 16

#ifdef TTI_BF16

// MARK: bfloat16 activations

#define MOST_ROWS 16

// Sums of a tile in several accumulators, so that one product need not wait for another: words 0 and 1 of a lane's 16 bytes
// have their own, and so have words 2 and 3.
template <int tiles, class number> struct chains_of {
    static const int count = tiles == 1 ? 4 : tiles == 2 ? 2 : 1;
};
template <> struct chains_of<3, float> {
    static const int count = 2;
};

// Weights of 16 bytes a lane: of row `lane / 4` of each tile, 16 bytes from `64 · block + 16 · (lane % 4)` on, for each of
// the warp's blocks of 64 bytes. The first of them are asked for at once.
template <int tiles> struct weight_stream {
    static const int depth = IN_FLIGHT / tiles;
    // From one block of a warp to its next.
    static const int step = WARPS * 64;
    const char *base;
    uint32_t row[tiles];
    bytes16 w[depth][tiles];
    int count;
    // Where a lane's bytes of x are, in a row and in the row eight below, and where its parts go.
    int own, second, target;

    // Rows of x are to be `x_stride` bytes apart.
    INLINE_MEMBER weight_stream(const tti_decode_linear &p, int first_output, int blocks, int element_bytes, int rows,
                                int x_stride) {
        int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
        count = (blocks - warp + WARPS - 1) / WARPS;
        int pitch = p.stride * element_bytes;
        base = pointer<const char>(p.weight) + (int64_t)first_output * pitch;
#pragma unroll
        for (int t = 0; t < tiles; t++) {
            // The last outputs are read again where there are no more.
            row[t] = min(t * 8 + lane / 4, p.outputs - 1 - first_output) * pitch + lane % 4 * 16 + warp * 64;
        }
#pragma unroll
        for (int i = 0; i < depth; i++) {
            if (i < count) {
#pragma unroll
                for (int t = 0; t < tiles; t++) w[i][t] = load_stream(base + row[t] + i * step);
            }
        }
        // Lanes without a row read the last one; nobody uses what comes of it.
        int g = lane / 4;
        own = min(g, rows - 1) * x_stride + lane % 4 * 16 + warp * 64;
        second = min(g + 8, rows - 1) * x_stride + lane % 4 * 16 + warp * 64;
        target = (g * tiles * 8 + lane % 4 * 2) * PARTS + warp;
        settle(own);
    }

    // The warp's parts of x · weights to parts[row][output][warp]. x: rows in the type of the weights. With `is_short` there
    // are at most 8 rows, and of each 16 bytes the second and the third word have changed places: as they are they make a
    // tile whose upper half has words 0 and 1 of a row, and whose lower half has words 2 and 3. Either way the same products
    // are added in the same order. With `is_single` all weights are under way already.
    // After it come those of `next`, if there are any.
    template <bool is_short, bool is_single, int trigger, class number>
    INLINE_MEMBER void multiply(const char *x, int rows, number *parts, const char *next) {
        constexpr int chains = chains_of<tiles, number>::count;
        number d[chains][tiles][4] = {};
        if (trigger == 2 && is_single) let_next_begin();
        const char *low_row = x + own, *high_row = x + second;
        int left = count;
#pragma unroll 1
        do {
            if (trigger == 2 && !is_single && left <= depth && !next) let_next_begin();
#pragma unroll
            for (int i = 0; i < depth; i++) {
                if (i >= left) break;
                bytes16 low = *(const bytes16 *)(low_row + i * step), high;
                uint32_t first_half[4], second_half[4];
                if (is_short) {
                    for (int j = 0; j < 4; j++) first_half[j] = low.word[j];
                    for (int j = 0; j < 4; j++) second_half[j] = low.word[chains == 1 ? j | 1 : j];
                } else {
                    high = *(const bytes16 *)(high_row + i * step);
                    for (int j = 0; j < 4; j++) first_half[j] = (j % 2 == 0 ? low : high).word[j / 2];
                    for (int j = 0; j < 4; j++) second_half[j] = (j % 2 == 0 ? low : high).word[2 + j / 2];
                }
                int c = chains == 4 ? i % 2 * 2 : 0;
#pragma unroll
                for (int t = 0; t < tiles; t++) {
                    multiply_tile(d[c][t], first_half, &w[i][t].word[0]);
                    multiply_tile(d[chains == 1 ? 0 : c + 1][t], second_half, &w[i][t].word[2]);
                }
                if (!is_single && i + depth < left) {
#pragma unroll
                    for (int t = 0; t < tiles; t++) w[i][t] = load_stream(base + row[t] + (i + depth) * step);
                } else if (!is_single && next) {
#pragma unroll
                    for (int t = 0; t < tiles; t++) w[i][t] = load_stream(next + row[t] + i * step);
                }
            }
            if (is_single) break;
            low_row += depth * step;
            high_row += depth * step;
            base += depth * step;
            left -= depth;
        } while (left > 0);
        base = next;
        // Where words 2 and 3 of a row are, in the lower half or beside the others.
        constexpr int half = is_short ? 2 : 0;
        int g = threadIdx.x % WARP / 4;
        number *place = parts + target;
#pragma unroll
        for (int t = 0; t < tiles; t++) {
#pragma unroll
            for (int j = 0; j < (is_short ? 2 : 4); j++) {
                number sum = d[0][t][j];
                if constexpr (chains >= 2) sum += d[1][t][j + half];
                if constexpr (chains == 4) sum += d[2][t][j] + d[3][t][j + half];
                int row = g + j / 2 * 8;
                if (row < rows) place[(j / 2 * 8 * tiles * 8 + t * 8 + j % 2) * PARTS] = sum;
            }
        }
    }
    // All groups of outputs of the block, one after the other: end(group, parts) finishes one.
    template <int trigger, class number, class End>
    INLINE_MEMBER void multiply(const char *x, int rows, number *parts, int part_count, int groups, int64_t pitch, End end) {
        if (rows > 8) {
            multiply_groups<false, trigger>(x, rows, parts, part_count, groups, pitch, end);
        } else if (groups == 1 && count <= depth) {
            multiply<true, true, trigger>(x, rows, parts, nullptr);
            end(0, parts);
        } else {
            multiply_groups<true, trigger>(x, rows, parts, part_count, groups, pitch, end);
        }
    }
    template <bool is_short, int trigger, class number, class End>
    INLINE_MEMBER void multiply_groups(const char *x, int rows, number *parts, int part_count, int groups, int64_t pitch,
                                       End end) {
        const char *start = base;
#pragma unroll 1
        for (int group = 0; group < groups; group++) {
            number *own_parts = parts + group % 2 * part_count;
            start += pitch;
            multiply<is_short, false, trigger>(x, rows, own_parts, group + 1 < groups ? start : nullptr);
            end(group, own_parts);
        }
    }
};

// What a unit of an int8 output stands for: that of a thread's first is asked for before the wait.
struct output_scale {
    const float *scales;
    float first;

    INLINE_MEMBER output_scale(const tti_decode_linear &p, int output) : scales(pointer<const float>(p.scales)) {
        ask(p, output);
    }
    INLINE_MEMBER void ask(const tti_decode_linear &p, int output) { first = output < p.outputs ? scales[output] : 0.0f; }
    INLINE_MEMBER float of(int32_t sum, float row, int i, int output) const {
        return __fmul_rn((float)sum, __fmul_rn(row, i < THREADS ? first : scales[output]));
    }
};

template <int tiles, bool is_normed> INLINE void multiply_bfloat16(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    constexpr int outputs = tiles * 8;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int stride = p.inputs * 2 + 64, first_output = blockIdx.x * outputs * p.tile_groups;
    int groups = min(p.tile_groups, (p.outputs - first_output + outputs - 1) / outputs);
    int part_count = p.group * outputs * PARTS;
    float *parts = (float *)shared;
    char *x = shared + part_count * min(p.tile_groups, 2) * sizeof(float);
    float *norm = (float *)(x + p.group * stride);
    bool is_short = rows <= 8;
    constexpr int trigger = is_normed ? TTI_NORM_TRIGGER : TTI_TRIGGER;

    weight_stream<tiles> weights(p, first_output, p.inputs / 32, 2, rows, stride);
    addends first = first_addends<outputs>(p, first_row, rows, first_output);
    const element *source = pointer<const element>(p.x) + (int64_t)first_row * p.inputs + threadIdx.x * LANES;
    settle(source);
    if (is_normed) stage_whole_norm(p, norm);
    only_wait_for_inputs();
    if (trigger == 0) let_next_begin();
    bring_rows<is_normed>(
        p, source, rows, x, staged_norm{norm, p.inputs}, [&] { first.ask(); }, [&](auto &way) { way.put(is_short); });
    if (trigger == 1) let_next_begin();
    int64_t pitch = (int64_t)outputs * p.stride * 2;
    weights.template multiply<trigger>(x, rows, parts, part_count, groups, pitch, [&](int group, const float *of_group) {
        int output = first_output + group * outputs;
        if (group > 0) first = ask_for_addends<outputs>(p, first_row, rows, output);
        reduce<outputs>(p, first_row, rows, output, of_group, first, [](float sum, int, int, int) { return sum; });
    });
}

// MARK: int8 weights

template <int tiles, bool is_normed> INLINE void multiply_int8(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    __shared__ float scales[MOST_ROWS];
    __shared__ uint32_t magnitudes[MOST_PIECES];
    constexpr int outputs = tiles * 8;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int stride = p.inputs + 64, first_output = blockIdx.x * outputs * p.tile_groups;
    int groups = min(p.tile_groups, (p.outputs - first_output + outputs - 1) / outputs);
    int part_count = p.group * outputs * PARTS;
    int32_t *parts = (int32_t *)shared;
    char *own = shared + part_count * min(p.tile_groups, 2) * sizeof(int32_t), *x = own + p.group * stride;
    float *norm = (float *)(x + p.group * (p.inputs * 2 + 64));
    bool is_short = rows <= 8;
    constexpr int trigger = is_normed ? TTI_NORM_TRIGGER : TTI_TRIGGER;

    weight_stream<tiles> weights(p, first_output, p.inputs / 64, 1, rows, stride);
    output_scale scale(p, first_output + threadIdx.x % outputs);
    addends first = first_addends<outputs>(p, first_row, rows, first_output);
    const element *source = pointer<const element>(p.x) + (int64_t)first_row * p.inputs + threadIdx.x * LANES;
    settle(source);
    if (is_normed) stage_whole_norm(p, norm);
    only_wait_for_inputs();
    if (trigger == 0) let_next_begin();
    bring_rows<is_normed>(
        p, source, rows, x, staged_norm{norm, p.inputs}, [&] { first.ask(); },
        [&](auto &way) { way.put_int8(own, is_short, scales, magnitudes); });
    if (trigger == 1) let_next_begin();
    int64_t pitch = (int64_t)outputs * p.stride;
    weights.template multiply<trigger>(own, rows, parts, part_count, groups, pitch, [&](int group, const int32_t *of_group) {
        int output = first_output + group * outputs;
        if (group > 0) {
            first = ask_for_addends<outputs>(p, first_row, rows, output);
            scale.ask(p, output + threadIdx.x % outputs);
        }
        reduce<outputs>(
            p, first_row, rows, output, of_group, first,
            [&](int32_t sum, int i, int row, int output) { return scale.of(sum, scales[row], i, output); });
    });
}

#define DECODE_LINEAR(tiles)                                                                                               \
    KERNEL_RESIDENT(decode_linear_bfloat16_##tiles, tti_decode_linear, THREADS, 2) { multiply_bfloat16<tiles, false>(p); } \
    KERNEL_RESIDENT(decode_norm_linear_bfloat16_##tiles, tti_decode_linear, THREADS, 2) {                                  \
        multiply_bfloat16<tiles, true>(p);                                                                                 \
    }                                                                                                                      \
    KERNEL_RESIDENT(decode_linear_int8_##tiles, tti_decode_linear, THREADS, 2) { multiply_int8<tiles, false>(p); }         \
    KERNEL_RESIDENT(decode_norm_linear_int8_##tiles, tti_decode_linear, THREADS, 2) { multiply_int8<tiles, true>(p); }

DECODE_LINEAR(1)
DECODE_LINEAR(2)
DECODE_LINEAR(3)
DECODE_LINEAR(4)
DECODE_LINEAR(6)

// MARK: Any width

// Rows in shared memory as they are multiplied: normalised, rounded to elements, in place. All threads.
INLINE void normalise_rows(
    const tti_decode_linear &p, int rows, int padded, char *shared, int stride, const float *norm
) {
    __shared__ row_statistics statistics;
    statistics.find(p, rows, shared, stride);
    __syncthreads();
    for (int row = 0; row < rows; row++) {
        float mean = statistics.mean[row], inverse = statistics.inverse[row];
        for (int i = threadIdx.x * LANES; i < padded; i += THREADS * LANES) {
            element *x = (element *)(shared + row * stride) + i;
            store(x, staged_norm{norm, padded}.apply(load<LANES>(x), i, mean, inverse));
        }
    }
    __syncthreads();
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

// Rows of elements as int8, normalised first where that is asked for, each with a scale of its own: 127 is its largest
// magnitude. All threads; every row is shared by all warps.
INLINE void quantise_rows(const tti_decode_linear &p, int rows, int padded, char *shared, int stride, char *target,
                          int target_stride, const float *norm, float *scales) {
    __shared__ row_statistics statistics;
    __shared__ row_parts parts;
    int first = threadIdx.x * LANES;
    const int step = THREADS * LANES;
    const float infinity = as_float(0x7f800000u);
    if (p.norm) {
        statistics.find(p, rows, shared, stride);
        __syncthreads();
    }
    for (int row = 0; row < rows; row++) {
        float largest = 0;
        for (int i = first; i < padded; i += step) {
            element *x = (element *)(shared + row * stride) + i;
            floats<LANES> v = load<LANES>(x);
            if (p.norm) {
                store(x, staged_norm{norm, padded}.apply(v, i, statistics.mean[row], statistics.inverse[row]));
                v = load<LANES>(x);
            }
            // A NaN counts as infinite.
            for (int j = 0; j < LANES; j++) largest = fmaxf(largest, fabsf(v[j]) < infinity ? fabsf(v[j]) : infinity);
        }
        parts.put(row, largest);
    }
    __syncthreads();
    for (int row = 0; row < rows; row++) {
        float largest = parts.largest(row);
        bool is_finite = largest < infinity;
        float inverse = is_finite && largest > 7.888609e-31f ? __fdiv_rn(127.0f, largest) : 0.0f;
        if (threadIdx.x == 0) scales[row] = is_finite ? __fdiv_rn(largest, 127.0f) : as_float(0x7fc00000u);
        for (int i = first; i < padded; i += step) {
            floats<LANES> v = load<LANES>((const element *)(shared + row * stride) + i);
            uint32_t packed[2] = {0, 0};
            for (int j = 0; j < LANES; j++) {
                int q = is_finite ? __float2int_rn(v[j] * inverse) : 0;
                packed[j / 4] |= (uint32_t)(q & 0xff) << (8 * (j % 4));
            }
            uint32_t *place = (uint32_t *)(target + row * target_stride + i);
            place[0] = packed[0];
            place[1] = packed[1];
        }
    }
    __syncthreads();
}

// The same for any number of inputs, and addresses that are no multiples of 16 bytes: eight outputs a block.
INLINE void multiply_any_bfloat16(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    constexpr int outputs = 8;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int padded = (p.inputs + 31) / 32 * 32, stride = padded * 2 + 64, first_output = blockIdx.x * outputs;
    float *parts = (float *)shared;
    char *x = shared + p.group * outputs * PARTS * sizeof(float);
    float *norm = (float *)(x + p.group * stride);
    weight_stream<1> weights(p, first_output, padded / 32, 2, rows, stride);
    if (p.norm) stage_norm(p, padded, norm);
    wait_for_inputs();
    stage_rows(p, first_row, rows, padded, x, stride);
    addends first = first_addends<outputs>(p, first_row, rows, first_output);
    first.ask();
    copy_wait<0>();
    __syncthreads();
    if (p.norm) normalise_rows(p, rows, padded, x, stride, norm);
    weights.multiply<false, false, 0>(x, rows, parts, nullptr);
    reduce<outputs>(p, first_row, rows, first_output, (const float *)parts, first,
                    [](float sum, int, int, int) { return sum; });
}

INLINE void multiply_any_int8(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    __shared__ float scales[MOST_ROWS];
    constexpr int outputs = 8;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int padded = (p.inputs + 63) / 64 * 64, stride = padded * 2 + 64, own_stride = padded + 64;
    int first_output = blockIdx.x * outputs;
    int32_t *parts = (int32_t *)shared;
    char *x = shared + p.group * outputs * PARTS * sizeof(int32_t), *own = x + p.group * stride;
    float *norm = (float *)(own + p.group * own_stride);
    weight_stream<1> weights(p, first_output, padded / 64, 1, rows, own_stride);
    output_scale scale(p, first_output + threadIdx.x % outputs);
    if (p.norm) stage_norm(p, padded, norm);
    wait_for_inputs();
    stage_rows(p, first_row, rows, padded, x, stride);
    addends first = first_addends<outputs>(p, first_row, rows, first_output);
    first.ask();
    copy_wait<0>();
    __syncthreads();
    quantise_rows(p, rows, padded, x, stride, own, own_stride, norm, scales);
    weights.multiply<false, false, 0>(own, rows, parts, nullptr);
    reduce<outputs>(p, first_row, rows, first_output, (const int32_t *)parts, first,
                    [&](int32_t sum, int i, int row, int output) { return scale.of(sum, scales[row], i, output); });
}

KERNEL_RESIDENT(decode_linear_bfloat16_any, tti_decode_linear, THREADS, 2) { multiply_any_bfloat16(p); }
KERNEL_RESIDENT(decode_linear_int8_any, tti_decode_linear, THREADS, 2) { multiply_any_int8(p); }

#else

// MARK: float

#define OUTPUTS 8

// Lanes read 512 bytes of an output's weights next to each other.
template <int most_rows> INLINE void multiply_float(const tti_decode_linear &p) {
    SHARED_MEMORY(shared);
    __shared__ row_statistics statistics;
    int first_row = blockIdx.y * p.group, rows = min(p.group, p.rows - first_row);
    int padded = (p.inputs + 127) / 128 * 128, stride = padded * 4;
    float *parts = (float *)shared;
    char *rows_of_x = shared + p.group * OUTPUTS * PARTS * sizeof(float);
    float *norm = (float *)(rows_of_x + p.group * stride);
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
    stage_rows(p, first_row, rows, padded, rows_of_x, stride);
    addends first = first_addends<OUTPUTS>(p, first_row, rows, first_output);
    first.ask();
    copy_wait<0>();
    __syncthreads();
    if (p.norm) {
        statistics.find(p, rows, rows_of_x, stride);
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
            floats<4> x = load<4>((const float *)(rows_of_x + r * stride) + column);
            if (p.norm) x = staged_norm{norm, padded}.apply(x, column, statistics.mean[r], statistics.inverse[r]);
#pragma unroll
            for (int o = 0; o < OUTPUTS; o++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sums[o][r] = fmaf(x[j], as_float(current[o].word[j]), sums[o][r]);
            }
        }
    }
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
#pragma unroll
        for (int r = 0; r < most_rows; r++) {
            if (r >= rows) break;
            float sum = warp_sum(sums[o][r]);
            if (lane == 0) parts[(r * OUTPUTS + o) * PARTS + warp] = sum;
        }
    }
    reduce<OUTPUTS>(p, first_row, rows, first_output, (const float *)parts, first,
                    [](float sum, int, int, int) { return sum; });
}

KERNEL_RESIDENT(decode_linear_float_2, tti_decode_linear, THREADS, 2) { multiply_float<2>(p); }
KERNEL(decode_linear_float_8, tti_decode_linear, THREADS) { multiply_float<8>(p); }

#endif
