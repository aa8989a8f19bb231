// Attention over whole sequences on AMX, in bfloat16: queries, keys, values and weights are rounded, scores and sums are
// float32. The same online softmax as attention_body.h, 32 queries and BLOCK keys at a time.
//
// Bound: for every 16 × 16 scores of a head of 64, two tile products each for scores and values (64 cycles), and an exponential
// of 16 vectors (about as many, and a third more to find maxima and add up). Measured on one core of Sapphire Rapids: 12 heads of
// 256 × 256 × 64 at 313 GFLOP/s, 11 % of the tile products in registers, of which two thirds are exponentials. Exponentials are 2^x to 7.5e-5, a thirtieth of what rounding the weights does.
#include "CTTIKernels.h"

#if defined(__x86_64__)

#include <math.h>

#include "amx_tiles.h"
#pragma clang attribute push(CTTI_AMX_TARGET, apply_to = function)
#include "vector.h"

// Scores of a block lie in panels [32 queries][32 keys], each of 64 lines of its own; SOME rows at a time become weights, so
// that their chains overlap.
enum { ROWS = 32, BLOCK = 256, SIDE = 16, STEP = CTTI_TILE_INPUTS, PANEL = ROWS * STEP, SOME = 4 };

typedef struct {
    float scores[BLOCK / STEP * PANEL];
    uint16_t weights[ROWS * BLOCK];
    uint16_t q[ROWS * CTTI_ATTENTION_TILE_WIDTH];
    float sums[ROWS * CTTI_ATTENTION_TILE_WIDTH];
    float largest[ROWS], total[ROWS];
} attention_state;

static size_t up(size_t count) { return (count + STEP - 1) / STEP * STEP; }

// Sixteen numbers, zeros past `count`.
INLINE __m512 load_up_to(const float *x, size_t count) {
    return _mm512_maskz_loadu_ps(count >= SIDE ? 0xffff : (__mmask16)((1u << count) - 1), x);
}

// Thirty-two numbers as bfloat16, zeros past `count`.
INLINE __m512i round_up_to(const float *x, size_t count) {
    __m512bh halves = _mm512_cvtne2ps_pbh(
        count > SIDE ? load_up_to(x + SIDE, count - SIDE) : _mm512_setzero_ps(), load_up_to(x, count));
    __m512i bits;
    memcpy(&bits, &halves, sizeof bits);
    return bits;
}

// Thirty-two keys: [panel][pair of the width][32 keys][2].
static void pack_keys(float *panels, const float *k, size_t stride, size_t keys, size_t width, size_t start) {
    uint16_t *panel = (uint16_t *)panels + start * up(width);
    for (size_t half = 0; half < 2; half++) {
        for (size_t i = 0; i < width; i += STEP) {
            vf rows[LANES];
            for (size_t j = 0; j < LANES; j++) {
                size_t key = start + half * SIDE + j;
                __m512i bits = key < keys ? round_up_to(k + key * stride + i, width - i) : _mm512_setzero_si512();
                memcpy(rows + j, &bits, sizeof bits);
            }
            transpose(rows);
            for (size_t j = 0; j < LANES; j++) memcpy(panel + (i / 2 + j) * 64 + half * 32, rows + j, 64);
        }
    }
}

// Thirty-two keys' values: [panel of 32 columns][pair of keys][32 columns][2].
static void pack_values(float *panels, const float *v, size_t stride, size_t keys, size_t width, size_t start) {
    const __m512i turns = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (size_t key = start; key < start + STEP; key += 2) {
        for (size_t d = 0; d < up(width); d += SIDE) {
            size_t count = d < width ? width - d : 0;
            __m512 even = key < keys ? load_up_to(v + key * stride + d, count) : _mm512_setzero_ps();
            __m512 odd = key + 1 < keys ? load_up_to(v + (key + 1) * stride + d, count) : _mm512_setzero_ps();
            __m512bh halves = _mm512_cvtne2ps_pbh(odd, even);
            __m512i bits;
            memcpy(&bits, &halves, sizeof bits);
            uint16_t *panel = (uint16_t *)panels + d / STEP * STEP * up(keys);
            _mm512_storeu_si512(panel + key / 2 * 64 + d % STEP * 2, _mm512_permutexvar_epi16(turns, bits));
        }
    }
}

