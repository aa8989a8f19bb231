// Attention of whole sequences on Hopper, of every query to every key: scores never reach memory. Bound by the exponentials
// where heads are narrow, by the products where they are wide.
//
// Grid: tiles of queries, heads, entries. One warp has the copy engine bring a block's queries, and keys and values a ring of
// tiles ahead; the other warps, warpgroups of 128 threads with 64 queries each, multiply what has landed. Softmax is online,
// with powers of two. While a warpgroup's products are made, of a tile's values and of the next tile's keys, the other one is at
// its exponentials. What lies past the last query, key or column of a head counts as zeros, and scores of such keys as masked.
#include "attention.cuh"
#include "hopper.cuh"

#if defined(TTI_BF16) && __CUDA_ARCH__ == 900

// `width`: the widest head; `keys` of a tile; `warpgroups` of 64 queries; `stages` of the ring.
template <int width_, int keys_, int warpgroups_, int stages_> struct attention_shape {
    static const int width = width_, keys = keys_, warpgroups = warpgroups_, stages = stages_;
    // Boxes that a row reaches over, and products of 16 columns.
    static const int boxes = (width + BOX_WIDTH - 1) / BOX_WIDTH, depth = (width + 15) / 16;
    static const int queries = 64 * warpgroups, consumers = 128 * warpgroups;
    static const int key_box_bytes = keys * BOX_ROW_BYTES, tile_bytes = boxes * key_box_bytes;
    static const int query_box_bytes = 64 * BOX_ROW_BYTES, query_bytes = boxes * query_box_bytes;
    static const int ring_bytes = stages * 2 * tile_bytes;
};

// Tiles of keys and of values are full when their boxes have landed, and empty when all warps have multiplied them.
template <class shape> struct attention_ring {
    char *tiles, *queries;
    uint64_t *full_keys, *full_values, *empty_keys, *empty_values, *full_queries;

    INLINE_MEMBER attention_ring(char *shared) {
        tiles = shared;
        queries = shared + shape::ring_bytes;
        full_keys = (uint64_t *)(queries + shape::warpgroups * shape::query_bytes);
        full_values = full_keys + shape::stages;
        empty_keys = full_values + shape::stages;
        empty_values = empty_keys + shape::stages;
        full_queries = empty_values + shape::stages;
    }

    INLINE_MEMBER char *keys(int stage) const { return tiles + stage * 2 * shape::tile_bytes; }
    INLINE_MEMBER char *values(int stage) const { return keys(stage) + shape::tile_bytes; }

    INLINE_MEMBER void begin() const {
        for (int i = 0; i < shape::stages; i++) {
            begin_barrier(&full_keys[i], 1);
            begin_barrier(&full_values[i], 1);
            begin_barrier(&empty_keys[i], shape::consumers / WARP);
            begin_barrier(&empty_values[i], shape::consumers / WARP);
        }
        begin_barrier(full_queries, 1);
        show_barriers();
    }
};

// MARK: Loading

// One thread asks for everything.
template <class shape> struct attention_loader {
    const tti_attention_hopper &p;
    const attention_ring<shape> &ring;
    int entry, key_entry, head, tiles;

    INLINE_MEMBER void load_queries(int first) const {
        arrive_expecting(ring.full_queries, shape::warpgroups * shape::query_bytes);
        for (int i = 0; i < shape::warpgroups; i++) {
            for (int box = 0; box < shape::boxes; box++) {
                char *target = ring.queries + i * shape::query_bytes + box * shape::query_box_bytes;
                copy_box(target, &p.q, ring.full_queries, box * BOX_WIDTH, head, first + i * 64, entry);
            }
        }
    }

    INLINE_MEMBER void load_tile(
        char *target, const tti_tensor_map *map, uint64_t *full, int tile) const {
        arrive_expecting(full, shape::tile_bytes);
        for (int box = 0; box < shape::boxes; box++) {
            copy_box(
                target + box * shape::key_box_bytes, map, full, box * BOX_WIDTH, head, tile * shape::keys, key_entry);
        }
    }

    // Tiles from `first` up to `end`.
    INLINE_MEMBER void load_tiles(int first, int end) const {
        for (int i = first; i < end; i++) {
            int stage = i % shape::stages;
            uint32_t odd = i / shape::stages % 2;
            if (i >= shape::stages) wait_barrier(&ring.empty_keys[stage], odd ^ 1);
            load_tile(ring.keys(stage), &p.keys, &ring.full_keys[stage], i);
            if (i >= shape::stages) wait_barrier(&ring.empty_values[stage], odd ^ 1);
            load_tile(ring.values(stage), &p.values, &ring.full_values[stage], i);
        }
    }

    INLINE_MEMBER void load_all() const {
        int early = p.is_settled ? min(tiles, shape::stages) : 0;
        load_tiles(0, early);
        wait_for_inputs();
        load_queries(blockIdx.x * shape::queries);
        load_tiles(early, tiles);
    }
};

