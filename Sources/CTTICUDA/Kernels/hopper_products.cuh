// Convolutions and products of many rows on Hopper: y = activation(x · weightᵀ + bias) + residual, or y = value ·
// activation(gate) of two such products, in one kernel.
//
// Bound by the tensor cores where tiles are large, by the way from the second-level cache to shared memory where they are
// small. A block makes one tile of y: grid (tiles, the pixels' fastest; splits of the depth; where the image doubles, the four
// pixels that come of one). A tile's rows are a box of pixels, so that the copy engine gathers what a tap of the kernel sees of
// an image, zeros around it included; the rows of a matrix are an image one pixel high. One warp asks for boxes of x and of
// the weights, a ring of stages ahead, the first weights before the inputs are there, and at last for the residual; the others,
// warpgroups of 128 threads with 64 rows each, multiply what has landed. An output's sum goes up in depth, sixteen bfloat16 at
// a time, whatever its tile; of 8-bit integers it is exact. Where the depth is split, the last block of a tile adds the parts
// up in their order. Which tile is taken is Swift's choice (HopperPlan.swift).
// For a group norm of the result a block leaves means and squares of its pixels, too, while the copy engine stores them.
#pragma once
#include "hopper.cuh"
#include "partial_statistics.cuh"

#if defined(TTI_BF16) && __CUDA_ARCH__ == 900

// A tile of 128 pixels and so many columns, of bfloat16 or int8; `warpgroups` share the pixels.
template <int columns_, int stages_, class operand> struct hopper_tile {
    typedef typename sum_of_products<operand>::type sum;
    static const bool is_int8 = sizeof(operand) == 1;
    // Operands of a box's row.
    static const int box_width = BOX_ROW_BYTES / sizeof(operand);
    static const int rows = 128, columns = columns_, warpgroups = 2, stages = stages_;
    static const int consumers = warpgroups * 128, sums = columns / 2;
    static const int x_bytes = rows * BOX_ROW_BYTES, stage_bytes = x_bytes + columns * BOX_ROW_BYTES;
    // Results, in the places of stages that are done with.
    static const int result_bytes = rows * RESULT_ROW_BYTES, results_of_stage = stage_bytes / result_bytes;
    static const int results = columns / RESULT_WIDTH, result_stages = (results + results_of_stage - 1) / results_of_stage;
    static_assert(rows == warpgroups * 64, "64 rows a product");
    static_assert(result_stages < stages, "the last stage is still read when the residual comes");
    static_assert(stage_bytes % 1024 == 0 && x_bytes % 1024 == 0 && columns % RESULT_WIDTH == 0, "boxes are aligned");
};

// Where a tile is, and which blocks of the depth its block adds up.
struct hopper_place {
    int x, y, image, column, first, count;
};

template <class tile> INLINE hopper_place place_of_block(const tti_hopper &p) {
    hopper_place at;
    int box = blockIdx.x % p.boxes, columns = p.is_gated ? tile::columns / 2 : tile::columns;
    at.x = box % p.across * p.box_width;
    at.y = box / p.across % p.down * p.box_height;
    at.image = box / p.across / p.down * p.box_images;
    at.column = blockIdx.x / p.boxes * columns;
    at.first = p.blocks * (int)blockIdx.y / p.splits;
    at.count = p.blocks * (int)(blockIdx.y + 1) / p.splits - at.first;
    return at;
}

// The ring: a stage is full when its boxes have landed, and empty when all warps have multiplied them.
template <class tile> struct hopper_ring {
    char *boxes;
    uint64_t *full, *empty;
    float *bias;
    // int8: what a unit of a column's weights stands for.
    float *scales;
    // Whether this block is the last of its tile's.
    int *is_last;

    INLINE_MEMBER hopper_ring(char *shared) {
        boxes = shared;
        full = (uint64_t *)(shared + tile::stages * tile::stage_bytes);
        empty = full + tile::stages;
        bias = (float *)(full + 2 * 8);
        scales = bias + tile::columns;
        is_last = (int *)(scales + tile::columns);
        static_assert(tile::stages <= 8, "barriers lie before the bias");
    }

    INLINE_MEMBER char *x(int stage) const { return boxes + stage * tile::stage_bytes; }
    INLINE_MEMBER char *weights(int stage) const { return x(stage) + tile::x_bytes; }
};

