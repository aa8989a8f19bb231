// Products of many rows on Hopper: y = activation(x · weightᵀ + bias) + residual, in one kernel.
//
// Bound by the tensor cores where tiles are large, by the way from the second-level cache to shared memory where they are
// small: clusters of blocks share what they read. A cluster's blocks have neighbouring tiles of y, or parts of the depth of the
// same one. One warp asks for boxes of x and of the weights, a ring of stages ahead, the first weights before the inputs are
// there; the others, warpgroups of 128 threads with 64 rows each, multiply what has landed. An output's sum goes up in depth,
// sixteen at a time, whatever its tile. Which tile is taken is Swift's choice (CUDABackend+Hopper.swift).
#include "hopper.cuh"

#if defined(TTI_BF16) && __CUDA_ARCH__ == 900

// A tile of `rows` × `columns`; `warpgroups` share its rows. Blocks of a cluster have `down` · `across` neighbouring tiles: the
// ones below each other share the weights that they load, those beside each other x. And of each there are `splits`, with a
// part of the depth each: they add their sums up, each those of its own share of the rows.
template <int rows_, int columns_, int warpgroups_, int stages_, int down_, int across_, int splits_> struct hopper_tile {
    static const int down = down_, across = across_, splits = splits_, cluster = down * across * splits;
    static const int rows = rows_, columns = columns_, warpgroups = warpgroups_, stages = stages_;
    static const int parts = rows / warpgroups / 64, consumers = warpgroups * 128;
    // Blocks that fill a block's stages.
    static const int fillers = down + across - 1;
    static const int x_bytes = rows * BOX_ROW_BYTES, stage_bytes = x_bytes + columns * BOX_ROW_BYTES;
    // Sums on their way to the outputs: rows lie eight numbers further than they must, in different banks.
    static const int sum_stride = columns + 8;
    static_assert(rows == parts * warpgroups * 64, "64 rows a product");
    static_assert(rows * sum_stride * 4 <= stages * stage_bytes, "sums go where the stages were");
    static_assert(rows % (8 * across) == 0 && columns % (8 * down) == 0, "boxes are aligned");
};

// A block's place in its cluster; where its tile is, and which blocks of the depth it adds up.
struct hopper_place {
    int below, beside, part;
    int row, column, first, count;
};

template <class tile> INLINE hopper_place place_of_block(const tti_hopper &p) {
    hopper_place at;
    int rank = blockIdx.x % tile::cluster, cluster = blockIdx.x / tile::cluster;
    at.below = rank % tile::down;
    at.beside = rank / tile::down % tile::across;
    at.part = rank / (tile::down * tile::across);
    int down = (p.rows + tile::down * tile::rows - 1) / (tile::down * tile::rows);
    at.row = (cluster % down * tile::down + at.below) * tile::rows;
    at.column = (cluster / down * tile::across + at.beside) * tile::columns;
    at.first = p.blocks * at.part / tile::splits;
    at.count = p.blocks * (at.part + 1) / tile::splits - at.first;
    return at;
}

