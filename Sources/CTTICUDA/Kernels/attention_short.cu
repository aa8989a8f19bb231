// Attention over so few keys that a block holds all of them: those of a picture's tokens, or of a text. Without masks, with
// rows at multiples of 16 bytes. Bound by the second-level cache, from which each block reads all keys and values of its
// head, and by latencies.
//
// Grid: 64 queries, heads, entries. Everything is asked for at once, keys and values that are older than the kernel before
// (a text's) ahead of the queries. Eight warps: four share the queries, and two the keys, tile by tile; at the end each
// two put together what they have, one the first half of the columns, the other the second.
#include "attention_rows.cuh"

#ifdef TTI_BF16

#define THREADS 256
#define QUERIES 64
#define KEYS 64
// Tiles of keys that a block holds, and warps that share them.
#define TILES 4
#define TEAMS 2

// Waits until at most `left` groups of copies are under way.
INLINE void copy_wait_for(int left) {
    switch (left) {
    case 0: return copy_wait<0>();
    case 1: return copy_wait<1>();
    case 2: return copy_wait<2>();
    default: return copy_wait<3>();
    }
}

// What a warp leaves for the one with which it shares queries, a number for each lane: half of its columns, and what they
// are relative to.
template <int width> struct shared_half {
    typedef query_rows<width, 1, KEYS> rows_of_warp;
    static const int count = width / 16;
    float mixed[count][4][WARP], most[2][WARP], total[2][WARP];

    template <int first> INLINE_MEMBER void put(const rows_of_warp &rows) {
        int lane = threadIdx.x % WARP;
#pragma unroll
        for (int i = 0; i < count; i++) {
#pragma unroll
            for (int e = 0; e < 4; e++) mixed[i][e][lane] = rows.mixed[0][first + i][e];
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            most[r][lane] = rows.most[0][r];
            total[r][lane] = rows.total[0][r];
        }
    }

    template <int first> INLINE_MEMBER void add_to(rows_of_warp &rows) const {
        int lane = threadIdx.x % WARP;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float base = finite_base(fmaxf(rows.most[0][r], most[r][lane]));
            float own = exp2_fast(rows.most[0][r] - base), other = exp2_fast(most[r][lane] - base);
            rows.total[0][r] = rows.total[0][r] * own + total[r][lane] * other;
#pragma unroll
            for (int i = 0; i < count; i++) {
#pragma unroll
                for (int e = 2 * r; e < 2 * r + 2; e++) {
                    rows.mixed[0][first + i][e] = rows.mixed[0][first + i][e] * own + mixed[i][e][lane] * other;
                }
            }
        }
    }
};

template <int width> INLINE void attend(const tti_attention &p) {
    SHARED_MEMORY(shared);
    const int stride = width + 8, step = TEAMS * KEYS;
    element *q_tile = (element *)shared, *k_tiles = q_tile + QUERIES * stride;
    // As many keys as there are steps for.
    element *v_tiles = k_tiles + (p.key_count + step - 1) / step * step * stride;
    int warp = threadIdx.x / WARP, team = warp / (QUERIES / 16), first_row = warp % (QUERIES / 16) * 16;
    int first_query = blockIdx.x * QUERIES, head = blockIdx.y, entry = blockIdx.z;
    int key_entry = (int64_t)entry * p.key_batch / p.batch;
    const element *q = head_of(p.q, p.q_stride, (int64_t)entry * p.queries + first_query, head, p.width);
    const element *k = head_of(p.keys, p.key_stride, (int64_t)key_entry * p.key_count, head, p.width);
    const element *v = head_of(p.values, p.value_stride, (int64_t)key_entry * p.key_count, head, p.width);

    // Groups of copies: queries and keys, values, keys, values; there may be no more of them. Queries come last where they
    // are waited for, and then everything is.
    if (!p.is_settled) {
        wait_for_inputs();
        stage<QUERIES, width, THREADS>(q_tile, q, p.q_stride, p.queries - first_query, p.width, true);
    }
#pragma unroll
    for (int first = 0; first < TILES * KEYS; first += step) {
        int left = p.key_count - first;
        if (left > 0) {
            stage<step, width, THREADS>(
                k_tiles + first * stride, k + first * p.key_stride, p.key_stride, left, p.width, true);
        }
        copy_commit();
        if (left > 0) {
            stage<step, width, THREADS>(
                v_tiles + first * stride, v + first * p.value_stride, p.value_stride, left, p.width, true);
        }
        copy_commit();
    }
    if (p.is_settled) {
        wait_for_inputs();
        stage<QUERIES, width, THREADS>(q_tile, q, p.q_stride, p.queries - first_query, p.width, true);
        copy_commit();
    }

    query_rows<width, 1, KEYS> rows;
    // Not unrolled: instructions that are met once have to come from far, too.
#pragma unroll 1
    for (int turn = 0; turn * step < p.key_count; turn++) {
        int first = turn * step + team * KEYS, left = p.key_count - first;
        copy_wait_for(p.is_settled ? 0 : 3 - 2 * turn);
        __syncthreads();
        if (turn == 0) rows.load(q_tile + first_row * stride);
        if (left > 0) {
            rows.score(k_tiles + first * stride);
            rows.soften(p.scale * LOG2_E, left < KEYS, turn == 0, [&](float score, int row, int key) {
                return key < left ? score : minus_infinity();
            });
        }
        copy_wait_for(p.is_settled ? 0 : 2 - 2 * turn);
        __syncthreads();
        if (left > 0) rows.mix(v_tiles + first * stride);
    }

    // Everybody has done with what was there.
    __syncthreads();
    shared_half<width> *halves = (shared_half<width> *)shared;
    const shared_half<width> &other = halves[warp ^ QUERIES / 16];
    const int half = width / 16;
    if (team == 0) halves[warp].template put<half>(rows);
    else halves[warp].template put<0>(rows);
    __syncthreads();
    if (team == 0) {
        other.template add_to<0>(rows);
        rows.template write<0, half>(p, entry, head, first_query + first_row);
    } else {
        other.template add_to<half>(rows);
        rows.template write<half, half>(p, entry, head, first_query + first_row);
    }
}

// The shared memory of each is in CUDABackend+Attention.swift.
KERNEL_RESIDENT(attention_short_64, tti_attention, THREADS, 2) { attend<64>(p); }
KERNEL_RESIDENT(attention_short_128, tti_attention, THREADS, 1) { attend<128>(p); }

#endif