// A stage of the ring, and whether it is in an odd round.
template <class tile> struct ring_position {
    int stage = 0;
    uint32_t odd = 0;

    INLINE_MEMBER void advance() {
        if (++stage == tile::stages) {
            stage = 0;
            odd ^= 1;
        }
    }
};

// MARK: Loading

// What a block of the depth is of: a box of channels as one tap sees them.
struct hopper_tap {
    int channel, column, row;

    INLINE_MEMBER hopper_tap(const tti_hopper &p, int block) {
        channel = block % p.channel_blocks;
        int tap = block / p.channel_blocks;
        column = tap % p.kernel_width;
        row = tap / p.kernel_width;
    }

    INLINE_MEMBER void advance(const tti_hopper &p) {
        if (++channel < p.channel_blocks) return;
        channel = 0;
        if (++column < p.kernel_width) return;
        column = 0;
        row++;
    }
};

// One thread asks for everything.
template <class tile> struct hopper_loader {
    const tti_hopper &p;
    const hopper_ring<tile> &ring;
    const hopper_place &at;

    INLINE_MEMBER void load_weights(int stage, int block) const {
        uint64_t *full = &ring.full[stage];
        arrive_expecting(full, tile::stage_bytes);
        copy_box(ring.weights(stage), &p.weight, full, block * tile::box_width, p.value_row + at.column, 0, 0);
        if (p.is_gated) {
            char *gates = ring.weights(stage) + tile::columns / 2 * BOX_ROW_BYTES;
            copy_box(gates, &p.weight, full, block * tile::box_width, p.gate_row + at.column, 0, 0);
        }
    }

    // Where the pixel of a tap is, relative to the first one's; of a doubled image, to the pixel that it comes of.
    INLINE_MEMBER int place_of(int pixel, int tap, int before, int phase) const {
        return p.doubles ? pixel + ((phase + tap - before) >> 1) : pixel * p.stride + tap - before;
    }

    // A box of what the tile's pixels see, of x or of what is joined to it.
    INLINE_MEMBER void load_inputs(int stage, const hopper_tap &tap) const {
        bool is_own = tap.channel < p.own_blocks;
        copy_box(
            ring.x(stage), is_own ? &p.x : &p.joined, &ring.full[stage],
            (is_own ? tap.channel : tap.channel - p.own_blocks) * tile::box_width,
            place_of(at.x, tap.column, p.left, blockIdx.z % 2), place_of(at.y, tap.row, p.top, blockIdx.z / 2), at.image);
    }

    INLINE_MEMBER void load_all() const {
        int early = min(at.count, tile::stages);
        for (int i = 0; i < early; i++) load_weights(i, at.first + i);
        wait_for_inputs();
        ring_position<tile> next;
        hopper_tap tap(p, at.first);
        for (int i = 0; i < at.count; i++) {
            if (i >= tile::stages) {
                wait_barrier(&ring.empty[next.stage], next.odd ^ 1);
                load_weights(next.stage, at.first + i);
            }
            load_inputs(next.stage, tap);
            tap.advance(p);
            next.advance();
        }
        if (p.adds) load_residual(next);
    }

    // It takes the stages that would be next.
    INLINE_MEMBER void load_residual(ring_position<tile> next) const {
        for (int i = 0; i < tile::result_stages; i++) {
            if (at.count + i >= tile::stages) wait_barrier(&ring.empty[next.stage], next.odd ^ 1);
            uint64_t *full = &ring.full[next.stage];
            int first = i * tile::results_of_stage, count = min(tile::results_of_stage, tile::results - first);
            arrive_expecting(full, count * tile::result_bytes);
            for (int j = 0; j < count; j++) {
                int column = at.column + (first + j) * RESULT_WIDTH;
                copy_box(ring.x(next.stage) + j * tile::result_bytes, &p.residual, full, column, at.x, at.y, at.image);
            }
            next.advance();
        }
    }
};

