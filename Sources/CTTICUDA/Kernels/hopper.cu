// Products of many rows on Hopper: y = activation(x · weightᵀ + bias) + residual, in one kernel.
//
// Bound by the tensor cores where tiles are large, by the way from the second-level cache to shared memory where they are
// small. A block makes one tile of y: grid (tiles, the rows' fastest; splits of the depth). One warp asks for boxes of x and
// of the weights, a ring of stages ahead, the first weights before the inputs are there; the others, warpgroups of 128
// threads with 64 rows each, multiply what has landed. An output's sum goes up in depth, sixteen at a time, whatever its
// tile. Which tile is taken is Swift's choice (CUDABackend+Hopper.swift).
#include "hopper.cuh"

#if defined(TTI_BF16) && __CUDA_ARCH__ == 900

// A tile of `rows` × `columns`; `warpgroups` share its rows.
template <int rows_, int columns_, int warpgroups_, int stages_> struct hopper_tile {
    static const int rows = rows_, columns = columns_, warpgroups = warpgroups_, stages = stages_;
    static const int parts = rows / warpgroups / 64, consumers = warpgroups * 128;
    static const int x_bytes = rows * BOX_ROW_BYTES, stage_bytes = x_bytes + columns * BOX_ROW_BYTES;
    // Sums on their way to the outputs: rows lie eight numbers further than they must, in different banks.
    static const int sum_stride = columns + 8;
    static_assert(rows == parts * warpgroups * 64, "64 rows a product");
    static_assert(rows * sum_stride * 4 <= stages * stage_bytes, "sums go where the stages were");
    static_assert(stage_bytes % 1024 == 0 && x_bytes % 1024 == 0, "boxes are aligned");
};

// Where a tile is, and which blocks of the depth its block adds up.
struct hopper_place {
    int row, column, first, count;
};

template <class tile> INLINE hopper_place place_of_block(const tti_hopper &p) {
    hopper_place at;
    int down = (p.rows + tile::rows - 1) / tile::rows;
    at.row = blockIdx.x % down * tile::rows;
    at.column = blockIdx.x / down * tile::columns;
    at.first = p.blocks * (int)blockIdx.y / p.splits;
    at.count = p.blocks * (int)(blockIdx.y + 1) / p.splits - at.first;
    return at;
}

// The ring: a stage is full when its boxes have landed, and empty when all warps have multiplied them.
template <class tile> struct hopper_ring {
    char *boxes;
    uint64_t *full, *empty;
    float *bias;

    INLINE_MEMBER hopper_ring(char *shared) {
        boxes = shared;
        full = (uint64_t *)(shared + tile::stages * tile::stage_bytes);
        empty = full + tile::stages;
        bias = (float *)(full + 2 * 8);
        static_assert(tile::stages <= 8, "barriers lie before the bias");
    }

    INLINE_MEMBER char *x(int stage) const { return boxes + stage * tile::stage_bytes; }
    INLINE_MEMBER char *weights(int stage) const { return x(stage) + tile::x_bytes; }
};

// Which stage is next, and whether it is in an odd round.
template <int stages> struct ring_position {
    int stage = 0;
    uint32_t odd = 0;

    INLINE_MEMBER void advance() {
        if (++stage == stages) {
            stage = 0;
            odd ^= 1;
        }
    }
};

// MARK: Loading

// One thread asks for everything.
template <class tile>
INLINE void load_boxes(const tti_hopper &p, const hopper_ring<tile> &ring, const hopper_place &at) {
    int early = min(at.count, tile::stages);
    for (int i = 0; i < early; i++) {
        arrive_expecting(&ring.full[i], tile::stage_bytes);
        copy_box(ring.weights(i), &p.weight, &ring.full[i], (at.first + i) * BOX_WIDTH, at.column);
    }
    wait_for_inputs();
    for (int i = 0; i < early; i++) {
        copy_box(ring.x(i), &p.x, &ring.full[i], (at.first + i) * BOX_WIDTH, at.row);
    }
    ring_position<tile::stages> next;
    for (int i = tile::stages; i < at.count; i++) {
        wait_barrier(&ring.empty[next.stage], next.odd);
        uint64_t *full = &ring.full[next.stage];
        arrive_expecting(full, tile::stage_bytes);
        copy_box(ring.x(next.stage), &p.x, full, (at.first + i) * BOX_WIDTH, at.row);
        copy_box(ring.weights(next.stage), &p.weight, full, (at.first + i) * BOX_WIDTH, at.column);
        next.advance();
    }
}

// MARK: Multiplying

// The sums of a warpgroup's rows, `parts` times 64 of them.
template <class tile>
INLINE void multiply_boxes(
    float (&d)[tile::parts][tile::columns / 2], const hopper_ring<tile> &ring, const hopper_place &at) {
    int warpgroup = threadIdx.x / 128;
    ring_position<tile::stages> next;
    int used = 0;
    for (int i = 0; i < at.count; i++) {
        wait_barrier(&ring.full[next.stage], next.odd);
        box_rows x = rows_at(ring.x(next.stage) + warpgroup * tile::parts * 64 * BOX_ROW_BYTES);
        box_rows weights = rows_at(ring.weights(next.stage));
        multiply_begin();
#pragma unroll
        for (int depth = 0; depth < BOX_ROW_BYTES; depth += 32) {
#pragma unroll
            for (int part = 0; part < tile::parts; part++) {
                multiply_shared(
                    d[part], further(x, part * 64 * BOX_ROW_BYTES + depth), further(weights, depth), i > 0 || depth > 0);
            }
        }
        multiply_commit();
        // The products of the stage before are done.
        multiply_wait<1>();
        if (i > 0 && threadIdx.x % WARP == 0) arrive(&ring.empty[used]);
        used = next.stage;
        next.advance();
    }
    multiply_wait<0>();
}

