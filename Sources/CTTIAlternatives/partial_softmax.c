#include <string.h>

#include "CTTIAlternatives.h"
#include "attention.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#endif
#pragma clang diagnostic ignored "-Wunused-function"
#define ROWS 12
#define VECTORS 2
#include "attention_body.h"

static size_t padded_width(const ctti_partial_attention *w) { return (w->width + PANEL - 1) / PANEL * PANEL; }

void ctti_partial_pack(const ctti_partial_attention *w) {
    for (size_t start = 0; start < w->keys; start += CTTI_ATTENTION_PANEL) {
        pack_keys(w->key_panels, w->k, w->stride, w->keys, w->width, start);
        pack_values(w->value_panels, w->v, w->stride, w->keys, w->width, start);
    }
}

void ctti_partial_scores(const ctti_partial_attention *w, size_t first, size_t end) {
    float q[ROWS * CTTI_ATTENTION_MAX_WIDTH], few[ROWS * PANEL];
    for (; first < end; first += ROWS) {
        size_t rows = end - first < ROWS ? end - first : ROWS;
        for (size_t r = 0; r < ROWS; r++) {
            const float *row = w->q + (first + r) * w->stride;
            for (size_t i = 0; i < w->width; i++) q[r * w->width + i] = r < rows ? row[i] * w->scale : 0;
        }
        float *target = w->scores + first * w->keys;
        for (size_t key = 0; key < w->keys; key += PANEL) {
            const float *panel = w->key_panels + key * w->width;
            if (rows == ROWS) {
                multiply_tile(target + key, w->keys, q, w->width, panel, w->width, false);
            } else {
                multiply_tile(few, PANEL, q, w->width, panel, w->width, false);
                for (size_t r = 0; r < rows; r++) memcpy(target + r * w->keys + key, few + r * PANEL, sizeof(float) * PANEL);
            }
        }
    }
}

void ctti_partial_sums(const ctti_partial_attention *w, size_t first, size_t end) {
    for (; first < end; first++) {
        const float *row = w->scores + first * w->keys;
        vf lanes = splat(-INFINITY), sum = splat(0);
        for (size_t i = 0; i < w->keys; i += LANES) lanes = larger(load(row + i), lanes);
        float largest = largest_lane(lanes);
        for (size_t i = 0; i < w->keys; i += LANES) sum += exp_below_lanes(load(row + i) - largest);
        w->sums[2 * first] = largest;
        w->sums[2 * first + 1] = 1 / sum_lanes(sum);
    }
}

void ctti_partial_values(const ctti_partial_attention *w, size_t first, size_t end) {
    float sums[ROWS * CTTI_ATTENTION_MAX_WIDTH], weights[ROWS * BLOCK];
    size_t padded = padded_width(w);
    for (; first < end; first += ROWS) {
        size_t rows = end - first < ROWS ? end - first : ROWS;
        memset(sums, 0, ROWS * padded * sizeof(float));
        for (size_t start = 0; start < w->keys; start += BLOCK) {
            size_t count = w->keys - start < BLOCK ? w->keys - start : BLOCK;
            for (size_t r = 0; r < ROWS; r++) {
                const float *row = w->scores + (first + (r < rows ? r : 0)) * w->keys + start;
                float largest = w->sums[2 * (first + (r < rows ? r : 0))];
                for (size_t i = 0; i < count; i += LANES) {
                    store(weights + r * BLOCK + i, exp_below_lanes(load(row + i) - largest));
                }
            }
            for (size_t i = 0; i < padded; i += PANEL) {
                multiply_tile(
                    sums + i, padded, weights, BLOCK, w->value_panels + i * w->keys + start * PANEL, count, true);
            }
        }
        for (size_t r = 0; r < rows; r++) {
            float *out = w->out + (first + r) * w->stride, factor = w->sums[2 * (first + r) + 1];
            for (size_t i = 0; i < w->width; i++) out[i] = sums[r * padded + i] * factor;
        }
    }
}

#if defined(__x86_64__)
#pragma clang attribute pop
#endif