// MARK: Multiplying

// The sums of a warpgroup's rows. Leaves `next` at the stage that would be next.
template <class tile>
INLINE void multiply_boxes(
    typename tile::sum (&d)[tile::sums], const hopper_ring<tile> &ring, const hopper_place &at, ring_position<tile> &next) {
    int warpgroup = threadIdx.x / 128, used = 0;
    for (int i = 0; i < at.count; i++) {
        wait_barrier(&ring.full[next.stage], next.odd);
        box_rows x = rows_at(ring.x(next.stage) + warpgroup * 64 * BOX_ROW_BYTES);
        box_rows weights = rows_at(ring.weights(next.stage));
        multiply_begin();
#pragma unroll
        for (int depth = 0; depth < BOX_ROW_BYTES; depth += 32) {
            multiply_shared(d, further(x, depth), further(weights, depth), i > 0 || depth > 0);
        }
        multiply_commit();
        // The products of the stage before are done.
        multiply_wait<1>();
        if (i > 0 && threadIdx.x % WARP == 0) arrive(&ring.empty[used]);
        used = next.stage;
        next.advance();
    }
    multiply_wait<0>(d);
}

// The parts of a tile's sums meet in memory, four of a thread beside those of its neighbours. The last block to come adds
// them up, from the first part on. Returns whether this block is the last.
template <class tile>
INLINE bool add_parts(const tti_hopper &p, const hopper_ring<tile> &ring, typename tile::sum (&d)[tile::sums]) {
    struct __align__(16) four {
        typename tile::sum v[4];
    };
    const int step = tile::consumers * tile::sums / 4;
    int number = blockIdx.z * gridDim.x + blockIdx.x;
    four *parts = pointer<four>(p.partial) + (int64_t)number * p.splits * step + threadIdx.x;
    four *own = parts + (int64_t)blockIdx.y * step;
#pragma unroll
    for (int i = 0; i < tile::sums / 4; i++) {
        own[i * tile::consumers] = four{{d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]}};
    }
    wait_for_threads(1, tile::consumers);
    if (threadIdx.x == 0) *ring.is_last = is_last_block(pointer<int32_t>(p.counters) + number, p.splits);
    wait_for_threads(1, tile::consumers);
    if (!*ring.is_last) return false;
#pragma unroll
    for (int i = 0; i < tile::sums; i++) d[i] = 0;
    for (int part = 0; part < p.splits; part++, parts += step) {
#pragma unroll
        for (int i = 0; i < tile::sums / 4; i++) {
            four sums = parts[i * tile::consumers];
            for (int j = 0; j < 4; j++) d[4 * i + j] += sums.v[j];
        }
    }
    return true;
}

// MARK: The end

// Boxes of results, where those of the residual have landed.
template <class tile> struct hopper_results {
    const hopper_ring<tile> &ring;
    int first;

    // Waits for the residual: no block may end while it is under way.
    INLINE_MEMBER hopper_results(const tti_hopper &p, const hopper_ring<tile> &ring, ring_position<tile> next)
        : ring(ring), first(next.stage) {
        for (int i = 0; p.adds && i < tile::result_stages; i++) {
            wait_barrier(&ring.full[next.stage], next.odd);
            next.advance();
        }
    }

    INLINE_MEMBER char *box(int i) const {
        int stage = first + i / tile::results_of_stage;
        return ring.x(stage < tile::stages ? stage : stage - tile::stages) + i % tile::results_of_stage * tile::result_bytes;
    }
};

