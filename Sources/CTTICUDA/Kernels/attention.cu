// Attention of whole sequences in one pass: scores never reach memory. Bound by the products.
//
// Grid: tiles of queries, heads, entries. A block holds its queries, and goes through keys and values in tiles; softmax is
// online, with powers of two. What lies past the last query, key or column counts as zeros, and scores of such keys as
// masked. A row in which every key is masked gives zeros.
//
// bfloat16: four warps, each with 16 or 32 queries; a tile of keys and values is copied while the one before is used. A row
// in shared memory is 16 bytes longer than it is wide, so that eight rows of a matrix lie in different banks. Widths are
// filled up to a multiple of 16 that is known when the kernel is compiled.
// float32: 16 threads have a query and share its keys and its columns.
#include "attention_rows.cuh"

INLINE masks masks_of(const tti_attention &p, int key_entry, int head) {
    return find_masks(
        p.key_bias, p.score_bias, key_entry, p.bias_heads == 1 ? 0 : head, p.queries, p.key_count, p.causal,
        p.window_columns, p.window_reach);
}

#ifdef TTI_BF16

#define THREADS 128

// `tiles`: 16 queries each, of a warp; `keys`: of a tile.
template <int width, int tiles, int keys> INLINE void attend(const tti_attention &p) {
    SHARED_MEMORY(shared);
    const int queries = THREADS / WARP * 16 * tiles, stride = width + 8;
    element *q_tile = (element *)shared, *k_tiles = q_tile + queries * stride, *v_tiles = k_tiles + 2 * keys * stride;
    int warp = threadIdx.x / WARP;
    int first_query = blockIdx.x * queries, head = blockIdx.y, entry = blockIdx.z;
    int key_entry = (int64_t)entry * p.key_batch / p.batch;
    bool aligned = p.aligned;
    wait_for_inputs();
    const element *q = head_of(p.q, p.q_stride, (int64_t)entry * p.queries + first_query, head, p.width);
    const element *k = head_of(p.keys, p.key_stride, (int64_t)key_entry * p.key_count, head, p.width);
    const element *v = head_of(p.values, p.value_stride, (int64_t)key_entry * p.key_count, head, p.width);
    masks mask = masks_of(p, key_entry, head);
    bool is_masked = p.key_bias || p.score_bias || p.window_columns > 0;
    int end = p.causal ? min(p.key_count, first_query + queries) : p.key_count;

    stage<queries, width, THREADS>(q_tile, q, p.q_stride, p.queries - first_query, p.width, aligned);
    stage<keys, width, THREADS>(k_tiles, k, p.key_stride, p.key_count, p.width, aligned);
    stage<keys, width, THREADS>(v_tiles, v, p.value_stride, p.key_count, p.width, aligned);
    copy_commit();

    query_rows<width, tiles, keys> rows;
    int first_row = warp * tiles * 16;
    for (int first = 0; first < end; first += keys) {
        int half = first / keys % 2;
        const element *k_tile = k_tiles + half * keys * stride, *v_tile = v_tiles + half * keys * stride;
        int next = first + keys;
        if (next < end) {
            int other = (1 - half) * keys * stride;
            stage<keys, width, THREADS>(
                k_tiles + other, k + next * p.key_stride, p.key_stride, p.key_count - next, p.width, aligned);
            stage<keys, width, THREADS>(
                v_tiles + other, v + next * p.value_stride, p.value_stride, p.key_count - next, p.width, aligned);
            copy_commit();
            copy_wait<1>();
        } else {
            copy_wait<0>();
        }
        __syncthreads();
        if (first == 0) rows.load(q_tile + first_row * stride);
        rows.score(k_tile);
        bool needs_mask = is_masked || next > p.key_count || (p.causal && next > first_query + 1);
        rows.soften(p.scale * LOG2_E, needs_mask, false, [&](float score, int row, int key) {
            // Rows past the last query have no masks; what they give is not written.
            return mask.masked(score, min(first_query + first_row + row, p.queries - 1), first + key);
        });
        rows.mix(v_tile);
        __syncthreads();
    }
    rows.template write<0, width / 8>(p, entry, head, first_query + first_row);
}

