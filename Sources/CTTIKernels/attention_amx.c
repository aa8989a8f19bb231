// Attention over whole sequences on AMX, in bfloat16: queries, keys, values and weights are rounded, scores and sums are
// float32. The same online softmax as attention_body.h, 32 queries and a block of keys at a time.
//
// A tile product waits for its operands and its store for the product, while exponentials want the vector units: so the
// exponentials of a block go between the products of its neighbours. In turn b, after every few rows of weights of block b come
// some of the scores of block b + 1 and some of what block b - 1 adds to the sums.
//
// Bound, in cycles for 32 × 32 scores of a head of 40, everything in the first cache: scores 184 (eight tile products of 16
// and four stores), sums 161 (six products, and sums that are loaded and stored every 64 keys), exponentials 335, maxima 37.
// Tile products and vectors hardly run beside each other (28 products between 128 exponentials of 16 take 990 cycles, alone 448
// and 670); what the order above saves is waiting: 4096 queries over 4096 keys take 0.72 to 0.77 of the time that they took one
// after the other. Exponentials are 2^x to 7.5e-5, a thirtieth of what rounding the weights does.
#include "CTTIKernels.h"

#if defined(__x86_64__)

#include <math.h>

#include "amx_tiles.h"
#pragma clang attribute push(CTTI_AMX_TARGET, apply_to = function)
#include "vector.h"

// Scores of a block lie in panels [32 queries][32 keys]; SOME rows at a time become weights, so that their chains overlap.
// Blocks of 64 keys stay in the first cache; heads wider than WIDE, whose sums are most of the work, take 256.
enum { ROWS = 32, BLOCK = 256, SMALL_BLOCK = 64, WIDE = 96, SIDE = 16, STEP = CTTI_TILE_INPUTS, PANEL = ROWS * STEP };
enum { SOME = 4 };

// Weights are powers of two of what a score is above its row's centre, the largest score when that was last set. It is set
// again when the largest score is more than this above it (2^8 is as exact as 1), so that sums are seldom scaled.
static const float DISTANCE = 8;

// Of the 32 queries; scores and weights of a block and of one of its neighbours.
typedef struct {
    float scores[2][BLOCK / STEP * PANEL];
    uint16_t weights[2][ROWS * BLOCK];
    uint16_t q[ROWS * CTTI_ATTENTION_TILE_WIDTH];
    float sums[ROWS * CTTI_ATTENTION_TILE_WIDTH];
    float totals[ROWS * SIDE];  // of a row's weights, lane by lane
    float centres[ROWS], factors[ROWS];
    size_t block;
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

// 2^x to 7.5e-5; what is not normal becomes 0 (see attention_queries). NaN stays.
INLINE __m512 power_of_two(__m512 x) {
    __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(7.80245e-2f), r, _mm512_set1_ps(2.2606719e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9583353e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.9992522e-1f));
    return _mm512_scalef_ps(p, x);
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

// The largest number of vector i in lane i, for sixteen vectors: the tree of sum_each.
INLINE __m512 largest_each(__m512 v[SIDE]) {
    UNROLL for (int i = 0; i < 8; i++) {
        v[i] = _mm512_max_ps(
            __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31),
            __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23));
    }
    UNROLL for (int i = 0; i < 4; i++) {
        v[i] = _mm512_max_ps(
            __builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31),
            __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27));
    }
    UNROLL for (int i = 0; i < 2; i++) {
        v[i] = _mm512_max_ps(
            __builtin_shufflevector(v[i], v[i + 2], 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31),
            __builtin_shufflevector(v[i], v[i + 2], 2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29));
    }
    return _mm512_max_ps(
        __builtin_shufflevector(v[0], v[1], 0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31),
        __builtin_shufflevector(v[0], v[1], 1, 16, 3, 18, 5, 20, 7, 22, 9, 24, 11, 26, 13, 28, 15, 30));
}

// Which of the 32 keys from `start` on are before `count`: the lower and the upper sixteen.
INLINE void seen_keys(size_t start, size_t count, __mmask16 *low, __mmask16 *high) {
    uint32_t seen = count - start >= STEP ? 0xffffffffu : (1u << (count - start)) - 1;
    *low = (__mmask16)seen;
    *high = (__mmask16)(seen >> SIDE);
}

