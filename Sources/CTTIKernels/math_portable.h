// exp, erf, tanh, sigmoid in plain C without branches, so that loops over them are vectorised. About 1e-7 relative. NaN
// gives NaN. The same polynomials as math_avx2.h and math_avx512.h.
#pragma once

#include <stdint.h>
#include <string.h>

static inline float ctti_float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t ctti_bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float ctti_absolute(float x) { return ctti_float_of_bits(ctti_bits_of_float(x) & 0x7fffffffu); }

static inline float ctti_copy_sign(float magnitude, float sign) {
    return ctti_float_of_bits(
        (ctti_bits_of_float(magnitude) & 0x7fffffffu) | (ctti_bits_of_float(sign) & 0x80000000u));
}

// eˣ: 2ⁿ · eʳ with |r| ≤ ln 2 / 2; 0 below -104, infinity above 88.8.
static inline float ctti_exp(float x) {
    x = x < -105.0f ? -105.0f : x;
    x = x > 90.0f ? 90.0f : x;
    const float shift = 12582912.0f;  // 1.5 · 2²³: adding it rounds to an integer
    float shifted = x * 1.44269504f + shift;
    float n = shifted - shift;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    // 2ⁿ as two factors: n may be as low as -151 and as high as 130.
    int32_t exponent = (int32_t)(ctti_bits_of_float(shifted) - 0x4b400000u);
    int32_t half = exponent >> 1;
    float low = ctti_float_of_bits((uint32_t)(half + 127) << 23);
    float high = ctti_float_of_bits((uint32_t)(exponent - half + 127) << 23);
    return p * low * high;
}

// ln of the complementary error function of t ≥ 0.9, to what float holds of 1 - erf (N. Juffa's coefficients).
static inline float ctti_log_erfc(float t) {
    float r = -1.72853470e-5f * t + 3.83197126e-4f;
    float u = -3.88396438e-3f * t + 2.42546219e-2f;
    r = r * (t * t) + u;
    r = r * t - 1.06777877e-1f;
    r = r * t - 6.34846687e-1f;
    r = r * t - 1.28717512e-1f;
    return r * t - t;
}

// erf of |a| ≤ 0.93.
static inline float ctti_small_erf(float a) {
    float s = a * a;
    float r = -5.96761703e-4f;
    r = r * s + 4.99119423e-3f;
    r = r * s - 2.67681349e-2f;
    r = r * s + 1.12819925e-1f;
    r = r * s - 3.76125336e-1f;
    r = r * s + 1.28379166e-1f;
    return r * a + a;
}

static inline float ctti_erf(float a) {
    float t = ctti_absolute(a);
    float far = ctti_copy_sign(1.0f - ctti_exp(ctti_log_erfc(t)), a);
    return t > 0.927734375f ? far : ctti_small_erf(a);
}

static inline float ctti_sigmoid(float x) { return 1.0f / (1.0f + ctti_exp(-x)); }

static inline float ctti_tanh(float a) {
    float t = ctti_absolute(a);
    float far = ctti_copy_sign(1.0f - 2.0f / (ctti_exp(2.0f * t) + 1.0f), a);
    float s = a * a;
    float p = 1.57394409e-2f;
    p = p * s - 5.23025580e-2f;
    p = p * s + 1.33152470e-1f;
    p = p * s - 3.33327681e-1f;
    float near = p * s * a + a;
    return t > 0.55f ? far : near;
}

// x · Φ(x), without cancellation for negative x.
static inline float ctti_gelu(float x) {
    float a = x * 0.70710678f;
    float t = ctti_absolute(a);
    float tail = ctti_exp(ctti_log_erfc(t));
    float far = a < 0 ? tail : 2.0f - tail;
    float near = 1.0f + ctti_small_erf(a);
    return 0.5f * x * (t > 0.927734375f ? far : near);
}

// The tanh approximation: ½ (1 + tanh u) = sigmoid(2u).
static inline float ctti_gelu_tanh(float x) {
    return x * ctti_sigmoid(1.59576912f * (x + 0.044715f * x * x * x));
}

static inline float ctti_quick_gelu(float x) { return x * ctti_sigmoid(1.702f * x); }

static inline float ctti_silu(float x) { return x * ctti_sigmoid(x); }