// Eight of a thread's sums, of a half of a box of results. Registers have no index, and all that is done with them, unrolled,
// would be most of the kernel.
template <class tile> INLINE floats<8> sums_of(const typename tile::sum (&d)[tile::sums], int half) {
    floats<8> v;
    switch (half) {
#define SUMS_OF(i)                                          \
    case i:                                                 \
        if constexpr (8 * i < tile::sums) {                 \
            for (int j = 0; j < 8; j++) v[j] = (float)d[8 * i + j]; \
        }                                                   \
        break;
        SUMS_OF(0)
        SUMS_OF(1)
        SUMS_OF(2)
        SUMS_OF(3)
        SUMS_OF(4)
        SUMS_OF(5)
        SUMS_OF(6)
        SUMS_OF(7)
        SUMS_OF(8)
        SUMS_OF(9)
        SUMS_OF(10)
        SUMS_OF(11)
        SUMS_OF(12)
        SUMS_OF(13)
        SUMS_OF(14)
        SUMS_OF(15)
#undef SUMS_OF
    }
    return v;
}

// int8: what a unit of a thread's two rows stands for.
template <class tile> struct row_scales {
    float of[2];

    INLINE_MEMBER row_scales(const tti_hopper &p, int row) {
        if constexpr (tile::is_int8) {
            for (int i = 0; i < 2; i++) of[i] = row + i * 8 < p.rows ? pointer<const float>(p.x_scales)[row + i * 8] : 0.0f;
        }
    }
};

// Sums as the numbers they stand for, with the bias: of two groups of eight columns, two of a row and two of the row 8 below.
template <class tile>
INLINE floats<8> finished(const hopper_ring<tile> &ring, const row_scales<tile> &scales, floats<8> v, int column) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int place = column + i / 4 * 8 + i % 2;
        if constexpr (tile::is_int8) v[i] = __fmul_rn(v[i], __fmul_rn(scales.of[i / 2 % 2], ring.scales[place]));
        v[i] += ring.bias[place];
    }
    return v;
}

INLINE floats<8> rounded(floats<8> x) {
    for (int i = 0; i < 8; i += 2) {
        uint32_t pair = pack_bfloat16(x[i], x[i + 1]);
        x[i] = low_half(pair);
        x[i + 1] = high_half(pair);
    }
    return x;
}

// MARK: Statistics for a group norm

// What eight lanes, four apart, have of eight columns, added up: lane / 4 is the column whose total a lane gets.
INLINE float total_of_column(floats<8> x) {
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int half = 4; half > 0; half /= 2) {
        bool is_upper = lane & 4 * half;
#pragma unroll
        for (int j = 0; j < half; j++) {
            float kept = is_upper ? x[j + half] : x[j], given = is_upper ? x[j] : x[j + half];
            x[j] = kept + __shfl_xor_sync(ALL_LANES, given, 4 * half);
        }
    }
    return x[0];
}

// The sum over the lanes from `first` to `last`, of which this one is one.
INLINE float sum_of_lanes(float x, int first, int last) {
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int offset = 1; offset < WARP; offset *= 2) {
        float before = __shfl_up_sync(ALL_LANES, x, offset);
        if (lane - offset >= first) x += before;
    }
    return __shfl_sync(ALL_LANES, x, last);
}

