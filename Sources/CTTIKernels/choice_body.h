// Drawing is bound by arithmetic: Philox costs 20 multiplications for four numbers, the noise two logarithms each, about
// 1.4 ns a token with AVX-512 on Zen 5. So noise is made only for blocks of 64 tokens that can still win: it never exceeds
// 16.7, which leaves out most of a peaked distribution and changes no result. Logits are read twice (largest and sum; then
// the draw), the second time from cache.
#include <math.h>

#pragma STDC FP_CONTRACT OFF

#include "vector_math.h"

#define PURPOSE_TOKEN 1
// Four words each of sixteen counters.
#define NOISE_BLOCK 64
// -log(-log u) of the largest u, 1 - 2^-24, is 16.636.
#define MOST_NOISE 16.7f

typedef uint64_t vw __attribute__((vector_size(128)));
#define LOW_WORD ((uint64_t)0xFFFFFFFF)

// Sixteen blocks of Philox 4×32-10 from `counter` on; words in the order of the stream.
INLINE void philox_block(
    uint32_t words[NOISE_BLOCK], uint64_t counter, uint32_t position, uint32_t purpose, const uint32_t key[2]
) {
    // A word in every 64-bit lane: the product of two is one instruction, and what is left above the word does no harm.
    vw w0 = (vw){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + (counter & LOW_WORD);
    vw w1 = (vw){0} + position, w2 = (vw){0} + purpose, w3 = {0};
    uint32_t key0 = key[0], key1 = key[1];
    UNROLL for (int round = 0; round < 10; round++) {
        vw product0 = (w0 & LOW_WORD) * (uint64_t)0xD2511F53, product1 = (w2 & LOW_WORD) * (uint64_t)0xCD9E8D57;
        w0 = product1 >> 32 ^ w1 ^ key0;
        w1 = product1;
        w2 = product0 >> 32 ^ w3 ^ key1;
        w3 = product0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    vu c0 = __builtin_convertvector(w0, vu), c1 = __builtin_convertvector(w1, vu);
    vu c2 = __builtin_convertvector(w2, vu), c3 = __builtin_convertvector(w3, vu);
    // c0[0], c1[0], c2[0], c3[0], c0[1] …
    vu low02 = ZIP_LOW(c0, c2), high02 = ZIP_HIGH(c0, c2), low13 = ZIP_LOW(c1, c3), high13 = ZIP_HIGH(c1, c3);
    vu out[4] = {ZIP_LOW(low02, low13), ZIP_HIGH(low02, low13), ZIP_LOW(high02, high13), ZIP_HIGH(high02, high13)};
    memcpy(words, out, sizeof out);
}

INLINE vf gumbel_of(const uint32_t *words) {
    vu w;
    memcpy(&w, words, sizeof w);
    vf u = (__builtin_convertvector(w >> 9, vf) + 0.5f) * 0x1p-23f;
    return -log_lanes(-log_lanes(u));
}

// The noise of indices first ..< first + NOISE_BLOCK.
INLINE void gumbel_block(
    float out[NOISE_BLOCK], uint64_t first, uint32_t position, uint32_t purpose, const uint32_t key[2]
) {
    uint32_t words[2 * NOISE_BLOCK];
    philox_block(words, first >> 2, position, purpose, key);
    if (first & 3) philox_block(words + NOISE_BLOCK, (first >> 2) + LANES, position, purpose, key);
    for (size_t i = 0; i < NOISE_BLOCK; i += LANES) store(out + i, gumbel_of(words + (first & 3) + i));
}

static void gumbel(float *out, size_t count, const ctti_draw_settings *s, uint32_t purpose, uint64_t first) {
    float block[NOISE_BLOCK];
    for (size_t start = 0; start < count; start += NOISE_BLOCK) {
        size_t part = count - start < NOISE_BLOCK ? count - start : NOISE_BLOCK;
        gumbel_block(block, first + start, s->position, purpose, s->key);
        memcpy(out + start, block, part * sizeof(float));
    }
}

INLINE vf load_padded(const float *x, size_t i, size_t count) {
    if (i + LANES <= count) return load(x + i);
    vf v = splat(-INFINITY);
    memcpy(&v, x + i, (count - i) * sizeof(float));
    return v;
}

// The largest logit; NaN when there is a NaN.
static float largest_logit(const float *x, size_t count) {
    vf most = splat(-INFINITY);
    vi odd = {0};
    for (size_t i = 0; i < count; i += LANES) {
        vf v = load_padded(x, i, count);
        most = larger(v, most);
        odd |= v != v;
    }
    return any_lane(odd) ? NAN : largest_lane(most);
}

// log Σ exp(x - largest).
static float log_sum(const float *x, size_t count, float largest) {
    vf sums[4] = {splat(0), splat(0), splat(0), splat(0)};
    for (size_t i = 0; i < count; i += LANES) {
        sums[i / LANES % 4] += exp_lanes(load_padded(x, i, count) - largest);
    }
    return log_lanes(splat(sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]))))[0];
}

