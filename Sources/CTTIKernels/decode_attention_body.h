// Bound by reading the keys and values, each once. Sixteen keys at a time give sixteen scores in one vector; the weights
// of a chunk stay in the first cache; then the values are read in the same order. Measured on one core of Zen 5, caches in
// memory: 60 to 72 % of the read bandwidth from 64 keys on, float32 or bfloat16.
//
// Several heads take turns, sixteen keys each. Where they share rows (keys and values of a prompt, as a product wrote them),
// a run of rows is read from end to end instead of a slice of each: on Sapphire Rapids 128 keys of 16 heads, from memory, in
// turns, 2.5 times as fast (4.2 and 10.6 GB/s of 12.4). Heads that lie apart, in a cache, are as many streams: there 1.05 to
// 1.15 times as fast. The bits are those of one head after the other.
//
// The file that includes this defines KEYS_AT_ONCE, a divisor of sixteen, and VECTORS_AT_ONCE, a divisor of four, so that as
// many vectors (twice as many of values: even and odd keys) fit its registers, what is worth asking for ahead (ASKS), and
// into which cache (LOCALITY, 3 is the first one). The bits depend on none of them.
#include <math.h>

#include "vector_math.h"

// Keys and values are asked for this many bytes ahead, in this chunk and into the next one: a head's are too short a run
// for the processor to guess. Measured on Zen 5: bfloat16 at 1000 keys goes from half to three quarters of the read
// bandwidth. Several heads beside each other divide half of it. Rows that lie apart (all heads of a key side by side) are
// asked for as they come: four heads are a kilobyte of each row.
enum { ahead_bytes = 8192, ahead_rows = 32 };

INLINE vf load_element(const void *p, size_t i, size_t count, bool is_bf16) {
    if (is_bf16) {
        const uint16_t *x = (const uint16_t *)p + i;
        return count >= LANES ? load_bf16(x) : load_some_bf16(x, count);
    }
    const float *x = (const float *)p + i;
    return count >= LANES ? load(x) : load_some(x, count);
}

INLINE size_t place_of(const ctti_decode_chunk *w, size_t i) { return w->places ? (size_t)w->places[i] : w->first + i; }

// Asks for `rows` rows of keys or values of a head, as far after row `at` of the chunk as is worth it.
INLINE void ask_ahead(
    const ctti_decode_chunk *w, const char *base, const char *next, size_t at, size_t rows, size_t stride,
    size_t width, bool is_bf16
) {
    size_t element = is_bf16 ? 2 : 4, bytes = width * element, row_bytes = stride * element;
    if (w->places || !ASKS(is_bf16)) return;
    size_t ahead = ahead_rows;
    if (stride == width) ahead = ahead_bytes / bytes / (w->heads == 1 ? 1 : 2 * w->heads);
    if (at + ahead < w->count) {
        base += (w->first + at + ahead) * row_bytes;
    } else if (next) {
        base = next + (at + ahead - w->count) * row_bytes;
    } else {
        return;
    }
    if (stride == width) {
        for (size_t i = 0; i < rows * bytes; i += 64) __builtin_prefetch(base + i, 0, LOCALITY);
    } else {
        for (size_t j = 0; j < rows; j++) {
            for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(base + j * row_bytes + i, 0, LOCALITY);
        }
    }
}

// q · key for sixteen keys, the last of them repeated when there are fewer.
INLINE vf score_keys(const ctti_decode_chunk *w, size_t head, size_t start, bool is_bf16, size_t width) {
    size_t element = is_bf16 ? 2 : 4, last = w->count - 1;
    const char *keys = (const char *)w->keys + head * w->head_stride * element;
    const float *query = w->q + head * width;
    vf sums[LANES];
    const char *rows[LANES];
    if (!w->places && start + LANES <= w->count) {
        const char *row = keys + (w->first + start) * w->stride * element;
        UNROLL for (size_t i = 0; i < LANES; i++) rows[i] = row + i * w->stride * element;
    } else {
        UNROLL for (size_t i = 0; i < LANES; i++) {
            size_t key = start + i < last ? start + i : last;
            rows[i] = keys + place_of(w, key) * w->stride * element;
        }
    }
    const char *next = w->next_keys ? (const char *)w->next_keys + head * w->head_stride * element : NULL;
    size_t whole = width / LANES * LANES;
    ROLLED for (size_t first = 0; first < LANES; first += KEYS_AT_ONCE) {
        ask_ahead(w, keys, next, start + first, KEYS_AT_ONCE, w->stride, width, is_bf16);
        vf own[KEYS_AT_ONCE];
        UNROLL for (size_t i = 0; i < KEYS_AT_ONCE; i++) own[i] = splat(0);
        for (size_t d = 0; d < whole; d += LANES) {
            vf q = load(query + d);
            UNROLL for (size_t i = 0; i < KEYS_AT_ONCE; i++) {
                own[i] += load_element(rows[first + i], d, LANES, is_bf16) * q;
            }
        }
        if (whole < width) {
            vf q = load_some(query + whole, width - whole);
            UNROLL for (size_t i = 0; i < KEYS_AT_ONCE; i++) {
                own[i] += load_element(rows[first + i], whole, width - whole, is_bf16) * q;
            }
        }
        UNROLL for (size_t i = 0; i < KEYS_AT_ONCE; i++) sums[first + i] = own[i];
    }
    return sum_each(sums) * w->scale;
}