// The number in its cluster of the block at another place.
template <class tile> INLINE int rank_of(int below, int beside, int part) {
    return (part * tile::across + beside) * tile::down + below;
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

// This block's share of a stage's boxes goes to all blocks that read it.
template <class tile> struct hopper_loader {
    const tti_hopper &p;
    const hopper_ring<tile> &ring;
    int x_row, weights_row, x_offset, weights_offset;
    uint32_t x_blocks, weights_blocks;

    INLINE_MEMBER hopper_loader(const tti_hopper &p, const hopper_ring<tile> &ring, const hopper_place &at)
        : p(p), ring(ring) {
        int x_rows = tile::rows / tile::across, weights_rows = tile::columns / tile::down;
        x_row = at.row + at.beside * x_rows;
        x_offset = at.beside * x_rows * BOX_ROW_BYTES;
        weights_row = at.column + at.below * weights_rows;
        weights_offset = at.below * weights_rows * BOX_ROW_BYTES;
        x_blocks = weights_blocks = 0;
        for (int i = 0; i < tile::across; i++) x_blocks |= 1u << rank_of<tile>(at.below, i, at.part);
        for (int i = 0; i < tile::down; i++) weights_blocks |= 1u << rank_of<tile>(i, at.beside, at.part);
    }

    INLINE_MEMBER void load_x(int stage, int block) const {
        char *target = ring.x(stage) + x_offset;
        if (tile::across > 1) copy_box_to(x_blocks, target, &p.x, &ring.full[stage], block * BOX_WIDTH, x_row);
        else copy_box(target, &p.x, &ring.full[stage], block * BOX_WIDTH, x_row);
    }

    INLINE_MEMBER void load_weights(int stage, int block) const {
        char *target = ring.weights(stage) + weights_offset;
        if (tile::down > 1)
            copy_box_to(weights_blocks, target, &p.weight, &ring.full[stage], block * BOX_WIDTH, weights_row);
        else copy_box(target, &p.weight, &ring.full[stage], block * BOX_WIDTH, weights_row);
    }
};

// One thread asks for everything.
template <class tile>
INLINE void load_boxes(const tti_hopper &p, const hopper_ring<tile> &ring, const hopper_place &at) {
    hopper_loader<tile> loader(p, ring, at);
    int early = min(at.count, tile::stages);
    for (int i = 0; i < early; i++) {
        arrive_expecting(&ring.full[i], tile::stage_bytes);
        loader.load_weights(i, at.first + i);
    }
    wait_for_inputs();
    for (int i = 0; i < early; i++) loader.load_x(i, at.first + i);
    ring_position<tile::stages> next;
    for (int i = tile::stages; i < at.count; i++) {
        wait_barrier(&ring.empty[next.stage], next.odd);
        arrive_expecting(&ring.full[next.stage], tile::stage_bytes);
        loader.load_x(next.stage, at.first + i);
        loader.load_weights(next.stage, at.first + i);
        next.advance();
    }
}

// The warp has done with a stage: the blocks that fill it are told, by a lane each.
template <class tile>
INLINE void release_stage(const hopper_ring<tile> &ring, const hopper_place &at, int stage) {
    int lane = threadIdx.x % WARP;
    if (tile::fillers == 1) {
        if (lane == 0) arrive(&ring.empty[stage]);
    } else if (lane < tile::fillers) {
        // Those of its column, then the others of its row.
        int other = lane - tile::down + (lane - tile::down >= at.beside);
        bool is_below = lane < tile::down;
        arrive_at(
            &ring.empty[stage], rank_of<tile>(is_below ? lane : at.below, is_below ? at.beside : other, at.part));
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
        if (i > 0) release_stage<tile>(ring, at, used);
        used = next.stage;
        next.advance();
    }
    multiply_wait<0>();
}

// MARK: The end

// Sums of four neighbouring columns become outputs.
INLINE void finish_four(const tti_hopper &p, floats<4> v, const float *bias, int row, int column) {
    if (row >= p.rows || column >= p.outputs) return;
    int64_t place = (int64_t)row * p.outputs + column;
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

// A warpgroup's sums go to shared memory, from which whole rows of outputs are written.
template <class tile>
INLINE void put_sums(const hopper_ring<tile> &ring, const float (&d)[tile::parts][tile::columns / 2]) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int row = warp / 4 * tile::parts * 64 + warp % 4 * 16 + lane / 4;
    float *own = (float *)ring.boxes + row * tile::sum_stride + lane % 4 * 2;
#pragma unroll
    for (int part = 0; part < tile::parts; part++) {
#pragma unroll
        for (int j = 0; j < tile::columns / 8; j++) {
            float *target = own + part * 64 * tile::sum_stride + 8 * j;
            *(bytes8 *)target = bytes8{{as_bits(d[part][4 * j]), as_bits(d[part][4 * j + 1])}};
            *(bytes8 *)(target + 8 * tile::sum_stride) = bytes8{{as_bits(d[part][4 * j + 2]), as_bits(d[part][4 * j + 3])}};
        }
    }
}

// `rows` rows of the tile become outputs, by `threads` threads.
template <class tile, int rows, int threads>
INLINE void finish_rows(
    const tti_hopper &p, const hopper_ring<tile> &ring, const hopper_place &at, int first_row, int thread) {
    const int across = tile::columns / 4;
    const float *sums = (const float *)ring.boxes + first_row * tile::sum_stride;
#pragma unroll 4
    for (int i = thread; i < rows * across; i += threads) {
        int row = i / across, column = i % across * 4;
        const float *own = sums + row * tile::sum_stride + column;
        floats<4> v;
        if (tile::splits == 1) {
            v = load<4>(own);
        } else {
            // In the order of the parts.
            v = load_from(own, rank_of<tile>(at.below, at.beside, 0));
#pragma unroll
            for (int part = 1; part < tile::splits; part++) {
                floats<4> other = load_from(own, rank_of<tile>(at.below, at.beside, part));
                for (int j = 0; j < 4; j++) v[j] += other[j];
            }
        }
        finish_four(p, v, ring.bias + column, at.row + first_row + row, at.column + column);
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
            begin_barrier(&ring.empty[i], tile::consumers / WARP * tile::fillers);
        }
        show_barriers();
    }
    __syncthreads();
    if (tile::cluster > 1) {
        // Others write to this block's shared memory from here on, until all have done with everybody's stages.
        arrive_in_cluster<tile::cluster>();
        wait_for_cluster();
    }
    if (threadIdx.x >= tile::consumers) {
        if (threadIdx.x == tile::consumers) load_boxes<tile>(p, ring, at);
        __syncwarp();
        for (int i = 0; i < (tile::splits > 1) + (tile::cluster > 1); i++) {
            arrive_in_cluster<tile::cluster>();
            wait_for_cluster();
        }
        return;
    }
    wait_for_inputs();
    for (int i = threadIdx.x; i < tile::columns; i += tile::consumers) {
        int column = at.column + i;
        ring.bias[i] = p.bias && column < p.outputs ? pointer<const float>(p.bias)[column] : 0.0f;
    }
    float d[tile::parts][tile::columns / 2];
    multiply_boxes<tile>(d, ring, at);
    // All have done with the stages.
    wait_for_threads(1, tile::consumers);
    if (tile::splits > 1) {
        put_sums<tile>(ring, d);
        arrive_in_cluster<tile::cluster>();
        wait_for_cluster();
        const int rows = tile::rows / tile::splits;
        finish_rows<tile, rows, tile::consumers>(p, ring, at, at.part * rows, threadIdx.x);
        arrive_in_cluster<tile::cluster>();
    } else {
        if (tile::cluster > 1) arrive_in_cluster<tile::cluster>();
        put_sums<tile>(ring, d);
        int warpgroup = threadIdx.x / 128;
        wait_for_threads(2 + warpgroup, 128);
        const int rows = tile::parts * 64;
        finish_rows<tile, rows, 128>(p, ring, at, warpgroup * rows, threadIdx.x % 128);
    }
    if (tile::cluster > 1) wait_for_cluster();
}