// A number that orders as the float does.
INLINE uint32_t rank_of(float x) {
    x += 0.0f;  // -0 ranks as 0
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)

// Walks down from the largest number until the weights (or, without `weights`, the counts) of what was passed reach
// `target`: by digits of the rank, most significant first. Returns the rank at which it happens, and in `share` what was
// still wanted when the walk came to it.
static uint32_t rank_reaching(
    const float *scores, const float *weights, size_t count, double target, double *share
) {
    uint32_t prefix = 0, known = 0;
    static const int shifts[3] = {21, 10, 0};
    for (int pass = 0; pass < 3; pass++) {
        double bins[DIGITS];
        bool used[DIGITS];
        memset(bins, 0, sizeof bins);
        memset(used, 0, sizeof used);
        int bits = pass == 2 ? 10 : DIGIT_BITS;
        for (size_t i = 0; i < count; i++) {
            uint32_t rank = rank_of(scores[i]);
            if ((rank & known) != prefix || scores[i] == -INFINITY) continue;
            uint32_t digit = rank >> shifts[pass] & ((1u << bits) - 1);
            bins[digit] += weights ? weights[i] : 1;
            used[digit] = true;
        }
        int digit = (1 << bits) - 1, last = digit;
        for (; digit >= 0; digit--) {
            if (!used[digit]) continue;
            last = digit;
            if (bins[digit] >= target) break;
            target -= bins[digit];
        }
        // Rounding may leave the target just out of reach: then everything is kept.
        if (digit < 0) {
            digit = last;
            target += bins[last];
        }
        prefix |= (uint32_t)digit << shifts[pass];
        known |= ((1u << bits) - 1) << shifts[pass];
    }
    *share = target;
    return prefix;
}

// Sets to -infinity the scores that are smaller than the k-th largest.
static void keep_top_k(float *scores, size_t count, size_t k) {
    double share;
    uint32_t rank = rank_reaching(scores, NULL, count, (double)k, &share);
    for (size_t i = 0; i < count; i++) {
        if (rank_of(scores[i]) < rank) scores[i] = -INFINITY;
    }
}

// Keeps the smallest set of largest probabilities whose sum reaches `top_p`, at least one; of equal ones the lower ids.
static void keep_top_p(float *scores, float *weights, size_t count, float largest, float top_p) {
    double total = 0;
    for (size_t i = 0; i < count; i += LANES) {
        vf w = exp_lanes(load_padded(scores, i, count) - largest);
        size_t part = count - i < LANES ? count - i : LANES;
        store_some(weights + i, w, part);
        for (size_t j = 0; j < part; j++) total += w[j];
    }
    double share;
    uint32_t rank = rank_reaching(scores, weights, count, (double)top_p * total, &share);
    bool reached = false;
    for (size_t i = 0; i < count; i++) {
        uint32_t own = rank_of(scores[i]);
        if (own > rank) continue;
        if (own < rank || reached) {
            scores[i] = -INFINITY;
        } else {
            // The first of the equal ones always stays: the walk came to it because something was still wanted.
            share -= weights[i];
            reached = share <= 0;
        }
    }
}

// The first token with the largest score + noise; only scores above -infinity take part.
static int32_t draw_gumbel(
    const float *scores, size_t count, float largest, const ctti_draw_settings *s, bool divided
) {
    float best = -INFINITY;
    int32_t token = 0;
    float top = divided ? largest : largest / s->temperature;
    for (size_t start = 0; start < count; start += NOISE_BLOCK) {
        float sums[NOISE_BLOCK], noise[NOISE_BLOCK];
        size_t part = count - start < NOISE_BLOCK ? count - start : NOISE_BLOCK;
        vf most = splat(-INFINITY);
        for (size_t i = 0; i < NOISE_BLOCK; i += LANES) {
            vf v = i < part ? load_padded(scores + start, i, part) : splat(-INFINITY);
            if (!divided) v = v / s->temperature;
            store(sums + i, v);
            most = larger(v, most);
        }
        // The largest score has noise above -2.8, so nothing more than 19.6 below it can win either.
        float reach = largest_lane(most) + MOST_NOISE;
        if (reach < best || reach < top - 2.9f) continue;
        gumbel_block(noise, s->first_index + start, s->position, PURPOSE_TOKEN, s->key);
        most = splat(-INFINITY);
        for (size_t i = 0; i < NOISE_BLOCK; i += LANES) {
            vf v = load(sums + i) + load(noise + i);
            store(sums + i, v);
            most = larger(v, most);
        }
        float here = largest_lane(most);
        if (here <= best) continue;
        best = here;
        for (size_t i = 0; i < part; i++) {
            if (sums[i] == here) {
                token = (int32_t)(start + i);
                break;
            }
        }
    }
    return token;
}