// MARK: The end

// Sums of four neighbouring columns become outputs, or a part of their sums.
INLINE void finish_four(const tti_hopper &p, floats<4> v, const float *bias, int row, int column) {
    if (row >= p.rows || column >= p.outputs) return;
    int64_t place = (int64_t)row * p.outputs + column;
    if (p.splits > 1) {
        store(pointer<float>(p.partial) + (int64_t)blockIdx.y * p.rows * p.outputs + place, v);
        return;
    }
    for (int j = 0; j < 4; j++) v[j] += bias[j];
    activate(v, p.activation);
    if (p.residual) {
        bytes8 other = *(const bytes8 *)(pointer<const bfloat16>(p.residual) + place);
        for (int j = 0; j < 2; j++) {
            v[2 * j] += low_half(other.word[j]);
            v[2 * j + 1] += high_half(other.word[j]);
        }
    }
    bytes8 result = {{pack_bfloat16(v[0], v[1]), pack_bfloat16(v[2], v[3])}};
    *(bytes8 *)(pointer<bfloat16>(p.y) + place) = result;
}

// A warpgroup's sums go through shared memory, so that rows of outputs are written whole.
template <class tile>
INLINE void finish_rows(
    const tti_hopper &p, const hopper_ring<tile> &ring, const float (&d)[tile::parts][tile::columns / 2],
    const hopper_place &at) {
    const int rows = tile::parts * 64, across = tile::columns / 4;
    int warpgroup = threadIdx.x / 128, thread = threadIdx.x % 128, lane = thread % WARP;
    float *sums = (float *)ring.boxes + warpgroup * rows * tile::sum_stride;
    // All have done with the stages.
    wait_for_threads(1, tile::consumers);
    float *own = sums + (thread / WARP * 16 + lane / 4) * tile::sum_stride + lane % 4 * 2;
#pragma unroll
    for (int part = 0; part < tile::parts; part++) {
#pragma unroll
        for (int j = 0; j < tile::columns / 8; j++) {
            float *target = own + part * 64 * tile::sum_stride + 8 * j;
            *(bytes8 *)target = bytes8{{as_bits(d[part][4 * j]), as_bits(d[part][4 * j + 1])}};
            *(bytes8 *)(target + 8 * tile::sum_stride) = bytes8{{as_bits(d[part][4 * j + 2]), as_bits(d[part][4 * j + 3])}};
        }
    }
    wait_for_threads(2 + warpgroup, 128);
    int first = at.row + warpgroup * rows;
#pragma unroll 4
    for (int i = thread; i < rows * across; i += 128) {
        int row = i / across, column = i % across * 4;
        finish_four(p, load<4>(sums + row * tile::sum_stride + column), ring.bias + column, first + row, at.column + column);
    }
}

template <class tile> INLINE void multiply_on_hopper(const tti_hopper &p, char *shared) {
    hopper_ring<tile> ring(shared);
    hopper_place at = place_of_block<tile>(p);
    if (threadIdx.x == tile::consumers) {
        expect_map(&p.weight);
        expect_map(&p.x);
        for (int i = 0; i < tile::stages; i++) {
            begin_barrier(&ring.full[i], 1);
            begin_barrier(&ring.empty[i], tile::consumers / WARP);
        }
        show_barriers();
    }
    __syncthreads();
    if (threadIdx.x >= tile::consumers) {
        if (threadIdx.x == tile::consumers) load_boxes<tile>(p, ring, at);
        return;
    }
    wait_for_inputs();
    for (int i = threadIdx.x; i < tile::columns; i += tile::consumers) {
        int column = at.column + i;
        ring.bias[i] = p.bias && column < p.outputs ? pointer<const float>(p.bias)[column] : 0.0f;
    }
    float d[tile::parts][tile::columns / 2];
    multiply_boxes<tile>(d, ring, at);
    finish_rows<tile>(p, ring, d, at);
}

// MARK: Kernels

// `blocks` blocks are to be on a multiprocessor.
#define HOPPER(rows, columns, warpgroups, stages, blocks)                                                   \
    KERNEL_RESIDENT(hopper_##rows##x##columns##x##stages, tti_hopper, (warpgroups) * 128 + WARP, blocks) {      \
        SHARED_BOXES(shared);                                                                              \
        multiply_on_hopper<hopper_tile<rows, columns, warpgroups, stages>>(p, shared);                      \
    }

HOPPER(128, 64, 2, 8, 1)
HOPPER(128, 128, 2, 3, 2)
HOPPER(128, 160, 2, 5, 1)
HOPPER(128, 256, 2, 4, 1)

#endif
