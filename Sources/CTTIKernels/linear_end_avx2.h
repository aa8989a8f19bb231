// What ends a product, in AVX2.
#pragma once

#include "CTTIKernels.h"
#include "math_avx2.h"

#define CTTI_INLINE_AVX2 static inline __attribute__((target("avx2,fma,f16c"), always_inline))

CTTI_INLINE_AVX2 __m256 ctti_activate_avx2(__m256 x, ctti_activation activation) {
    switch (activation) {
    case CTTI_RELU: return _mm256_max_ps(_mm256_setzero_ps(), x);
    case CTTI_GELU: return ctti_gelu_avx2(x);
    case CTTI_GELU_TANH: return ctti_gelu_tanh_avx2(x);
    case CTTI_QUICK_GELU: return ctti_quick_gelu_avx2(x);
    case CTTI_SILU: return ctti_silu_avx2(x);
    default: return x;
    }
}