static ctti_drawn draw(
    const float *logits, size_t vocabulary, const ctti_draw_settings *s, bool wants_probability, float *scratch
) {
    ctti_drawn drawn = {0, 0, false};
    float largest = largest_logit(logits, vocabulary);
    if (!(largest > -INFINITY && largest < INFINITY)) {
        drawn.not_finite = true;
        return drawn;
    }
    bool cuts = (s->top_k > 0 && (size_t)s->top_k < vocabulary) || s->top_p < 1;
    if (s->temperature == 0) {
        size_t i = 0;
        while (logits[i] != largest) i++;
        drawn.token = (int32_t)i;
    } else if (!cuts) {
        drawn.token = draw_gumbel(logits, vocabulary, largest, s, false);
    } else {
        float *scores = scratch, top = largest / s->temperature;
        for (size_t i = 0; i < vocabulary; i++) scores[i] = logits[i] / s->temperature;
        if (s->top_k > 0 && (size_t)s->top_k < vocabulary) keep_top_k(scores, vocabulary, (size_t)s->top_k);
        if (s->top_p < 1) keep_top_p(scores, scratch + vocabulary, vocabulary, top, s->top_p);
        drawn.token = draw_gumbel(scores, vocabulary, top, s, true);
    }
    if (wants_probability) {
        drawn.log_probability = (logits[drawn.token] - largest) - log_sum(logits, vocabulary, largest);
    }
    return drawn;
}

static void guide(float *out, const float *unconditional, const float *conditional, float scale, size_t count) {
    for (size_t i = 0; i < count; i++) {
        out[i] = unconditional[i] + scale * (conditional[i] - unconditional[i]);
    }
}

// Σ (x - code)² of sixteen codes, sixteen chains each, so that the order of a sum is the same for every row and code.
// (Differences, not |c|² - 2 x·c: twice the work, no cancellation.)
INLINE vf distances(const float *x, const float *const code[LANES], size_t width) {
    size_t whole = width / LANES * LANES;
    vf sums[LANES];
    UNROLL for (size_t i = 0; i < LANES; i++) sums[i] = splat(0);
    for (size_t d = 0; d < whole; d += LANES) {
        vf own = load(x + d);
        UNROLL for (size_t i = 0; i < LANES; i++) {
            vf difference = own - load(code[i] + d);
            sums[i] += difference * difference;
        }
    }
    if (whole < width) {
        vf own = load_some(x + whole, width - whole);
        UNROLL for (size_t i = 0; i < LANES; i++) {
            vf difference = own - load_some(code[i] + whole, width - whole);
            sums[i] += difference * difference;
        }
    }
    return sum_each(sums);
}

#define NEAREST_ROWS 8

// Eight rows share every sixteen codes while those are in the first cache.
static void nearest(int32_t *out, const float *x, const float *codebook, size_t rows, size_t codes, size_t width) {
    for (size_t first = 0; first < rows; first += NEAREST_ROWS, x += NEAREST_ROWS * width) {
        size_t count = rows - first < NEAREST_ROWS ? rows - first : NEAREST_ROWS;
        vf best[NEAREST_ROWS];
        vi best_start[NEAREST_ROWS];
        for (size_t row = 0; row < NEAREST_ROWS; row++) {
            best[row] = splat(INFINITY);
            best_start[row] = (vi){0};
        }
        for (size_t start = 0; start < codes; start += LANES) {
            // Past the end the last code is repeated; it never wins, because the real one has the lower index.
            const float *code[LANES];
            for (size_t i = 0; i < LANES; i++) code[i] = codebook + (start + i < codes ? start + i : codes - 1) * width;
            for (size_t row = 0; row < count; row++) {
                vf distance = distances(x + row * width, code, width);
                vi nearer = distance < best[row];
                best[row] = select_lanes(nearer, distance, best[row]);
                best_start[row] = (nearer & (int32_t)start) | (~nearer & best_start[row]);
            }
        }
        for (size_t row = 0; row < count; row++) {
            float least = INFINITY;
            int32_t nearest_code = 0;
            for (int i = 0; i < LANES; i++) {
                float distance = best[row][i];
                int32_t code = best_start[row][i] + i;
                if (distance < least || (distance == least && distance < INFINITY && code < nearest_code)) {
                    least = distance;
                    nearest_code = code;
                }
            }
            out[first + row] = nearest_code;
        }
    }
}