// The shared memory of each is in CUDABackend+Attention.swift, which knows these numbers too.
#define INSTANCE(name, width, tiles, keys) \
    KERNEL(attention_##name, tti_attention, THREADS) { attend<width, tiles, keys>(p); }

INSTANCE(16, 16, 1, 64)
INSTANCE(32, 32, 1, 64)
INSTANCE(48, 48, 1, 64)
INSTANCE(64, 64, 1, 64)
INSTANCE(80, 80, 1, 64)
INSTANCE(96, 96, 1, 64)
INSTANCE(128, 128, 1, 64)
INSTANCE(160, 160, 1, 32)
// Long sequences: twice the queries for each load of keys and values.
INSTANCE(32_long, 32, 2, 64)
INSTANCE(48_long, 48, 2, 64)
INSTANCE(64_long, 64, 2, 64)

#else

#define THREADS 256
#define QUERIES 16
// Threads of a query.
#define TEAM (THREADS / QUERIES)

// `width`: the largest.
template <int width, int keys> INLINE void attend(const tti_attention &p) {
    SHARED_MEMORY(shared);
    const int stride = width + 1;
    float *q_tile = (float *)shared, *tile = q_tile + QUERIES * stride, *weights = tile + keys * stride;
    int row = threadIdx.x / TEAM, member = threadIdx.x % TEAM;
    int first_query = blockIdx.x * QUERIES, head = blockIdx.y, entry = blockIdx.z, query = first_query + row;
    int key_entry = (int64_t)entry * p.key_batch / p.batch;
    wait_for_inputs();
    const float *q = head_of(p.q, p.q_stride, (int64_t)entry * p.queries + first_query, head, p.width);
    const float *k = head_of(p.keys, p.key_stride, (int64_t)key_entry * p.key_count, head, p.width);
    const float *v = head_of(p.values, p.value_stride, (int64_t)key_entry * p.key_count, head, p.width);
    masks mask = masks_of(p, key_entry, head);
    int end = p.causal ? min(p.key_count, first_query + QUERIES) : p.key_count;
    for (int i = threadIdx.x; i < QUERIES * p.width; i += THREADS) {
        int r = i / p.width, column = i % p.width;
        q_tile[r * stride + column] = first_query + r < p.queries ? q[r * p.q_stride + column] : 0.0f;
    }
    float mixed[width / TEAM], most = minus_infinity(), total = 0;
#pragma unroll
    for (int i = 0; i < width / TEAM; i++) mixed[i] = 0;
    for (int first = 0; first < end; first += keys) {
        int count = min(keys, p.key_count - first);
        __syncthreads();
        for (int i = threadIdx.x; i < keys * p.width; i += THREADS) {
            int r = i / p.width, column = i % p.width;
            tile[r * stride + column] = r < count ? k[(first + r) * p.key_stride + column] : 0.0f;
        }
        __syncthreads();
        float scores[keys / TEAM], highest = most;
#pragma unroll
        for (int i = 0; i < keys / TEAM; i++) scores[i] = 0;
        for (int column = 0; column < p.width; column++) {
            float x = q_tile[row * stride + column];
#pragma unroll
            for (int i = 0; i < keys / TEAM; i++) scores[i] += x * tile[(member + i * TEAM) * stride + column];
        }
#pragma unroll
        for (int i = 0; i < keys / TEAM; i++) {
            int last = p.queries - 1;
            scores[i] = mask.masked(scores[i] * (p.scale * LOG2_E), min(query, last), first + member + i * TEAM);
            highest = fmaxf(highest, scores[i]);
        }
#pragma unroll
        for (int offset = TEAM / 2; offset > 0; offset /= 2) {
            highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, offset));
        }
        float base = finite_base(highest), shrink = exp2_fast(most - base);
        most = highest;
        total *= shrink;
#pragma unroll
        for (int i = 0; i < keys / TEAM; i++) {
            float weight = exp2_fast(scores[i] - base);
            total += weight;
            weights[row * keys + member + i * TEAM] = weight;
        }
#pragma unroll
        for (int i = 0; i < width / TEAM; i++) mixed[i] *= shrink;
        __syncthreads();
        for (int i = threadIdx.x; i < keys * p.width; i += THREADS) {
            int r = i / p.width, column = i % p.width;
            tile[r * stride + column] = r < count ? v[(first + r) * p.value_stride + column] : 0.0f;
        }
        __syncthreads();
        for (int key = 0; key < count; key++) {
            float weight = weights[row * keys + key];
#pragma unroll
            for (int i = 0; i < width / TEAM; i++) {
                // Past the width lies what was there before, which is not written out.
                mixed[i] += weight * tile[key * stride + member + i * TEAM];
            }
        }
    }
#pragma unroll
    for (int offset = TEAM / 2; offset > 0; offset /= 2) total += __shfl_xor_sync(ALL_LANES, total, offset);
    if (query >= p.queries) return;
    float *y = pointer<float>(p.y) + (((int64_t)entry * p.queries + query) * p.heads + head) * p.width;
#pragma unroll
    for (int i = 0; i < width / TEAM; i++) {
        int column = member + i * TEAM;
        if (column < p.width) y[column] = total > 0 ? mixed[i] / total : 0.0f;
    }
}

#define INSTANCE(width, keys) \
    KERNEL(attention_##width, tti_attention, THREADS) { attend<width, keys>(p); }

INSTANCE(64, 32)
INSTANCE(128, 32)
INSTANCE(256, 32)
INSTANCE(512, 16)

#endif
