// What attention of whole sequences does with a warp's queries, on tensor cores.
#pragma once

#include "attention.cuh"

// The first element of a head in the rows of an entry.
INLINE const element *head_of(device_address rows, int64_t stride, int64_t row, int head, int width) {
    return pointer<const element>(rows) + row * stride + (int64_t)head * width;
}

#ifdef TTI_BF16

// `tiles` · 16 queries of a warp on their way over keys, `keys` at a time: softmax is online, with powers of two. Rows in
// shared memory are `width` + 8 elements apart.
template <int width, int tiles, int keys> struct query_rows {
    static const int stride = width + 8;

    uint32_t queries[tiles][width / 16][4];
    float scores[tiles][keys / 8][4], mixed[tiles][width / 8][4], most[tiles][2], total[tiles][2];

    INLINE_MEMBER query_rows() {
#pragma unroll
        for (int t = 0; t < tiles; t++) {
#pragma unroll
            for (int i = 0; i < width / 8; i++) {
#pragma unroll
                for (int e = 0; e < 4; e++) mixed[t][i][e] = 0;
            }
            most[t][0] = most[t][1] = minus_infinity();
            total[t][0] = total[t][1] = 0;
        }
    }

    // The queries from their first row in shared memory on.
    INLINE_MEMBER void load(const element *rows) {
        int lane = threadIdx.x % WARP;
#pragma unroll
        for (int t = 0; t < tiles; t++) {
#pragma unroll
            for (int i = 0; i < width / 16; i++) {
                load_matrices(queries[t][i], rows + (t * 16 + lane % 16) * stride + i * 16 + lane / 16 * 8);
            }
        }
    }

    // Scores of a tile of keys.
    INLINE_MEMBER void score(const element *k_tile) {
        int lane = threadIdx.x % WARP;
#pragma unroll
        for (int t = 0; t < tiles; t++) {
#pragma unroll
            for (int i = 0; i < keys / 8; i++) {
#pragma unroll
                for (int e = 0; e < 4; e++) scores[t][i][e] = 0;
            }
        }
#pragma unroll
        for (int depth = 0; depth < width / 16; depth++) {
#pragma unroll
            for (int n = 0; n < keys / 16; n++) {
                uint32_t b[4];
                load_matrices(
                    b, k_tile + (n * 16 + lane / 16 * 8 + lane % 8) * stride + depth * 16 + lane / 8 % 2 * 8);
#pragma unroll
                for (int t = 0; t < tiles; t++) {
                    multiply_tile(scores[t][2 * n], queries[t][depth], b);
                    multiply_tile(scores[t][2 * n + 1], queries[t][depth], b + 2);
                }
            }
        }
    }

    // Scores become weights relative to the largest so far; what was mixed and added up shrinks accordingly. With `is_masked`
    // they go through masked(score, row of the warp's, key of the tile's), which takes exponents of two.
    template <class Masked>
    INLINE_MEMBER void soften(float factor, bool is_masked, bool is_first, const Masked &masked) {
        int lane = threadIdx.x % WARP;
        // Masks want scores in their own unit, as a negative factor does; else it comes in with the difference.
        bool is_scaled = is_masked || factor < 0;
#pragma unroll
        for (int t = 0; t < tiles; t++) {
            if (is_scaled) {
#pragma unroll
                for (int i = 0; i < keys / 8; i++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) scores[t][i][e] *= factor;
                }
            }
            if (is_masked) {
#pragma unroll
                for (int i = 0; i < keys / 8; i++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        scores[t][i][e] =
                            masked(scores[t][i][e], t * 16 + lane / 4 + e / 2 * 8, i * 8 + lane % 4 * 2 + e % 2);
                    }
                }
            }
            float unit = is_scaled ? 1.0f : factor;
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float highest = scores[t][0][2 * r];
#pragma unroll
                for (int i = 0; i < keys / 8; i++) {
                    highest = fmaxf(highest, fmaxf(scores[t][i][2 * r], scores[t][i][2 * r + 1]));
                }
                // Four lanes have a row.
                highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, 1));
                highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, 2));
                highest = fmaxf(most[t][r], highest * unit);
                float base = finite_base(highest);
                if (!is_first) {
                    float shrink = exp2_fast(most[t][r] - base);
                    total[t][r] *= shrink;
#pragma unroll
                    for (int i = 0; i < width / 8; i++) {
                        mixed[t][i][2 * r] *= shrink;
                        mixed[t][i][2 * r + 1] *= shrink;
                    }
                }
                most[t][r] = highest;
                float sums[2] = {0, 0};
#pragma unroll
                for (int i = 0; i < keys / 8; i++) {
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        float &score = scores[t][i][2 * r + e];
                        score = exp2_fast(fmaf(score, unit, -base));
                        sums[e] += score;
                    }
                }
                total[t][r] += sums[0] + sums[1];
            }
        }
    }

    // Adds values by their weights, which lie in registers as a product's left operand wants them.
    INLINE_MEMBER void mix(const element *v_tile) {
        int lane = threadIdx.x % WARP;
#pragma unroll
        for (int depth = 0; depth < keys / 16; depth++) {
            uint32_t a[tiles][4];
#pragma unroll
            for (int t = 0; t < tiles; t++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float *pair = scores[t][2 * depth + i / 2] + i % 2 * 2;
                    a[t][i] = pack_bfloat16(pair[0], pair[1]);
                }
            }
#pragma unroll
            for (int n = 0; n < width / 16; n++) {
                uint32_t b[4];
                load_matrices_transposed(b, v_tile + (depth * 16 + lane % 16) * stride + n * 16 + lane / 16 * 8);
#pragma unroll
                for (int t = 0; t < tiles; t++) {
                    multiply_tile(mixed[t][2 * n], a[t], b);
                    multiply_tile(mixed[t][2 * n + 1], a[t], b + 2);
                }
            }
        }
    }

    // Writes `count` times eight columns from `first` on; first_query is the warp's.
    template <int first, int count>
    INLINE_MEMBER void write(const tti_attention &p, int entry, int head, int first_query) const {
        int lane = threadIdx.x % WARP;
        int64_t columns = (int64_t)p.heads * p.width;
        bool in_pairs = p.y % 4 == 0 && p.width % 2 == 0;
#pragma unroll
        for (int t = 0; t < tiles; t++) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float sum = total[t][r];
                sum += __shfl_xor_sync(ALL_LANES, sum, 1);
                sum += __shfl_xor_sync(ALL_LANES, sum, 2);
                float part = sum > 0 ? 1 / sum : 0.0f;
                int query = first_query + t * 16 + lane / 4 + 8 * r;
                if (query >= p.queries) continue;
                element *y = pointer<element>(p.y) + ((int64_t)entry * p.queries + query) * columns + head * p.width;
#pragma unroll
                for (int i = first; i < first + count; i++) {
                    int column = i * 8 + lane % 4 * 2;
                    uint32_t pair = pack_bfloat16(mixed[t][i][2 * r] * part, mixed[t][i][2 * r + 1] * part);
                    if (in_pairs) {
                        if (column < p.width) *(uint32_t *)(y + column) = pair;
                    } else {
                        if (column < p.width) y[column] = element{(uint16_t)pair};
                        if (column + 1 < p.width) y[column + 1] = element{(uint16_t)(pair >> 16)};
                    }
                }
            }
        }
    }
};

#endif