// MARK: Kernels

// `blocks` blocks are to be on a multiprocessor.
#define HOPPER(rows, columns, warpgroups, stages, blocks, down, across, splits)                                        \
    KERNEL_OF_CLUSTER(                                                                                                \
        hopper_##rows##x##columns##x##stages##_##down##x##across##x##splits, tti_hopper, (warpgroups) * 128 + WARP,     \
        blocks, (down) * (across) * (splits)) {                                                                       \
        SHARED_BOXES(shared);                                                                                         \
        multiply_on_hopper<hopper_tile<rows, columns, warpgroups, stages, down, across, splits>>(p, shared);           \
    }

HOPPER(64, 128, 1, 4, 2, 1, 1, 1)
HOPPER(128, 64, 2, 4, 2, 1, 1, 1)
HOPPER(128, 64, 2, 8, 1, 1, 1, 1)
HOPPER(128, 64, 2, 8, 1, 2, 1, 1)
HOPPER(128, 64, 2, 8, 1, 2, 2, 1)
HOPPER(128, 64, 2, 8, 1, 4, 1, 1)
HOPPER(128, 128, 2, 3, 2, 1, 1, 1)
HOPPER(128, 128, 2, 3, 2, 2, 1, 1)
HOPPER(128, 128, 2, 6, 1, 1, 1, 1)
HOPPER(128, 128, 2, 6, 1, 2, 1, 1)
HOPPER(128, 128, 2, 6, 1, 2, 2, 1)
HOPPER(128, 128, 2, 6, 1, 4, 1, 1)
HOPPER(128, 128, 2, 6, 1, 1, 1, 2)
HOPPER(128, 128, 2, 6, 1, 2, 1, 2)
HOPPER(128, 128, 2, 6, 1, 2, 2, 2)
HOPPER(128, 128, 2, 6, 1, 4, 1, 2)
HOPPER(128, 128, 2, 6, 1, 2, 1, 4)
HOPPER(128, 160, 2, 3, 1, 1, 1, 1)
HOPPER(128, 160, 2, 5, 1, 1, 1, 1)
HOPPER(128, 160, 2, 5, 1, 2, 1, 1)
HOPPER(128, 192, 2, 5, 1, 1, 1, 1)
HOPPER(128, 192, 2, 5, 1, 2, 1, 1)
HOPPER(128, 192, 2, 5, 1, 2, 2, 1)
HOPPER(128, 192, 2, 5, 1, 4, 1, 1)
HOPPER(128, 256, 2, 4, 1, 1, 1, 1)
HOPPER(128, 256, 2, 4, 1, 2, 1, 1)
HOPPER(128, 256, 2, 4, 1, 2, 2, 1)
HOPPER(128, 256, 2, 4, 1, 4, 1, 1)
HOPPER(128, 256, 2, 4, 1, 2, 1, 2)
HOPPER(128, 256, 2, 4, 1, 2, 1, 4)
HOPPER(256, 128, 2, 4, 1, 1, 1, 1)
HOPPER(256, 128, 2, 4, 1, 2, 1, 1)
HOPPER(256, 128, 2, 4, 1, 2, 1, 4)
HOPPER(256, 128, 2, 4, 1, 1, 1, 4)

#endif
