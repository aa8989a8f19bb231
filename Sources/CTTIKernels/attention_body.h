// Bound by the multiply-adds: 2 · queries · keys · width each for the scores and for the weighted values. ROWS queries at
// a time walk over blocks of keys with an online softmax (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022,
// algorithm 1), so that scores never exceed ROWS × BLOCK. Both products are one tile routine: ROWS × PANEL sums stay in
// registers, a panel of keys (or values) streams from the second cache. Measured on one core of Zen 5 with AVX-512, of
// 240 GFLOP/s: 16 heads of 256 × 256 × 64 at 70 %, × 77 keys 50 % (three panels of 32 for 77),
// one head of width 512 at 85 %; packing is 3 to 10 % on top.
//
// The file that includes this defines ROWS and VECTORS, so that ROWS · VECTORS sums fit its registers.
#include <math.h>

#include "vector_math.h"

#define PANEL (VECTORS * LANES)
#ifndef BLOCK
#define BLOCK 256
#endif

// Keys start ..< start + CTTI_ATTENTION_PANEL, or as many as there are.
static void pack_keys(float *panels, const float *k, size_t stride, size_t keys, size_t width, size_t start) {
    size_t end = start + CTTI_ATTENTION_PANEL < keys ? start + CTTI_ATTENTION_PANEL : keys;
    for (; start < end; start += PANEL) {
        float *panel = panels + start * width;
        for (size_t key = 0; key < PANEL; key += LANES) {
            const float *row = k + (start + key) * stride;
            size_t count = start + key >= end ? 0 : end - start - key < LANES ? end - start - key : LANES;
            for (size_t i = 0; i < width; i += LANES) {
                size_t columns = width - i < LANES ? width - i : LANES;
                vf v[LANES];
                if (count == LANES && columns == LANES) {
                    UNROLL for (size_t j = 0; j < LANES; j++) v[j] = load(row + j * stride + i);
                } else {
                    for (size_t j = 0; j < LANES; j++) {
                        v[j] = j < count ? load_some(row + j * stride + i, columns) : splat(0);
                    }
                }
                transpose(v);
                if (columns == LANES) {
                    UNROLL for (size_t j = 0; j < LANES; j++) store(panel + (i + j) * PANEL + key, v[j]);
                } else {
                    for (size_t j = 0; j < columns; j++) store(panel + (i + j) * PANEL + key, v[j]);
                }
            }
        }
    }
}

static void pack_values(float *panels, const float *v, size_t stride, size_t keys, size_t width, size_t start) {
    size_t end = start + CTTI_ATTENTION_PANEL < keys ? start + CTTI_ATTENTION_PANEL : keys;
    for (size_t key = start; key < end; key++) {
        const float *row = v + key * stride;
        for (size_t d = 0; d < width; d += PANEL) {
            size_t count = width - d < PANEL ? width - d : PANEL;
            float *target = panels + d * keys + key * PANEL;
            memcpy(target, row + d, count * sizeof(float));
            memset(target + count, 0, (PANEL - count) * sizeof(float));
        }
    }
}

// c[ROWS][PANEL] (+)= a[ROWS][depth] · b[depth][PANEL].
INLINE void multiply_tile(
    float *c, size_t c_stride, const float *a, size_t a_stride, const float *b, size_t depth, bool adding
) {
    vf sums[ROWS][VECTORS];
    UNROLL for (size_t r = 0; r < ROWS; r++) {
        UNROLL for (size_t v = 0; v < VECTORS; v++) sums[r][v] = adding ? load(c + r * c_stride + v * LANES) : splat(0);
    }
    for (size_t i = 0; i < depth; i++, b += PANEL) {
        vf columns[VECTORS];
        UNROLL for (size_t v = 0; v < VECTORS; v++) columns[v] = load(b + v * LANES);
        UNROLL for (size_t r = 0; r < ROWS; r++) {
            vf x = splat(a[r * a_stride + i]);
            UNROLL for (size_t v = 0; v < VECTORS; v++) sums[r][v] += x * columns[v];
        }
    }
    UNROLL for (size_t r = 0; r < ROWS; r++) {
        UNROLL for (size_t v = 0; v < VECTORS; v++) store(c + r * c_stride + v * LANES, sums[r][v]);
    }
}

// Adds -infinity to the scores of keys start ..< start + count that the query at `place` does not see.
static void hide_outside_window(
    float *scores, size_t place, size_t start, size_t count, size_t columns, size_t reach
) {
    size_t row = place / columns, column = place % columns;
    size_t key_row = start / columns, key_column = start % columns;
    for (size_t i = 0; i < count; i++) {
        size_t down = row > key_row ? row - key_row : key_row - row;
        size_t across = column > key_column ? column - key_column : key_column - column;
        if ((down > reach || across > reach) && start + i != 0) scores[i] = -INFINITY;
        if (++key_column == columns) {
            key_column = 0;
            key_row++;
        }
    }
}

