// Attention in three operations with the scores between them in memory: for comparison, and for heads that are too wide to
// be done in one pass. Products are bound by arithmetic, the softmax by the bytes of the scores.
//
// Products: grid of tiles of 64 columns, tiles of 64 rows, and heads of entries. In bfloat16, four warps have 16 rows each,
// and the next 64 of depth are copied while these are used; in float32, a thread of 256 has 4 × 4 sums.
// Softmax: a block has one row of scores.
#include "attention.cuh"

#define TILE 64

struct product_place {
    const element *a, *b;
    int64_t y;
    int first_row, first_column;
};

INLINE product_place find_product(const tti_attention_product &p) {
    int head = blockIdx.z % p.heads, entry = blockIdx.z / p.heads;
    int64_t b_entry = (int64_t)entry * p.b_batch / p.batch;
    product_place place;
    place.first_row = blockIdx.y * TILE;
    place.first_column = blockIdx.x * TILE;
    place.a = pointer<const element>(p.a) + entry * p.a_entry + head * p.a_head + place.first_row * p.a_row;
    place.b = pointer<const element>(p.b) + b_entry * p.b_entry + head * p.b_head;
    place.y = entry * p.y_entry + head * p.y_head;
    return place;
}

#ifdef TTI_BF16

#define PRODUCT_THREADS 128