// MARK: Attending

// What a thread has of its warpgroup's 64 queries: of two rows, lane / 4 and 8 more in its warp's 16, every eighth pair of
// columns.
template <class shape> struct attention_rows {
    float scores[shape::keys / 2], mixed[shape::width / 2], most[2], total[2];
    uint32_t weights[shape::keys / 16][4];

    INLINE_MEMBER attention_rows() {
        most[0] = most[1] = minus_infinity();
        total[0] = total[1] = 0;
#pragma unroll
        for (int i = 0; i < shape::width / 2; i++) mixed[i] = 0;
    }

    // Begins to make the scores of a tile of keys.
    INLINE_MEMBER void score(const char *queries, const char *keys) {
        multiply_begin();
#pragma unroll
        for (int depth = 0; depth < shape::depth; depth++) {
            int box = depth / 4, bytes = depth % 4 * 32;
            box_rows a = further(rows_at(queries + box * shape::query_box_bytes), bytes);
            box_rows b = further(rows_at(keys + box * shape::key_box_bytes), bytes);
            if (depth == 0) {
                multiply_shared_first(scores, a, b);
            } else {
                multiply_shared(scores, a, b, 1);
            }
        }
        multiply_commit();
    }

    // Of the keys of a tile only `count` are there.
    INLINE_MEMBER void mask(int count) {
#pragma unroll
        for (int i = 0; i < shape::keys / 2; i++) {
            if (i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2 >= count) scores[i] = minus_infinity();
        }
    }

    // Scores become weights relative to the largest so far, as a product's left operand wants them; what was mixed and added
    // up shrinks accordingly.
    INLINE_MEMBER void soften(float unit) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float highest = scores[2 * r];
#pragma unroll
            for (int i = 0; i < shape::keys / 8; i++) {
                highest = fmaxf(highest, fmaxf(scores[4 * i + 2 * r], scores[4 * i + 2 * r + 1]));
            }
            // Four lanes have a row.
            highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, 1));
            highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, 2));
            highest = fmaxf(most[r], highest * unit);
            float base = finite_base(highest), sums[2] = {0, 0};
            float shrink = exp2_fast(most[r] - base);
            most[r] = highest;
#pragma unroll
            for (int i = 0; i < shape::keys / 8; i++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    float &score = scores[4 * i + 2 * r + e];
                    score = exp2_fast(fmaf(score, unit, -base));
                    sums[e] += score;
                }
            }
            total[r] = total[r] * shrink + (sums[0] + sums[1]);
#pragma unroll
            for (int i = 0; i < shape::width / 8; i++) {
                mixed[4 * i + 2 * r] *= shrink;
                mixed[4 * i + 2 * r + 1] *= shrink;
            }
        }