// c[32 or 16 rows][32 or 16 columns] (+)= a · b, `depth` a multiple of 32.
INLINE void multiply_block(
    float *c, size_t c_stride, const uint16_t *a, size_t a_stride, const uint16_t *b, size_t depth, bool tall, bool wide,
    bool adding) {
    size_t c_bytes = c_stride * sizeof(float), a_bytes = a_stride * sizeof(uint16_t);
    if (adding) {
        _tile_loadd(0, c, c_bytes);
        if (wide) _tile_loadd(1, c + SIDE, c_bytes);
        if (tall) _tile_loadd(2, c + SIDE * c_stride, c_bytes);
        if (tall && wide) _tile_loadd(3, c + SIDE * c_stride + SIDE, c_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t i = 0; i < depth; i += STEP) {
        _tile_loadd(4, a + i, a_bytes);
        _tile_loadd(6, b + i * 32, 128);
        _tile_dpbf16ps(0, 4, 6);
        if (wide) {
            _tile_loadd(7, b + i * 32 + 32, 128);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (tall) {
            _tile_loadd(5, a + SIDE * a_stride + i, a_bytes);
            _tile_dpbf16ps(2, 5, 6);
            if (wide) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, c_bytes);
    if (wide) _tile_stored(1, c + SIDE, c_bytes);
    if (tall) _tile_stored(2, c + SIDE * c_stride, c_bytes);
    if (tall && wide) _tile_stored(3, c + SIDE * c_stride + SIDE, c_bytes);
    __asm__ volatile("" : : : "memory");
}

// 2^x for x ≤ 0, to 7.5e-5, and 0 below -126: numbers that are not normal are slow. NaN stays.
INLINE __m512 power_of_two(__m512 x) {
    __mmask16 counts = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_sub_ps(x, n);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(5.517167e-2f), r, _mm512_set1_ps(2.4261114e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9326099e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.9992807e-1f));
    return _mm512_maskz_scalef_ps(counts, p, n);
}

// Scores in powers of two, with everything that hides keys and is added to them: as attention_body.h.
static void add_masks(const ctti_attention_queries *w, float *scores, size_t query, size_t start, size_t count) {
    const float log2e = 1.44269504f;
    const float *score_bias = w->score_bias ? w->score_bias + query * w->keys + start : NULL;
    const float *key_bias = w->key_bias ? w->key_bias + start : NULL;
    for (size_t i = 0; i < count; i++) {
        float score = scores[i / STEP * PANEL + i % STEP] * w->scale;
        if (score_bias) score += score_bias[i];
        if (key_bias) score += key_bias[i];
        scores[i / STEP * PANEL + i % STEP] = score * log2e;
    }
    size_t place = w->first + query;
    if (w->window_columns) {
        size_t columns = w->window_columns, row = place / columns, column = place % columns;
        for (size_t i = 0; i < count; i++) {
            size_t key_row = (start + i) / columns, key_column = (start + i) % columns;
            size_t down = row > key_row ? row - key_row : key_row - row;
            size_t across = column > key_column ? column - key_column : key_column - column;
            if ((down > w->window_reach || across > w->window_reach) && start + i != 0) {
                scores[i / STEP * PANEL + i % STEP] = -INFINITY;
            }
        }
    }
    if (w->causal) {
        for (size_t i = place + 1 > start ? place + 1 - start : 0; i < count; i++) {
            scores[i / STEP * PANEL + i % STEP] = -INFINITY;
        }
    }
}

// The scores of SOME queries from `row` on become weights; their earlier sums are scaled to the new maximum. `factor` turns
// scores into powers of two.
INLINE void soften(attention_state *s, size_t row, size_t count, float factor, size_t width) {
    const float *scores = s->scores + row * STEP;
    __m512 largest[SOME], total[SOME], centre[SOME], c = _mm512_set1_ps(factor);
    __m512 hidden = _mm512_set1_ps(-INFINITY);
    __mmask16 low_tail = 0xffff, high_tail = 0xffff;
    if (count % STEP != 0) {
        uint32_t seen = (1u << count % STEP) - 1;
        low_tail = (__mmask16)seen;
        high_tail = (__mmask16)(seen >> SIDE);
    }
    size_t last = up(count) - STEP;
    UNROLL for (size_t r = 0; r < SOME; r++) {
        const float *tail = scores + last / STEP * PANEL + r * STEP;
        __m512 low = _mm512_mask_load_ps(hidden, low_tail, tail);
        largest[r] = _mm512_max_ps(_mm512_mask_load_ps(hidden, high_tail, tail + SIDE), low);
    }
    for (size_t i = 0; i < last; i += STEP) {
        UNROLL for (size_t r = 0; r < SOME; r++) {
            const float *place = scores + i / STEP * PANEL + r * STEP;
            largest[r] = _mm512_max_ps(_mm512_load_ps(place), largest[r]);
            largest[r] = _mm512_max_ps(_mm512_load_ps(place + SIDE), largest[r]);
        }
    }
    UNROLL for (size_t r = 0; r < SOME; r++) {
        float before = s->largest[row + r], now = _mm512_reduce_max_ps(largest[r]) * factor;
        now = now > before ? now : before;
        // While everything is masked the maximum is -infinity; subtract 0 then, so that weights are 0 and not NaN.
        float middle = now == -INFINITY ? 0 : now;
        s->largest[row + r] = now;
        centre[r] = _mm512_set1_ps(middle);
        total[r] = _mm512_setzero_ps();
        if (before == now || before == -INFINITY) continue;
        __m512 f = power_of_two(_mm512_set1_ps(before - middle));
        s->total[row + r] *= _mm512_cvtss_f32(f);
        float *sums = s->sums + (row + r) * width;
        for (size_t i = 0; i < width; i += SIDE) _mm512_store_ps(sums + i, _mm512_mul_ps(_mm512_load_ps(sums + i), f));
    }
    for (size_t i = 0; i <= last; i += STEP) {
        __mmask16 low_seen = i < last ? 0xffff : low_tail, high_seen = i < last ? 0xffff : high_tail;
        UNROLL for (size_t r = 0; r < SOME; r++) {
            const float *place = scores + i / STEP * PANEL + r * STEP;
            __m512 low = _mm512_mask_load_ps(hidden, low_seen, place);
            __m512 high = _mm512_mask_load_ps(hidden, high_seen, place + SIDE);
            low = power_of_two(_mm512_fmsub_ps(low, c, centre[r]));
            high = power_of_two(_mm512_fmsub_ps(high, c, centre[r]));
            __m512bh halves = _mm512_cvtne2ps_pbh(high, low);
            memcpy(s->weights + (row + r) * BLOCK + i, &halves, sizeof halves);
            // What is divided by is the sum of the rounded weights: an error that they share is then no error.
            __m512i bits = (__m512i)halves;
            low = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
            high = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32((int)0xffff0000u)));
            total[r] = _mm512_add_ps(total[r], _mm512_add_ps(low, high));
        }
    }
    UNROLL for (size_t r = 0; r < SOME; r++) s->total[row + r] += _mm512_reduce_add_ps(total[r]);
}

