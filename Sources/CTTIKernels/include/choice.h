// Choosing tokens. The same bits on every instruction set: a·b + c is never fused here.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "instruction_set.h"

// What a token is drawn with.
typedef struct {
    float temperature;  // 0: the likeliest token
    int32_t top_k;      // 0: off
    float top_p;        // 1 or more: off
    uint32_t key[2];    // the seed's low and high word
    uint32_t position;
    uint64_t first_index;  // the stream's index of token 0
} ctti_draw_settings;

typedef struct {
    int32_t token;
    float log_probability;  // at temperature 1, of all tokens; only when it was asked for
    bool not_finite;        // a logit is NaN or +infinity, or all are -infinity; then the token is 0
} ctti_drawn;

typedef struct {
    // Gumbel noise -log(-log u) of indices first ..< first + count, for the settings' key and position.
    void (*gumbel)(
        float *out, size_t count, const ctti_draw_settings *settings, uint32_t purpose, uint64_t first);
    // Draws one token. `scratch` holds 2 · `vocabulary` floats; it is used when top-k or top-p are on.
    ctti_drawn (*draw)(
        const float *logits, size_t vocabulary, const ctti_draw_settings *settings, bool wants_probability,
        float *scratch);
    // out = unconditional + scale · (conditional - unconditional).
    void (*guide)(float *out, const float *unconditional, const float *conditional, float scale, size_t count);
    // The index of the nearest code to each of `rows` rows.
    void (*nearest)(
        int32_t *out, const float *x, const float *codebook, size_t rows, size_t codes, size_t width);
} ctti_choice_kernels;

extern const ctti_choice_kernels ctti_choice_portable, ctti_choice_avx2, ctti_choice_avx512;

const ctti_choice_kernels *ctti_choice(ctti_isa isa);