// Of the results as they are stored, for a group norm. A warp has a box of 32 columns, a lane first a piece of every eighth row
// and then a column. Sums are of differences from a column's first number, so that their squares are of the size of the spread.
template <class tile>
INLINE void leave_statistics(const tti_hopper &p, const hopper_place &at, const hopper_results<tile> &results) {
    static_assert(RESULT_WIDTH == TTI_PART_CHANNELS && RESULT_WIDTH == WARP, "a part is of a box's columns");
    const tti_partial_statistics &s = p.statistics;
    int lane = threadIdx.x % WARP, piece = lane % 4, boxes = p.across * p.down;
    int width = min(p.box_width, s.width - at.x), height = min(p.box_height, s.height - at.y);
    // The width of a box is a power of two.
    int log_width = __ffs(p.box_width) - 1;
    float pixels = (float)(width * height);
    int number = at.image * s.boxes + blockIdx.z * boxes + blockIdx.x % p.boxes % boxes;
    statistics *parts = pointer<statistics>(s.parts) + (int64_t)number * s.parts_of_box;
    for (int i = threadIdx.x / WARP; i < tile::results; i += tile::consumers / WARP) {
        int first = at.column + i * RESULT_WIDTH;
        if (first >= p.outputs) return;
        const char *box = results.box(i);
        floats<8> shift = load<8>((const bfloat16 *)(box + result_place(0, piece))), sum, square;
        for (int j = 0; j < 8; j++) sum[j] = square[j] = 0;
#pragma unroll 4
        for (int row = lane / 4; row < tile::rows; row += WARP / 4) {
            if ((row & (p.box_width - 1)) >= width || row >> log_width >= height) continue;
            floats<8> v = load<8>((const bfloat16 *)(box + result_place(row, piece)));
            for (int j = 0; j < 8; j++) {
                float d = v[j] - shift[j];
                sum[j] += d;
                square[j] = fmaf(d, d, square[j]);
            }
        }
        // The lane that has this one's column.
        int from = lane % 8 * 4 + lane / 8;
        float total = __shfl_sync(ALL_LANES, total_of_column(sum), from);
        float squares = __shfl_sync(ALL_LANES, total_of_column(square), from);
        float difference = total / pixels;
        float mean = to_float(*(const bfloat16 *)(box + result_place(0, lane / 8) + lane % 8 * 2)) + difference;
        squares = fmaxf(0.0f, squares - total * difference);
        // Those of a group are joined.
        int group = (first + lane) / s.group_width, begin = max(group * s.group_width - first, 0);
        int last = min((group + 1) * s.group_width - first, WARP) - 1;
        float mean_of_part = sum_of_lanes(mean, begin, last) / (float)(last - begin + 1);
        difference = mean - mean_of_part;
        squares = sum_of_lanes(squares + pixels * difference * difference, begin, last);
        if (lane == last && first + lane < p.outputs) {
            parts[part_of(group, first / RESULT_WIDTH)] = statistics{mean_of_part, squares};
        }
    }
}

// MARK: Finishing

// Sums become outputs in the places of their residuals, from where the copy engine takes them to y. `halves` 2: the second
// half of the columns are gates.
template <class tile, int halves>
INLINE void finish(
    const tti_hopper &p, const hopper_ring<tile> &ring, typename tile::sum (&d)[tile::sums], const hopper_place &at,
    const hopper_results<tile> &results) {
    const int count = tile::results / halves;
    int lane = threadIdx.x % WARP, row = threadIdx.x / WARP * 16 + lane / 4;
    row_scales<tile> scales(p, at.x + row);
#pragma unroll 1
    for (int half = 0; half < 2 * count; half++) {
        int column = half * RESULT_WIDTH / 2 + lane % 4 * 2;
        floats<8> v = finished<tile>(ring, scales, sums_of<tile>(d, half), column);
        if constexpr (halves == 2) {
            // Both are rounded, as they are where the gate is a kernel of its own.
            floats<8> gate =
                finished<tile>(ring, scales, sums_of<tile>(d, 2 * count + half), tile::columns / 2 + column);
            gate = rounded(gate);
            activate(gate, p.activation);
            v = rounded(v);
            for (int i = 0; i < 8; i++) v[i] *= gate[i];
        } else {
            activate(v, p.activation);
        }
        char *box = results.box(half / 2) + lane % 4 * 4;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t *target = (uint32_t *)(box + result_place(row + i % 2 * 8, half % 2 * 2 + i / 2));
            float low = v[2 * i], high = v[2 * i + 1];
            if (p.adds) {
                low += low_half(*target);
                high += high_half(*target);
            }
            *target = pack_bfloat16(low, high);
        }
    }
    show_to_copies();
    wait_for_threads(1, tile::consumers);
    for (int i = 0; threadIdx.x == 0 && i < count; i++) {
        int column = at.column + i * RESULT_WIDTH;
        if (column < p.outputs) store_box(&p.y[blockIdx.z], results.box(i), column, at.x, at.y, at.image);
    }
    if constexpr (halves == 1 && !tile::is_int8) {
        if (p.statistics.parts) leave_statistics<tile>(p, at, results);
    }
    if (threadIdx.x == 0) wait_for_stores();
}

