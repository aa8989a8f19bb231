#include "CTTIAlternatives.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#endif
#include "vector_math.h"

#define EACH(expression)                           \
    for (size_t i = 0; i < count; i += LANES) { \
        vf x = load(a + i);                     \
        store(y + i, expression);               \
    }                                           \
    break

void ctti_alternative_pass(ctti_pass pass, float *y, const float *a, const float *b, float number, size_t count) {
    switch (pass) {
    case CTTI_PASS_ADD: EACH(x + load(b + i));
    case CTTI_PASS_MULTIPLY: EACH(x * load(b + i));
    case CTTI_PASS_ADD_NUMBER: EACH(x + number);
    case CTTI_PASS_MULTIPLY_NUMBER: EACH(x * number);
    case CTTI_PASS_TANH: EACH(1.0f - 2.0f / (exp_lanes(x * 2.0f) + 1.0f));
    case CTTI_PASS_SIGMOID: EACH(1.0f / (exp_lanes(-x) + 1.0f));
    }
}

void ctti_alternative_rows(bool multiplies, float *y, const float *a, const float *shared, size_t rows, size_t width) {
    for (size_t row = 0; row < rows; row++, y += width, a += width) {
        for (size_t i = 0; i < width; i += LANES) {
            store(y + i, multiplies ? load(a + i) * load(shared + i) : load(a + i) + load(shared + i));
        }
    }
}

void ctti_alternative_sums(bool squares, float *sums, const float *a, size_t rows, size_t width) {
    for (size_t row = 0; row < rows; row++, a += width) {
        for (size_t i = 0; i < width; i += LANES) {
            vf x = load(a + i);
            store(sums + i, load(sums + i) + (squares ? x * x : x));
        }
    }
}

#if defined(__x86_64__)
#pragma clang attribute pop
#endif