static void attention_rows(const ctti_attention_queries *w, size_t first, size_t rows) {
    _Alignas(64) attention_state s;
    const uint16_t *keys = (const uint16_t *)w->key_panels, *values = (const uint16_t *)w->value_panels;
    size_t width = w->width, padded = up(width);
    bool tall = rows > SIDE;
    // Rows past the last query are queries of zeros that nobody looks at.
    size_t used = tall ? ROWS : SIDE;
    ctti_round_rows(s.q, padded, w->q + first * w->q_stride, w->q_stride, rows, width, padded);
    memset(s.q + rows * padded, 0, (used - rows) * padded * sizeof(uint16_t));
    memset(s.sums, 0, used * padded * sizeof(float));
    for (size_t r = 0; r < used; r++) {
        s.largest[r] = -INFINITY;
        s.total[r] = 0;
    }
    size_t place = w->first + first, end = w->keys;
    if (w->causal && place + rows < end) end = place + rows;
    // With a window, blocks above the neighbourhood hold nothing that is seen, but for key 0.
    size_t top = 0;
    if (w->window_columns && place / w->window_columns > w->window_reach) {
        top = (place / w->window_columns - w->window_reach) * w->window_columns;
    }
    bool masked = w->causal || w->window_columns || w->key_bias || w->score_bias || !(w->scale > 0);
    float factor = masked ? 1 : w->scale * 1.44269504f;
    for (size_t start = 0; start < end; start += BLOCK) {
        size_t count = end - start < BLOCK ? end - start : BLOCK;
        if (start > 0 && start + count <= top) continue;
        for (size_t key = 0; key < count; key += STEP) {
            multiply_block(
                s.scores + key / STEP * PANEL, STEP, s.q, padded, keys + (start + key) * padded, padded, tall, true,
                false);
        }
        for (size_t r = 0; masked && r < rows; r++) add_masks(w, s.scores + r * STEP, first + r, start, count);
        for (size_t r = 0; r < used; r += SOME) soften(&s, r, count, factor, padded);
        for (size_t i = 0; i < width; i += STEP) {
            multiply_block(
                s.sums + i, padded, s.weights, BLOCK, values + i * up(w->keys) + start * STEP, up(count), tall,
                width - i > SIDE, true);
        }
    }
    for (size_t r = 0; r < rows; r++) {
        float *out = w->out + (first + r) * w->out_stride;
        float share = s.total[r] == 0 ? 0 : 1 / s.total[r];
        for (size_t i = 0; i < width; i++) out[i] = s.sums[r * padded + i] * share;
    }
}

static void attention_queries(const ctti_attention_queries *w) {
    ctti_tiles_begin();
    for (size_t first = 0; first < w->queries; first += ROWS) {
        attention_rows(w, first, w->queries - first < ROWS ? w->queries - first : ROWS);
    }
    ctti_tiles_end();
}

#pragma clang attribute pop

const ctti_attention_kernels ctti_attention_amx = {pack_keys, pack_values, attention_queries};

#else
const ctti_attention_kernels ctti_attention_amx = {0};
#endif