template <class tile> INLINE void multiply_on_hopper(const tti_hopper &p, char *shared) {
    hopper_ring<tile> ring(shared);
    hopper_place at = place_of_block<tile>(p);
    if (threadIdx.x == tile::consumers) {
        expect_map(&p.weight);
        expect_map(&p.x);
        if (p.own_blocks < p.channel_blocks) expect_map(&p.joined);
        expect_map(&p.y[blockIdx.z]);
        for (int i = 0; i < tile::stages; i++) {
            begin_barrier(&ring.full[i], 1);
            begin_barrier(&ring.empty[i], tile::consumers / WARP);
        }
        show_barriers();
    }
    __syncthreads();
    if (threadIdx.x >= tile::consumers) {
        if (threadIdx.x == tile::consumers) hopper_loader<tile>{p, ring, at}.load_all();
        return;
    }
    wait_for_inputs();
    for (int i = threadIdx.x; i < tile::columns; i += tile::consumers) {
        bool is_gate = p.is_gated && i >= tile::columns / 2;
        int column = at.column + (is_gate ? i - tile::columns / 2 : i), row = column + (is_gate ? p.gate_row : p.value_row);
        ring.bias[i] = !p.bias || column >= p.outputs ? 0.0f
            : p.is_bfloat16_bias                      ? to_float(pointer<const bfloat16>(p.bias)[row])
                                                      : pointer<const float>(p.bias)[row];
        if (tile::is_int8) ring.scales[i] = column < p.outputs ? pointer<const float>(p.weight_scales)[row] : 0.0f;
    }
    typename tile::sum d[tile::sums];
    ring_position<tile> next;
    multiply_boxes<tile>(d, ring, at, next);
    // All have done with the stages, and all of the bias is there.
    wait_for_threads(1, tile::consumers);
    hopper_results<tile> results(p, ring, next);
    if (p.splits > 1 && !add_parts<tile>(p, ring, d)) return;
    if constexpr (tile::columns % (2 * RESULT_WIDTH) == 0) {
        if (p.is_gated) return finish<tile, 2>(p, ring, d, at, results);
    }
    finish<tile, 1>(p, ring, d, at, results);
}

// MARK: Kernels

// `blocks` blocks are to be on a multiprocessor.
#define HOPPER_KERNEL(prefix, operand, columns, stages, blocks)                                      \
    KERNEL_RESIDENT(prefix##columns##x##stages, tti_hopper, 2 * 128 + WARP, blocks) {                \
        SHARED_BOXES(shared);                                                                        \
        multiply_on_hopper<hopper_tile<columns, stages, operand>>(p, shared);                        \
    }

// As HopperTile.swift has them.
#define HOPPER_KERNELS(prefix, operand)        \
    HOPPER_KERNEL(prefix, operand, 64, 8, 1)   \
    HOPPER_KERNEL(prefix, operand, 96, 7, 1)   \
    HOPPER_KERNEL(prefix, operand, 128, 3, 2)  \
    HOPPER_KERNEL(prefix, operand, 128, 6, 1)  \
    HOPPER_KERNEL(prefix, operand, 160, 5, 1)  \
    HOPPER_KERNEL(prefix, operand, 192, 5, 1)  \
    HOPPER_KERNEL(prefix, operand, 256, 4, 1)

#endif
