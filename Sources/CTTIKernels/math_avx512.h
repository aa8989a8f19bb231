// exp, erf, tanh, sigmoid of sixteen numbers: math_portable.h's polynomials, with 2ⁿ by `scalef`. NaN gives NaN.
#pragma once

#include <immintrin.h>

#define CTTI_INLINE_AVX512 \
    static inline __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"), always_inline))

CTTI_INLINE_AVX512 __m512 ctti_exp_avx512(__m512 x) {
    // The second operand of max and min wins when one is NaN.
    x = _mm512_max_ps(_mm512_set1_ps(-105.0f), x);
    x = _mm512_min_ps(_mm512_set1_ps(90.0f), x);
    __m512 n = _mm512_roundscale_ps(
        _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    return _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1.0f)), n);
}

// ln of the complementary error function of t ≥ 0.9.
CTTI_INLINE_AVX512 __m512 ctti_log_erfc_avx512(__m512 t) {
    __m512 r = _mm512_fmadd_ps(_mm512_set1_ps(-1.72853470e-5f), t, _mm512_set1_ps(3.83197126e-4f));
    __m512 u = _mm512_fmadd_ps(_mm512_set1_ps(-3.88396438e-3f), t, _mm512_set1_ps(2.42546219e-2f));
    r = _mm512_fmadd_ps(r, _mm512_mul_ps(t, t), u);
    r = _mm512_fmadd_ps(r, t, _mm512_set1_ps(-1.06777877e-1f));
    r = _mm512_fmadd_ps(r, t, _mm512_set1_ps(-6.34846687e-1f));
    r = _mm512_fmadd_ps(r, t, _mm512_set1_ps(-1.28717512e-1f));
    return _mm512_fmsub_ps(r, t, t);
}

// erf of |a| ≤ 0.93.
CTTI_INLINE_AVX512 __m512 ctti_small_erf_avx512(__m512 a) {
    __m512 s = _mm512_mul_ps(a, a);
    __m512 r = _mm512_set1_ps(-5.96761703e-4f);
    r = _mm512_fmadd_ps(r, s, _mm512_set1_ps(4.99119423e-3f));
    r = _mm512_fmadd_ps(r, s, _mm512_set1_ps(-2.67681349e-2f));
    r = _mm512_fmadd_ps(r, s, _mm512_set1_ps(1.12819925e-1f));
    r = _mm512_fmadd_ps(r, s, _mm512_set1_ps(-3.76125336e-1f));
    r = _mm512_fmadd_ps(r, s, _mm512_set1_ps(1.28379166e-1f));
    return _mm512_fmadd_ps(r, a, a);
}

CTTI_INLINE_AVX512 __m512 ctti_copy_sign_avx512(__m512 magnitude, __m512 sign) {
    const __m512 bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, magnitude), _mm512_and_ps(bit, sign));
}

CTTI_INLINE_AVX512 __m512 ctti_erf_avx512(__m512 a) {
    __m512 t = _mm512_abs_ps(a);
    __m512 far = _mm512_sub_ps(_mm512_set1_ps(1.0f), ctti_exp_avx512(ctti_log_erfc_avx512(t)));
    __mmask16 is_far = _mm512_cmp_ps_mask(t, _mm512_set1_ps(0.927734375f), _CMP_GT_OQ);
    return _mm512_mask_mov_ps(ctti_small_erf_avx512(a), is_far, ctti_copy_sign_avx512(far, a));
}

CTTI_INLINE_AVX512 __m512 ctti_sigmoid_avx512(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f);
    return _mm512_div_ps(one, _mm512_add_ps(one, ctti_exp_avx512(_mm512_xor_ps(x, _mm512_set1_ps(-0.0f)))));
}

CTTI_INLINE_AVX512 __m512 ctti_tanh_avx512(__m512 a) {
    __m512 t = _mm512_abs_ps(a);
    __m512 e = ctti_exp_avx512(_mm512_add_ps(t, t));
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 far = _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2.0f), _mm512_add_ps(e, one)));
    __m512 s = _mm512_mul_ps(a, a);
    __m512 p = _mm512_set1_ps(1.57394409e-2f);
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(-5.23025580e-2f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(1.33152470e-1f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(-3.33327681e-1f));
    __m512 near = _mm512_fmadd_ps(_mm512_mul_ps(p, s), a, a);
    __mmask16 is_far = _mm512_cmp_ps_mask(t, _mm512_set1_ps(0.55f), _CMP_GT_OQ);
    return _mm512_mask_mov_ps(near, is_far, ctti_copy_sign_avx512(far, a));
}

// x · Φ(x), without cancellation for negative x.
CTTI_INLINE_AVX512 __m512 ctti_gelu_avx512(__m512 x) {
    __m512 a = _mm512_mul_ps(x, _mm512_set1_ps(0.70710678f));
    __m512 t = _mm512_abs_ps(a);
    __m512 tail = ctti_exp_avx512(ctti_log_erfc_avx512(t));
    __mmask16 is_negative = _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ);
    __m512 far = _mm512_mask_mov_ps(_mm512_sub_ps(_mm512_set1_ps(2.0f), tail), is_negative, tail);
    __m512 near = _mm512_add_ps(_mm512_set1_ps(1.0f), ctti_small_erf_avx512(a));
    __mmask16 is_far = _mm512_cmp_ps_mask(t, _mm512_set1_ps(0.927734375f), _CMP_GT_OQ);
    return _mm512_mul_ps(_mm512_mul_ps(x, _mm512_set1_ps(0.5f)), _mm512_mask_mov_ps(near, is_far, far));
}

CTTI_INLINE_AVX512 __m512 ctti_gelu_tanh_avx512(__m512 x) {
    __m512 cubic = _mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_mul_ps(x, _mm512_set1_ps(0.044715f)));
    return _mm512_mul_ps(
        x, ctti_sigmoid_avx512(_mm512_mul_ps(_mm512_set1_ps(1.59576912f), _mm512_add_ps(x, cubic))));
}

CTTI_INLINE_AVX512 __m512 ctti_quick_gelu_avx512(__m512 x) {
    return _mm512_mul_ps(x, ctti_sigmoid_avx512(_mm512_mul_ps(_mm512_set1_ps(1.702f), x)));
}

CTTI_INLINE_AVX512 __m512 ctti_silu_avx512(__m512 x) { return _mm512_mul_ps(x, ctti_sigmoid_avx512(x)); }
