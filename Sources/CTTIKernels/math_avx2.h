// exp, erf, tanh, sigmoid of eight numbers: math_portable.h's polynomials. NaN gives NaN.
#pragma once

#include <immintrin.h>

#define CTTI_INLINE_AVX2 \
    static inline __attribute__((target("avx2,fma,f16c"), always_inline))

CTTI_INLINE_AVX2 __m256 ctti_exp_avx2(__m256 x) {
    // The second operand of max and min wins when one is NaN.
    x = _mm256_max_ps(_mm256_set1_ps(-105.0f), x);
    x = _mm256_min_ps(_mm256_set1_ps(90.0f), x);
    __m256 n = _mm256_round_ps(
        _mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));
    // 2ⁿ as two factors: n may be as low as -151 and as high as 130.
    __m256i exponent = _mm256_cvtps_epi32(n);
    __m256i half = _mm256_srai_epi32(exponent, 1);
    __m256i bias = _mm256_set1_epi32(127);
    __m256i low = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i high = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(exponent, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(low)), _mm256_castsi256_ps(high));
}

// ln of the complementary error function of t ≥ 0.9.
CTTI_INLINE_AVX2 __m256 ctti_log_erfc_avx2(__m256 t) {
    __m256 r = _mm256_fmadd_ps(_mm256_set1_ps(-1.72853470e-5f), t, _mm256_set1_ps(3.83197126e-4f));
    __m256 u = _mm256_fmadd_ps(_mm256_set1_ps(-3.88396438e-3f), t, _mm256_set1_ps(2.42546219e-2f));
    r = _mm256_fmadd_ps(r, _mm256_mul_ps(t, t), u);
    r = _mm256_fmadd_ps(r, t, _mm256_set1_ps(-1.06777877e-1f));
    r = _mm256_fmadd_ps(r, t, _mm256_set1_ps(-6.34846687e-1f));
    r = _mm256_fmadd_ps(r, t, _mm256_set1_ps(-1.28717512e-1f));
    return _mm256_fmsub_ps(r, t, t);
}

// erf of |a| ≤ 0.93.
CTTI_INLINE_AVX2 __m256 ctti_small_erf_avx2(__m256 a) {
    __m256 s = _mm256_mul_ps(a, a);
    __m256 r = _mm256_set1_ps(-5.96761703e-4f);
    r = _mm256_fmadd_ps(r, s, _mm256_set1_ps(4.99119423e-3f));
    r = _mm256_fmadd_ps(r, s, _mm256_set1_ps(-2.67681349e-2f));
    r = _mm256_fmadd_ps(r, s, _mm256_set1_ps(1.12819925e-1f));
    r = _mm256_fmadd_ps(r, s, _mm256_set1_ps(-3.76125336e-1f));
    r = _mm256_fmadd_ps(r, s, _mm256_set1_ps(1.28379166e-1f));
    return _mm256_fmadd_ps(r, a, a);
}

CTTI_INLINE_AVX2 __m256 ctti_copy_sign_avx2(__m256 magnitude, __m256 sign) {
    const __m256 bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign));
}

CTTI_INLINE_AVX2 __m256 ctti_erf_avx2(__m256 a) {
    __m256 t = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
    __m256 far = _mm256_sub_ps(_mm256_set1_ps(1.0f), ctti_exp_avx2(ctti_log_erfc_avx2(t)));
    __m256 is_far = _mm256_cmp_ps(t, _mm256_set1_ps(0.927734375f), _CMP_GT_OQ);
    return _mm256_blendv_ps(ctti_small_erf_avx2(a), ctti_copy_sign_avx2(far, a), is_far);
}

CTTI_INLINE_AVX2 __m256 ctti_sigmoid_avx2(__m256 x) {
    const __m256 one = _mm256_set1_ps(1.0f);
    return _mm256_div_ps(one, _mm256_add_ps(one, ctti_exp_avx2(_mm256_xor_ps(x, _mm256_set1_ps(-0.0f)))));
}

CTTI_INLINE_AVX2 __m256 ctti_tanh_avx2(__m256 a) {
    __m256 t = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
    __m256 e = ctti_exp_avx2(_mm256_add_ps(t, t));
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 far = _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0f), _mm256_add_ps(e, one)));
    __m256 s = _mm256_mul_ps(a, a);
    __m256 p = _mm256_set1_ps(1.57394409e-2f);
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(-5.23025580e-2f));
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(1.33152470e-1f));
    p = _mm256_fmadd_ps(p, s, _mm256_set1_ps(-3.33327681e-1f));
    __m256 near = _mm256_fmadd_ps(_mm256_mul_ps(p, s), a, a);
    __m256 is_far = _mm256_cmp_ps(t, _mm256_set1_ps(0.55f), _CMP_GT_OQ);
    return _mm256_blendv_ps(near, ctti_copy_sign_avx2(far, a), is_far);
}

// x · Φ(x), without cancellation for negative x.
CTTI_INLINE_AVX2 __m256 ctti_gelu_avx2(__m256 x) {
    __m256 a = _mm256_mul_ps(x, _mm256_set1_ps(0.70710678f));
    __m256 t = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
    __m256 tail = ctti_exp_avx2(ctti_log_erfc_avx2(t));
    __m256 is_negative = _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_LT_OQ);
    __m256 far = _mm256_blendv_ps(_mm256_sub_ps(_mm256_set1_ps(2.0f), tail), tail, is_negative);
    __m256 near = _mm256_add_ps(_mm256_set1_ps(1.0f), ctti_small_erf_avx2(a));
    __m256 is_far = _mm256_cmp_ps(t, _mm256_set1_ps(0.927734375f), _CMP_GT_OQ);
    return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_set1_ps(0.5f)), _mm256_blendv_ps(near, far, is_far));
}

CTTI_INLINE_AVX2 __m256 ctti_gelu_tanh_avx2(__m256 x) {
    __m256 cubic = _mm256_mul_ps(_mm256_mul_ps(x, x), _mm256_mul_ps(x, _mm256_set1_ps(0.044715f)));
    return _mm256_mul_ps(
        x, ctti_sigmoid_avx2(_mm256_mul_ps(_mm256_set1_ps(1.59576912f), _mm256_add_ps(x, cubic))));
}

CTTI_INLINE_AVX2 __m256 ctti_quick_gelu_avx2(__m256 x) {
    return _mm256_mul_ps(x, ctti_sigmoid_avx2(_mm256_mul_ps(_mm256_set1_ps(1.702f), x)));
}

CTTI_INLINE_AVX2 __m256 ctti_silu_avx2(__m256 x) { return _mm256_mul_ps(x, ctti_sigmoid_avx2(x)); }