// Sixteen rows see a new block: their centres, and by what earlier sums have to be multiplied. Whether any of that is not 1.
INLINE bool find_centres(attention_state *s, const float *block, size_t row, size_t count, float factor) {
    const float *scores = block + row * STEP;
    __m512 v[SIDE], hidden = _mm512_set1_ps(-INFINITY);
    size_t last = up(count) - STEP;
    __mmask16 low, high;
    seen_keys(last, count, &low, &high);
    // The second operand wins when the first one is NaN.
    UNROLL for (size_t r = 0; r < SIDE; r++) {
        const float *place = scores + last / STEP * PANEL + r * STEP;
        v[r] = _mm512_max_ps(_mm512_mask_load_ps(hidden, low, place), hidden);
        v[r] = _mm512_max_ps(_mm512_mask_load_ps(hidden, high, place + SIDE), v[r]);
    }
    for (size_t i = 0; i < last; i += STEP) {
        UNROLL for (size_t r = 0; r < SIDE; r++) {
            const float *place = scores + i / STEP * PANEL + r * STEP;
            v[r] = _mm512_max_ps(_mm512_load_ps(place), v[r]);
            v[r] = _mm512_max_ps(_mm512_load_ps(place + SIDE), v[r]);
        }
    }
    __m512 before = _mm512_loadu_ps(s->centres + row);
    __m512 now = _mm512_mul_ps(largest_each(v), _mm512_set1_ps(factor));
    __mmask16 far = _mm512_cmp_ps_mask(now, _mm512_add_ps(before, _mm512_set1_ps(DISTANCE)), _CMP_GT_OQ);
    __m512 scaled = power_of_two(_mm512_sub_ps(before, now));
    _mm512_storeu_ps(s->centres + row, _mm512_mask_mov_ps(before, far, now));
    _mm512_storeu_ps(s->factors + row, _mm512_mask_mov_ps(_mm512_set1_ps(1), far, scaled));
    return far != 0;
}

// Of SOME queries, 32 scores each become weights and are added to their totals. Keys that are not seen have weight 0.
INLINE void weigh(
    const float *scores, uint16_t *weights, size_t weights_stride, __m512 *total, const __m512 *centre, __m512 factor,
    __mmask16 low_seen, __mmask16 high_seen) {
    const __m512 hidden = _mm512_set1_ps(-INFINITY);
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    UNROLL for (size_t r = 0; r < SOME; r++) {
        __m512 low = _mm512_mask_load_ps(hidden, low_seen, scores + r * STEP);
        __m512 high = _mm512_mask_load_ps(hidden, high_seen, scores + r * STEP + SIDE);
        low = power_of_two(_mm512_fmsub_ps(low, factor, centre[r]));
        high = power_of_two(_mm512_fmsub_ps(high, factor, centre[r]));
        __m512bh halves = _mm512_cvtne2ps_pbh(high, low);
        memcpy(weights + r * weights_stride, &halves, sizeof halves);
        // What is divided by is the sum of the rounded weights: an error that they share is then no error.
        total[r] = _mm512_dpbf16_ps(total[r], halves, ones);
    }
}

// The scores of SOME queries from `row` on become weights. `factor` turns scores into powers of two.
INLINE void soften(attention_state *s, int turn, size_t row, size_t count, float factor) {
    const float *scores = s->scores[turn] + row * STEP;
    uint16_t *weights = s->weights[turn] + row * s->block;
    __m512 total[SOME], centre[SOME], c = _mm512_set1_ps(factor);
    UNROLL for (size_t r = 0; r < SOME; r++) {
        // While everything is masked the centre is -infinity; subtract 0 then, so that weights are 0 and not NaN.
        centre[r] = _mm512_set1_ps(s->centres[row + r] == -INFINITY ? 0 : s->centres[row + r]);
        total[r] = _mm512_load_ps(s->totals + (row + r) * SIDE);
    }
    size_t i = 0;
    for (; i + STEP <= count; i += STEP) {
        weigh(scores + i / STEP * PANEL, weights + i, s->block, total, centre, c, 0xffff, 0xffff);
    }
    if (i < count) {
        __mmask16 low, high;
        seen_keys(i, count, &low, &high);
        weigh(scores + i / STEP * PANEL, weights + i, s->block, total, centre, c, low, high);
    }
    UNROLL for (size_t r = 0; r < SOME; r++) _mm512_store_ps(s->totals + (row + r) * SIDE, total[r]);
}

INLINE void multiply_row(float *x, size_t count, float factor) {
    __m512 f = _mm512_set1_ps(factor);
    for (size_t i = 0; i < count; i += SIDE) _mm512_store_ps(x + i, _mm512_mul_ps(_mm512_load_ps(x + i), f));
}

