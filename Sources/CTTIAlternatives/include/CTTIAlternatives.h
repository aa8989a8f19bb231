// Other ways of doing what CTTIKernels does, as "Speed Is All You Need" (Chen et al., arXiv 2304.11267) has them for phones, to be
// measured beside it. tti-bench alone calls them, on processors with AVX-512.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// MARK: Attention with a partially fused softmax: scores in memory; of a row only its maximum and its sum are computed before the
// second product, which takes exponentials as it reads scores.

typedef struct {
    const float *q, *k, *v;           // a head's first row
    size_t stride;                    // floats from row to row, of all three and of the result
    size_t queries, keys, width;      // keys: a multiple of 32; width: a multiple of 8, at most 512
    float scale;
    float *key_panels, *value_panels; // [keys, width up to a multiple of 32]
    float *scores;                    // [queries, keys]
    float *sums;                      // [queries, 2]: the maximum, and 1 / Σ e^(score - maximum)
    float *out;
} ctti_partial_attention;

void ctti_partial_pack(const ctti_partial_attention *call);
// The three kernels, of queries first..<end; first is a multiple of 12.
void ctti_partial_scores(const ctti_partial_attention *call, size_t first, size_t end);
void ctti_partial_sums(const ctti_partial_attention *call, size_t first, size_t end);
void ctti_partial_values(const ctti_partial_attention *call, size_t first, size_t end);

// MARK: Passes: GELU and GroupNorm one operation after the other, each from memory to memory.

typedef enum {
    CTTI_PASS_ADD, CTTI_PASS_MULTIPLY, CTTI_PASS_ADD_NUMBER, CTTI_PASS_MULTIPLY_NUMBER, CTTI_PASS_TANH, CTTI_PASS_SIGMOID,
} ctti_pass;

// y = a op b, or a op number, for `count` numbers, a multiple of 16.
void ctti_alternative_pass(ctti_pass pass, float *y, const float *a, const float *b, float number, size_t count);

// Rows of `width` numbers: each adds, or is multiplied with, the row that all share.
void ctti_alternative_rows(bool multiplies, float *y, const float *a, const float *shared, size_t rows, size_t width);

// Adds rows up by column: sums[width] += Σ a, or Σ a².
void ctti_alternative_sums(bool squares, float *sums, const float *a, size_t rows, size_t width);