static void add_row(float *scores, const float *bias, size_t count) {
    for (size_t i = 0; i < count; i++) scores[i] += bias[i];
}

// One query's scores of a block become weights; its earlier sums are scaled to the new maximum.
INLINE void soften(float *scores, size_t count, float *largest, float *total, float *sums, size_t width) {
    size_t padded = (count + LANES - 1) / LANES * LANES;
    for (size_t i = count; i < padded; i++) scores[i] = -INFINITY;
    vf lanes = splat(-INFINITY);
    for (size_t i = 0; i < padded; i += LANES) lanes = larger(load(scores + i), lanes);
    float before = *largest, now = largest_lane(lanes);
    now = now > before ? now : before;
    // While everything is masked the maximum is -infinity; subtract 0 then, so that weights are 0 and not NaN.
    float centre = now == -INFINITY ? 0 : now;
    vf sum = splat(0);
    for (size_t i = 0; i < padded; i += LANES) {
        vf weight = exp_below_lanes(load(scores + i) - centre);
        sum += weight;
        store(scores + i, weight);
    }
    *largest = now;
    if (before == now || before == -INFINITY) {
        *total += sum_lanes(sum);
    } else {
        vf f = exp_below_lanes(splat(before - centre));
        *total = *total * f[0] + sum_lanes(sum);
        for (size_t i = 0; i < width; i += LANES) store(sums + i, load(sums + i) * f);
    }
}

static void attention_rows(const ctti_attention_queries *w, size_t first, size_t rows) {
    float q[ROWS * CTTI_ATTENTION_MAX_WIDTH], sums[ROWS * CTTI_ATTENTION_MAX_WIDTH], scores[ROWS * BLOCK];
    float largest[ROWS], total[ROWS];
    size_t width = w->width, padded = (width + PANEL - 1) / PANEL * PANEL;
    for (size_t r = 0; r < ROWS; r++) {
        const float *row = w->q + (first + r) * w->q_stride;
        for (size_t i = 0; i < width; i++) q[r * width + i] = r < rows ? row[i] * w->scale : 0;
        for (size_t i = 0; i < padded; i++) sums[r * padded + i] = 0;
        largest[r] = -INFINITY;
        total[r] = 0;
    }
    size_t place = w->first + first, end = w->keys;
    if (w->causal && place + rows < end) end = place + rows;
    // With a window, blocks above the neighbourhood hold nothing that is seen, but for key 0.
    size_t top = 0;
    if (w->window_columns && place / w->window_columns > w->window_reach) {
        top = (place / w->window_columns - w->window_reach) * w->window_columns;
    }
    for (size_t start = 0; start < end; start += BLOCK) {
        size_t count = end - start < BLOCK ? end - start : BLOCK;
        if (start > 0 && start + count <= top) continue;
        for (size_t key = 0; key < count; key += PANEL) {
            multiply_tile(scores + key, BLOCK, q, width, w->key_panels + (start + key) * width, width, false);
        }
        for (size_t r = 0; r < rows; r++) {
            float *row = scores + r * BLOCK;
            if (w->score_bias) add_row(row, w->score_bias + (first + r) * w->keys + start, count);
            if (w->key_bias) add_row(row, w->key_bias + start, count);
            if (w->window_columns) {
                hide_outside_window(row, place + r, start, count, w->window_columns, w->window_reach);
            }
            if (w->causal) {
                for (size_t i = place + r + 1 > start ? place + r + 1 - start : 0; i < count; i++) row[i] = -INFINITY;
            }
            soften(row, count, largest + r, total + r, sums + r * padded, padded);
        }
        for (size_t i = 0; i < padded; i += PANEL) {
            multiply_tile(
                sums + i, padded, scores, BLOCK, w->value_panels + i * w->keys + start * PANEL, count, true);
        }
    }
    for (size_t r = 0; r < rows; r++) {
        float *out = w->out + (first + r) * w->out_stride;
        float factor = total[r] == 0 ? 0 : 1 / total[r];
        for (size_t i = 0; i < width; i++) out[i] = sums[r * padded + i] * factor;
    }
}

static void attention_queries(const ctti_attention_queries *w) {
    for (size_t first = 0; first < w->queries; first += ROWS) {
        attention_rows(w, first, w->queries - first < ROWS ? w->queries - first : ROWS);
    }
}
