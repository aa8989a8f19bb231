// How a product ends, in AVX-512: activations of sixteen sums, and masks for the last ones of a row.
#pragma once

#include "linear_tiles.h"
#include "math_avx512.h"

CTTI_INLINE_AVX512 __mmask16 ctti_mask_of(size_t count) {
    return count >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << count) - 1);
}

CTTI_INLINE_AVX512 __m512 ctti_activate_avx512(__m512 x, ctti_activation activation) {
    switch (activation) {
    case CTTI_RELU: return _mm512_max_ps(_mm512_setzero_ps(), x);
    case CTTI_GELU: return ctti_gelu_avx512(x);
    case CTTI_GELU_TANH: return ctti_gelu_tanh_avx512(x);
    case CTTI_QUICK_GELU: return ctti_quick_gelu_avx512(x);
    case CTTI_SILU: return ctti_silu_avx512(x);
    default: return x;
    }
}