#pragma unroll
        for (int i = 0; i < shape::keys / 4; i++) {
            weights[i / 4][i % 4] = pack_bfloat16(scores[2 * i], scores[2 * i + 1]);
        }
    }

    // Begins to add values by their weights.
    INLINE_MEMBER void mix(const char *values) {
        multiply_begin();
#pragma unroll
        for (int i = 0; i < shape::keys / 16; i++) {
            multiply_registers(
                mixed, weights[i], columns_at(values + i * 16 * BOX_ROW_BYTES, shape::key_box_bytes));
        }
        multiply_commit();
    }

    // Puts rows where the queries were, from where the copy engine takes them to y.
    INLINE_MEMBER void write(const tti_attention_hopper &p, char *rows, int first, int head, int entry) {
        int lane = threadIdx.x % WARP, row = threadIdx.x / WARP % 4 * 16 + lane / 4;
        float part[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float sum = total[r];
            sum += __shfl_xor_sync(ALL_LANES, sum, 1);
            sum += __shfl_xor_sync(ALL_LANES, sum, 2);
            part[r] = sum > 0 ? 1 / sum : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < shape::width / 4; i++) {
            int r = i % 2, piece = i / 2, own = row + 8 * r;
            char *target = rows + piece / 8 * shape::query_box_bytes + own * BOX_ROW_BYTES + (piece % 8 ^ own % 8) * 16;
            *(uint32_t *)(target + lane % 4 * 4) = pack_bfloat16(mixed[2 * i] * part[r], mixed[2 * i + 1] * part[r]);
        }
        show_to_copies();
        int warpgroup = threadIdx.x / 128;
        wait_for_threads(1 + warpgroup, 128);
        if (threadIdx.x % 128 > 0) return;
        for (int box = 0; box < shape::boxes; box++) {
            store_box(&p.y, rows + box * shape::query_box_bytes, box * BOX_WIDTH, head, first, entry);
        }
        wait_for_stores();
    }
};

template <class shape> INLINE void attend(const tti_attention_hopper &p, char *shared) {
    attention_ring<shape> ring(shared);
    int head = blockIdx.y, entry = blockIdx.z, tiles = (p.key_count + shape::keys - 1) / shape::keys;
    if (threadIdx.x == shape::consumers) {
        expect_map(&p.keys);
        expect_map(&p.values);
        expect_map(&p.q);
        expect_map(&p.y);
        ring.begin();
    }
    __syncthreads();
    if (threadIdx.x >= shape::consumers) {
        int key_entry = (int64_t)entry * p.key_batch / p.batch;
        if (threadIdx.x == shape::consumers) attention_loader<shape>{p, ring, entry, key_entry, head, tiles}.load_all();
        return;
    }
    int warpgroup = threadIdx.x / 128, stage = 0;
    uint32_t odd = 0;
    char *queries = ring.queries + warpgroup * shape::query_bytes;
    attention_rows<shape> rows;
    wait_for_inputs();
    wait_barrier(ring.full_queries, 0);
    wait_barrier(&ring.full_keys[0], 0);
    rows.score(queries, ring.keys(0));
    multiply_wait<0>(rows.scores);
    bool is_warp = threadIdx.x % WARP == 0;
    for (int i = 0; i + 1 < tiles; i++) {
        int after = stage + 1 < shape::stages ? stage + 1 : 0;
        if (is_warp) arrive(&ring.empty_keys[stage]);
        rows.soften(p.factor);
        wait_barrier(&ring.full_keys[after], after > 0 ? odd : odd ^ 1);
        rows.score(queries, ring.keys(after));
        wait_barrier(&ring.full_values[stage], odd);
        rows.mix(ring.values(stage));
        multiply_wait<0>(rows.scores);
        multiply_wait<0>(rows.mixed);
        if (is_warp) arrive(&ring.empty_values[stage]);
        stage = after;
        if (stage == 0) odd ^= 1;
    }
    rows.mask(p.key_count - (tiles - 1) * shape::keys);
    rows.soften(p.factor);
    wait_barrier(&ring.full_values[stage], odd);
    rows.mix(ring.values(stage));
    multiply_wait<0>(rows.mixed);
    rows.write(p, queries, blockIdx.x * shape::queries + warpgroup * 64, head, entry);
}

// MARK: Kernels

// The numbers are known to CUDABackend+Attention.swift too.
#define ATTENTION(width, keys, warpgroups, stages)                                                                  \
    KERNEL(attention_hopper_##width##_##warpgroups, tti_attention_hopper, (warpgroups) * 128 + WARP) {                \
        SHARED_BOXES(shared);                                                                                      \
        attend<attention_shape<width, keys, warpgroups, stages>>(p, shared);                                        \
    }

ATTENTION(40, 128, 2, 3)
ATTENTION(64, 128, 2, 3)
ATTENTION(80, 128, 2, 2)
ATTENTION(128, 64, 2, 4)
ATTENTION(160, 64, 2, 3)
ATTENTION(40, 128, 1, 2)
ATTENTION(64, 128, 1, 2)
ATTENTION(80, 128, 1, 2)
ATTENTION(128, 64, 1, 4)
ATTENTION(160, 64, 1, 3)

#endif
