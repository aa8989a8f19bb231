#include <math.h>

#include "CTTIKernels.h"
#include "math_portable.h"

// Partial results side by side, which a compiler turns into vectors.
#define LANES 32

static inline __attribute__((always_inline)) void softmax(
    float *row, size_t seen, size_t count, float scale, const float *key_bias, const float *score_bias) {
    float lanes[LANES];
    for (size_t i = 0; i < LANES; i++) lanes[i] = -INFINITY;
    for (size_t i = 0; i < seen; i++) row[i] *= scale;
    if (key_bias) for (size_t i = 0; i < seen; i++) row[i] += key_bias[i];
    if (score_bias) for (size_t i = 0; i < seen; i++) row[i] += score_bias[i];
    size_t whole = seen / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) lanes[j] = row[i + j] > lanes[j] ? row[i + j] : lanes[j];
    for (size_t i = whole; i < seen; i++) lanes[i - whole] = row[i] > lanes[i - whole] ? row[i] : lanes[i - whole];
    float largest = lanes[0];
    for (size_t i = 1; i < LANES; i++) largest = lanes[i] > largest ? lanes[i] : largest;
    if (largest == -INFINITY) {
        for (size_t i = 0; i < count; i++) row[i] = 0;
        return;
    }
    for (size_t i = 0; i < seen; i++) row[i] = ctti_exp(row[i] - largest);
    for (size_t i = 0; i < LANES; i++) lanes[i] = 0;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) lanes[j] += row[i + j];
    for (size_t i = whole; i < seen; i++) lanes[i - whole] += row[i];
    float sum = 0;
    for (size_t i = 0; i < LANES; i++) sum += lanes[i];
    float factor = 1 / sum;
    for (size_t i = 0; i < seen; i++) row[i] *= factor;
    for (size_t i = seen; i < count; i++) row[i] = 0;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))) static void softmax_avx512(
    float *row, size_t seen, size_t count, float scale, const float *key_bias, const float *score_bias) {
    softmax(row, seen, count, scale, key_bias, score_bias);
}

__attribute__((target("avx2,fma,f16c"))) static void softmax_avx2(
    float *row, size_t seen, size_t count, float scale, const float *key_bias, const float *score_bias) {
    softmax(row, seen, count, scale, key_bias, score_bias);
}
#endif

void ctti_softmax(
    ctti_isa isa, float *row, size_t seen, size_t count, float scale, const float *key_bias, const float *score_bias) {
    switch (isa) {
#if defined(__x86_64__)
    case CTTI_AVX512:
    case CTTI_AVX512BF16:
    case CTTI_AMX: softmax_avx512(row, seen, count, scale, key_bias, score_bias); break;
    case CTTI_AVX2: softmax_avx2(row, seen, count, scale, key_bias, score_bias); break;
#endif
    default: softmax(row, seen, count, scale, key_bias, score_bias);
    }
}