static void attention_rows(const ctti_attention_queries *w, size_t first, size_t rows) {
    _Alignas(64) attention_state s;
    const uint16_t *keys = (const uint16_t *)w->key_panels, *values = (const uint16_t *)w->value_panels;
    size_t width = w->width, padded = up(width), block = width > WIDE ? BLOCK : SMALL_BLOCK;
    bool tall = rows > SIDE;
    s.block = block;
    // Rows past the last query are queries of zeros that nobody looks at.
    size_t used = tall ? ROWS : SIDE;
    ctti_round_rows(s.q, padded, w->q + first * w->q_stride, w->q_stride, rows, width, padded);
    memset(s.q + rows * padded, 0, (used - rows) * padded * sizeof(uint16_t));
    memset(s.sums, 0, used * padded * sizeof(float));
    memset(s.totals, 0, used * SIDE * sizeof(float));
    for (size_t r = 0; r < used; r++) s.centres[r] = -INFINITY;
    size_t place = w->first + first, end = w->keys;
    if (w->causal && place + rows < end) end = place + rows;
    // With a window, blocks above the neighbourhood hold nothing that is seen, but for key 0.
    size_t top = 0;
    if (w->window_columns && place / w->window_columns > w->window_reach) {
        top = (place / w->window_columns - w->window_reach) * w->window_columns;
    }
    bool masked = w->causal || w->window_columns || w->key_bias || w->score_bias || !(w->scale > 0);
    float factor = masked ? 1 : w->scale * 1.44269504f;
    size_t groups = used / SOME, pieces = padded / STEP;

    // What one turn leaves to the next: a block's scores, and weights that are not yet in the sums.
    size_t start = 0, count = end < block ? end : block, before = 0, count_before = 0;
    int turn = 0;
#define SCORES(turn, start, panel)                                                                                     \
    multiply_block(                                                                                                    \
        s.scores[turn] + (panel) * PANEL, STEP, s.q, padded, keys + ((start) + (panel) * STEP) * padded, padded, tall, \
        true, false)
#define SUMS(turn, start, count, piece)                                                                                \
    multiply_block(                                                                                                    \
        s.sums + (piece) * STEP, padded, s.weights[turn], block,                                                       \
        values + (piece) * STEP * up(w->keys) + (start) * STEP, up(count), tall, width - (piece) * STEP > SIDE, true)
    for (size_t p = 0; p * STEP < count; p++) SCORES(turn, start, p);
    while (true) {
        size_t next = start + block, next_count = 0;
        while (next < end && next + block <= top) next += block;
        if (next < end) next_count = end - next < block ? end - next : block;
        for (size_t r = 0; masked && r < rows; r++) {
            add_masks(w, s.scores[turn] + r * STEP, first + r, start, count);
        }
        bool scaled = find_centres(&s, s.scores[turn], 0, count, factor);
        if (tall) scaled |= find_centres(&s, s.scores[turn], SIDE, count, factor);
        scaled &= start > 0;  // there are sums
        for (size_t r = 0; scaled && r < used; r++) multiply_row(s.totals + r * SIDE, SIDE, s.factors[r]);
        for (size_t g = 0, panel = 0, piece = 0; g < groups; g++) {
            soften(&s, turn, g * SOME, count, factor);
            for (; panel < up(next_count) / STEP * (g + 1) / groups; panel++) SCORES(1 - turn, next, panel);
            for (; count_before && piece < pieces * (g + 1) / groups; piece++) {
                SUMS(1 - turn, before, count_before, piece);
            }
        }
        // Now every weight before this block is in the sums.
        for (size_t r = 0; scaled && r < used; r++) {
            if (s.factors[r] != 1) multiply_row(s.sums + r * padded, padded, s.factors[r]);
        }
        before = start;
        count_before = count;
        if (!next_count) break;
        turn = 1 - turn;
        start = next;
        count = next_count;
    }
    for (size_t piece = 0; piece < pieces; piece++) SUMS(turn, before, count_before, piece);
#undef SCORES
#undef SUMS
    for (size_t r = 0; r < rows; r++) {
        float *out = w->out + (first + r) * w->out_stride;
        float total = _mm512_reduce_add_ps(_mm512_load_ps(s.totals + r * SIDE));
        float share = total == 0 ? 0 : 1 / total;
        for (size_t i = 0; i < width; i++) out[i] = s.sums[r * padded + i] * share;
    }
}

static void attention_queries(const ctti_attention_queries *w) {
    ctti_tiles_begin();
    // Numbers that are not normal are slow, and nothing beside the largest weight, which is 1 or more.
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | _MM_FLUSH_ZERO_ON);
    for (size_t first = 0; first < w->queries; first += ROWS) {
        attention_rows(w, first, w->queries - first < ROWS ? w->queries - first : ROWS);
    }
    _mm_setcsr(mode);
    ctti_tiles_end();
}

#pragma clang attribute pop

const ctti_attention_kernels ctti_attention_amx = {pack_keys, pack_values, attention_queries};

#else
const ctti_attention_kernels ctti_attention_amx = {0};
#endif