// `b_in_columns`: b is [columns, depth].
template <bool b_in_columns, class Result> INLINE void multiply(const tti_attention_product &p) {
    const int stride = TILE + 8;
    __shared__ __align__(128) element a_tiles[2 * TILE * stride];
    __shared__ __align__(128) element b_tiles[2 * TILE * stride];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    wait_for_inputs();
    product_place place = find_product(p);
    auto fetch = [&](int first, int half) {
        stage<TILE, TILE, PRODUCT_THREADS>(
            a_tiles + half * TILE * stride, place.a + first, p.a_row, p.rows - place.first_row, p.depth - first,
            p.aligned);
        if (b_in_columns) {
            stage<TILE, TILE, PRODUCT_THREADS>(
                b_tiles + half * TILE * stride, place.b + place.first_column * p.b_row + first, p.b_row,
                p.columns - place.first_column, p.depth - first, p.aligned);
        } else {
            stage<TILE, TILE, PRODUCT_THREADS>(
                b_tiles + half * TILE * stride, place.b + first * p.b_row + place.first_column, p.b_row,
                p.depth - first, p.columns - place.first_column, p.aligned);
        }
        copy_commit();
    };
    float sums[TILE / 8][4];
#pragma unroll
    for (int i = 0; i < TILE / 8; i++) {
#pragma unroll
        for (int e = 0; e < 4; e++) sums[i][e] = 0;
    }
    fetch(0, 0);
    for (int first = 0; first < p.depth; first += TILE) {
        int half = first / TILE % 2;
        if (first + TILE < p.depth) {
            fetch(first + TILE, 1 - half);
            copy_wait<1>();
        } else {
            copy_wait<0>();
        }
        __syncthreads();
        const element *a_tile = a_tiles + half * TILE * stride, *b_tile = b_tiles + half * TILE * stride;
#pragma unroll
        for (int depth = 0; depth < TILE / 16; depth++) {
            uint32_t a[4];
            load_matrices(a, a_tile + (warp * 16 + lane % 16) * stride + depth * 16 + lane / 16 * 8);
#pragma unroll
            for (int n = 0; n < TILE / 16; n++) {
                uint32_t b[4];
                if (b_in_columns) {
                    load_matrices(
                        b, b_tile + (n * 16 + lane / 16 * 8 + lane % 8) * stride + depth * 16 + lane / 8 % 2 * 8);
                } else {
                    load_matrices_transposed(b, b_tile + (depth * 16 + lane % 16) * stride + n * 16 + lane / 16 * 8);
                }
                multiply_tile(sums[2 * n], a, b);
                multiply_tile(sums[2 * n + 1], a, b + 2);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < TILE / 8; i++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int row = place.first_row + warp * 16 + lane / 4 + e / 2 * 8;
            int column = place.first_column + i * 8 + lane % 4 * 2 + e % 2;
            if (row < p.rows && column < p.columns) {
                assign(pointer<Result>(p.y)[place.y + row * p.y_row + column], sums[i][e] * p.scale);
            }
        }
    }
}

#else

#define PRODUCT_THREADS 256
#define DEPTH 16

template <bool b_in_columns, class Result> INLINE void multiply(const tti_attention_product &p) {
    __shared__ float a_tile[DEPTH][TILE + 1], b_tile[DEPTH][TILE + 1];
    int across = threadIdx.x % 16, down = threadIdx.x / 16;
    wait_for_inputs();
    product_place place = find_product(p);
    float sums[4][4];
    for (int i = 0; i < 16; i++) sums[i / 4][i % 4] = 0;
    for (int first = 0; first < p.depth; first += DEPTH) {
        __syncthreads();
        for (int i = threadIdx.x; i < TILE * DEPTH; i += PRODUCT_THREADS) {
            int depth = i % DEPTH, row = i / DEPTH;
            bool is_inside = first + depth < p.depth && place.first_row + row < p.rows;
            a_tile[depth][row] = is_inside ? place.a[row * p.a_row + first + depth] : 0.0f;
            // Neighbouring threads read neighbouring elements.
            int column = b_in_columns ? row : i % TILE;
            depth = b_in_columns ? depth : i / TILE;
            int64_t at = place.first_column + column, deep = first + depth;
            is_inside = deep < p.depth && at < p.columns;
            b_tile[depth][column] =
                is_inside ? place.b[b_in_columns ? at * p.b_row + deep : deep * p.b_row + at] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int depth = 0; depth < DEPTH; depth++) {
            float a[4], b[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                a[i] = a_tile[depth][down + 16 * i];
                b[i] = b_tile[depth][across + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < 16; i++) sums[i / 4][i % 4] += a[i / 4] * b[i % 4];
        }
    }
    for (int i = 0; i < 16; i++) {
        int row = place.first_row + down + 16 * (i / 4), column = place.first_column + across + 16 * (i % 4);
        if (row < p.rows && column < p.columns) {
            assign(pointer<Result>(p.y)[place.y + row * p.y_row + column], sums[i / 4][i % 4] * p.scale);
        }
    }
}

#endif

// Scores in float32, as exponents of two.
KERNEL(attention_scores, tti_attention_product, PRODUCT_THREADS) { multiply<true, float>(p); }
KERNEL(attention_mix, tti_attention_product, PRODUCT_THREADS) { multiply<false, element>(p); }

#define THREADS 256

KERNEL(attention_softmax, tti_attention_softmax, THREADS) {
    wait_for_inputs();
    int query = blockIdx.x, head = blockIdx.y, entry = blockIdx.z;
    int64_t row = ((int64_t)entry * p.heads + head) * p.queries + query;
    float *scores = pointer<float>(p.scores) + row * p.key_count;
    element *weights = pointer<element>(p.weights) + row * p.weight_stride;
    masks mask = find_masks(
        p.key_bias, p.score_bias, (int)((int64_t)entry * p.key_batch / p.batch), p.bias_heads == 1 ? 0 : head, p.queries,
        p.key_count, p.causal, p.window_columns, p.window_reach);
    float most = minus_infinity(), total = 0;
    for (int key = threadIdx.x; key < p.key_count; key += THREADS) {
        most = fmaxf(most, mask.masked(scores[key], query, key));
    }
    most = block_max(most);
    float base = finite_base(most);
    for (int key = threadIdx.x; key < p.key_count; key += THREADS) {
        float weight = exp2_fast(mask.masked(scores[key], query, key) - base);
        scores[key] = weight;
        total += weight;
    }
    total = block_sum(total);
    float part = total > 0 ? 1 / total : 0.0f;
    // A thread reads what it wrote itself. Zeros fill up the row.
    for (int64_t key = threadIdx.x; key < p.weight_stride; key += THREADS) {
        assign(weights[key], key < p.key_count ? scores[key] * part : 0.0f);
    }
}