// chains[2][4] += weight · value over keys start ..< end, from element `d` on; even and odd keys in chains of
// their own. `last` is how many elements the last vector has.
INLINE void weigh_values(
    vf chains[2][4], const ctti_decode_chunk *w, size_t head, const float *weights, size_t start, size_t end, size_t d,
    size_t vectors, size_t last, bool is_bf16, size_t width
) {
    size_t element = is_bf16 ? 2 : 4;
    const char *values = (const char *)w->values + head * w->head_stride * element;
    const char *ahead = w->next_values ? (const char *)w->next_values + head * w->head_stride * element : NULL;
    UNROLL for (size_t first = 0; first < 4; first += VECTORS_AT_ONCE) {
        if (first >= vectors) continue;
        vf even[VECTORS_AT_ONCE], odd[VECTORS_AT_ONCE];
        UNROLL for (size_t v = 0; v < VECTORS_AT_ONCE; v++) {
            even[v] = chains[0][first + v];
            odd[v] = chains[1][first + v];
        }
        for (size_t key = start; key < end; key += 2) {
            // Without a partner, the last key is read twice and counted once.
            bool paired = key + 1 < w->count;
            const char *row = values + place_of(w, key) * w->value_stride * element;
            const char *next = values + place_of(w, paired ? key + 1 : key) * w->value_stride * element;
            if (d == 0 && first == 0) ask_ahead(w, values, ahead, key, 2, w->value_stride, width, is_bf16);
            float weight = weights[key], next_weight = paired ? weights[key + 1] : 0;
            UNROLL for (size_t v = 0; v < VECTORS_AT_ONCE; v++) {
                if (first + v < vectors) {
                    size_t place = d + (first + v) * LANES, count = first + v + 1 < vectors ? LANES : last;
                    even[v] += load_element(row, place, count, is_bf16) * weight;
                    odd[v] += load_element(next, place, count, is_bf16) * next_weight;
                }
            }
        }
        UNROLL for (size_t v = 0; v < VECTORS_AT_ONCE; v++) {
            chains[0][first + v] = even[v];
            chains[1][first + v] = odd[v];
        }
    }
}

// Elements d ..< d + 4 · LANES of every head's result, or as many as there are.
INLINE void weigh_part(
    const ctti_decode_chunk *w, float scores[][CTTI_DECODE_CHUNK], size_t d, size_t vectors, size_t last, bool is_bf16,
    size_t width
) {
    vf chains[CTTI_DECODE_HEADS][2][4];
    for (size_t head = 0; head < w->heads; head++) {
        UNROLL for (size_t v = 0; v < 4; v++) chains[head][0][v] = chains[head][1][v] = splat(0);
    }
    size_t block = w->heads == 1 && VECTORS_AT_ONCE == 4 ? w->count : LANES;
    for (size_t start = 0; start < w->count; start += block) {
        size_t end = start + block < w->count ? start + block : w->count;
        for (size_t head = 0; head < w->heads; head++) {
            weigh_values(chains[head], w, head, scores[head], start, end, d, vectors, last, is_bf16, width);
        }
    }
    for (size_t head = 0; head < w->heads; head++) {
        float *out = w->partial + head * w->partial_stride + 2 + d;
        UNROLL for (size_t v = 0; v < 4; v++) {
            if (v < vectors) {
                store_some(out + v * LANES, chains[head][0][v] + chains[head][1][v], v + 1 < vectors ? LANES : last);
            }
        }
    }
}

INLINE void chunk_as(const ctti_decode_chunk *w, bool is_bf16, size_t width) {
    size_t count = w->count, heads = w->heads;
    float scores[CTTI_DECODE_HEADS][CTTI_DECODE_CHUNK];
    vf lanes[CTTI_DECODE_HEADS];
    for (size_t head = 0; head < heads; head++) lanes[head] = splat(-INFINITY);
    for (size_t start = 0; start < count; start += LANES) {
        for (size_t head = 0; head < heads; head++) {
            vf score = score_keys(w, head, start, is_bf16, width);
            if (start + LANES > count || w->score_bias || w->key_bias) {
                float *own = scores[head];
                const float *bias = w->score_bias ? w->score_bias + head * w->score_bias_stride : NULL;
                store(own + start, score);
                for (size_t i = start; i < start + LANES; i++) {
                    if (i >= count) {
                        own[i] = -INFINITY;
                    } else {
                        if (bias) own[i] += bias[place_of(w, i)];
                        if (w->key_bias) own[i] += w->key_bias[place_of(w, i)];
                    }
                }
                score = load(own + start);
            }
            store(scores[head] + start, score);
            lanes[head] = larger(score, lanes[head]);
        }
    }
    for (size_t head = 0; head < heads; head++) {
        float largest = largest_lane(lanes[head]), centre = largest == -INFINITY ? 0 : largest;
        vf total = splat(0);
        for (size_t i = 0; i < count; i += LANES) {
            vf weight = exp_lanes(load(scores[head] + i) - centre);
            store(scores[head] + i, weight);
            total += weight;
        }
        w->partial[head * w->partial_stride] = largest;
        w->partial[head * w->partial_stride + 1] = sum_lanes(total);
    }
    for (size_t d = 0; d < width; d += 4 * LANES) {
        size_t rest = width - d;
        if (rest >= 4 * LANES) {
            weigh_part(w, scores, d, 4, LANES, is_bf16, width);
        } else if (rest == 2 * LANES) {
            weigh_part(w, scores, d, 2, LANES, is_bf16, width);
        } else {
            size_t vectors = (rest + LANES - 1) / LANES;
            weigh_part(w, scores, d, vectors, rest - (vectors - 1) * LANES, is_bf16, width);
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
