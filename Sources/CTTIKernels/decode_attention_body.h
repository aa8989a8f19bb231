// Bound by reading the keys and values, each once. Sixteen keys at a time give sixteen scores in one vector; the weights
// of a chunk stay in the first cache; then the values are read in the same order.
#include <math.h>

#include "vector_math.h"

INLINE vf load_element(const void *p, size_t i, size_t count, bool is_bf16) {
    if (is_bf16) {
        const uint16_t *x = (const uint16_t *)p + i;
        return count >= LANES ? load_bf16(x) : load_some_bf16(x, count);
    }
    const float *x = (const float *)p + i;
    return count >= LANES ? load(x) : load_some(x, count);
}

#define FOLD(a, b, ...)                                                                                                \
    __builtin_shufflevector(a, b, __VA_ARGS__)
// The sum of vector i in lane i, for sixteen vectors.
INLINE vf sum_each(vf v[LANES]) {
    for (int i = 0; i < 8; i++) {
        v[i] = FOLD(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31)
            + FOLD(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = FOLD(v[i], v[i + 4], 0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31)
            + FOLD(v[i], v[i + 4], 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27);
    }
    for (int i = 0; i < 2; i++) {
        v[i] = FOLD(v[i], v[i + 2], 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31)
            + FOLD(v[i], v[i + 2], 2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29);
    }
    return FOLD(v[0], v[1], 0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31)
        + FOLD(v[0], v[1], 1, 16, 3, 18, 5, 20, 7, 22, 9, 24, 11, 26, 13, 28, 15, 30);
}

INLINE size_t place_of(const ctti_decode_chunk *w, size_t i) { return w->places ? (size_t)w->places[i] : w->first + i; }

INLINE void chunk_as(const ctti_decode_chunk *w, bool is_bf16, size_t width) {
    size_t count = w->count, element = is_bf16 ? 2 : 4;
    const char *keys = w->keys, *values = w->values;
    float scores[CTTI_DECODE_CHUNK];
    vf lanes = splat(-INFINITY);
    for (size_t start = 0; start < count; start += LANES) {
        vf sums[LANES];
        const char *rows[LANES];
        for (size_t i = 0; i < LANES; i++) {
            size_t key = start + i < count ? start + i : count - 1;
            rows[i] = keys + place_of(w, key) * w->stride * element;
            sums[i] = splat(0);
        }
        for (size_t d = 0; d < width; d += LANES) {
            vf q = width - d >= LANES ? load(w->q + d) : load_some(w->q + d, width - d);
            for (size_t i = 0; i < LANES; i++) sums[i] += load_element(rows[i], d, width - d, is_bf16) * q;
        }
        vf score = sum_each(sums) * w->scale;
        store(scores + start, score);
        for (size_t i = start; i < start + LANES; i++) {
            if (i >= count) {
                scores[i] = -INFINITY;
            } else {
                if (w->score_bias) scores[i] += w->score_bias[place_of(w, i)];
                if (w->key_bias) scores[i] += w->key_bias[place_of(w, i)];
            }
        }
        lanes = larger(load(scores + start), lanes);
    }
    float largest = largest_lane(lanes), centre = largest == -INFINITY ? 0 : largest;
    vf total = splat(0);
    for (size_t i = 0; i < count; i += LANES) {
        vf weight = exp_lanes(load(scores + i) - centre);
        store(scores + i, weight);
        total += weight;
    }
    w->partial[0] = largest;
    w->partial[1] = sum_lanes(total);
    float *out = w->partial + 2;
    // Four vectors of the width at a time; even and odd keys in chains of their own.
    for (size_t d = 0; d < width; d += 4 * LANES) {
        vf even[4] = {splat(0), splat(0), splat(0), splat(0)}, odd[4] = {even[0], even[0], even[0], even[0]};
        size_t vectors = (width - d + LANES - 1) / LANES;
        vectors = vectors < 4 ? vectors : 4;
        for (size_t key = 0; key < count; key += 2) {
            const char *row = values + place_of(w, key) * w->value_stride * element;
            for (size_t v = 0; v < vectors; v++) {
                size_t at = d + v * LANES;
                even[v] += load_element(row, at, width - at, is_bf16) * scores[key];
            }
            if (key + 1 == count) break;
            row = values + place_of(w, key + 1) * w->value_stride * element;
            for (size_t v = 0; v < vectors; v++) {
                size_t at = d + v * LANES;
                odd[v] += load_element(row, at, width - at, is_bf16) * scores[key + 1];
            }
        }
        for (size_t v = 0; v < vectors; v++) {
            size_t at = d + v * LANES, rest = width - at < LANES ? width - at : LANES;
            store_some(out + at, even[v] + odd[v], rest);
        }
    }
}

static void decode_chunk(const ctti_decode_chunk *w) {
    switch (w->width) {
    case 64: w->is_bf16 ? chunk_as(w, true, 64) : chunk_as(w, false, 64); break;
    case 32: w->is_bf16 ? chunk_as(w, true, 32) : chunk_as(w, false, 32); break;
    default: w->is_bf16 ? chunk_as(w, true, w->width) : chunk_as(w, false, w->width); break;
    }
}

static void decode_merge(float *out, const float *partials, size_t chunks, size_t width) {
    float largest = -INFINITY, total = 0;
    for (size_t c = 0; c < chunks; c++) {
        float own = partials[c * (width + 2)];
        if (!(own <= largest)) largest = own;
    }
    for (size_t i = 0; i < width; i++) out[i] = 0;
    for (size_t c = 0; c < chunks; c++) {
        const float *partial = partials + c * (width + 2);
        if (partial[0] == -INFINITY) continue;
        float factor = exp_lanes(splat(partial[0] - largest))[0];
        total += factor * partial[1];
        for (size_t i = 0; i < width; i++) out[i] += factor * partial[2 + i];
    }
    float factor = total == 0 ? 0 : 1 / total;
    for (size_t i = 0; i < width; i++) out[i] *= factor;
}

static void decode_store(void *cache, const float *x, size_t count, bool is_bf16) {
    if (!is_bf16) {
        memcpy(cache, x, count * sizeof(float));
        return;
    }
    uint16_t *halves = cache;
    for (size_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, x + i, sizeof word);
        // To nearest, ties to even; a NaN stays a NaN.
        bool is_nan = (word & 0x7FFFFFFF) > 0x7F800000;
        halves[i] = (uint16_t)(is_nan ? (word >> 16) | 0x40 : (word + 0x7FFF + ((word >> 16) & 1)) >> 16);
    }
}
