// exp, log, erf and the activations, sixteen lanes at a time, from +, ·, / and bits alone: about 1e-7 relative.
#pragma once

#include "vector.h"

// e^x; 0 below -86.9 (nothing subnormal), infinity above 88.72; NaN stays.
INLINE vf exp_lanes(vf x) {
    vf clamped = select_lanes(x > 89.0f, splat(89.0f), select_lanes(x < -86.9f, splat(-86.9f), x));
    // x = n · ln 2 + r, |r| ≤ ln 2 / 2; adding 1.5 · 2^23 rounds to an integer in the low bits.
    vf shifted = clamped * 1.44269504f + 12582912.0f;
    vf n = shifted - 12582912.0f;
    vf r = clamped - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vf p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r;
    p = p + 1.0f;
    // 2^n in two factors, so that n = 128 overflows only when the result does.
    vf scale = (vf)(((vi)shifted - 0x4B400000 + 126) << 23);
    return select_lanes(x < -86.9f, splat(0), p * scale * 2.0f);
}

// e^x for x ≤ 0: without the upper bound.
INLINE vf exp_below_lanes(vf x) {
    vf clamped = select_lanes(x < -86.9f, splat(-86.9f), x);
    vf shifted = clamped * 1.44269504f + 12582912.0f;
    vf n = shifted - 12582912.0f;
    vf r = clamped - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vf p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r;
    p = p + 1.0f;
    return select_lanes(x < -86.9f, splat(0), (vf)((vi)p + ((vi)shifted << 23)));
}

// The natural logarithm of positive normal numbers (Cephes logf).
INLINE vf log_lanes(vf x) {
    vi bits = (vi)x;
    // The mantissa in [√½, √2).
    vi offset = bits - 0x3F3504F3;
    vf e = __builtin_convertvector(offset >> 23, vf);
    vf m = (vf)((offset & 0x007FFFFF) + 0x3F3504F3) - 1.0f;
    vf z = m * m;
    vf p = splat(7.0376836292e-2f);
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    vf y = m * z * p;
    y = y + e * -2.12194440e-4f;
    y = y - z * 0.5f;
    return (m + y) + e * 0.693359375f;
}

// The error function: a polynomial below 0.93, 1 - erfc above it (N. Juffa's coefficients; as in math_portable.h).
INLINE vf erf_lanes(vf x) {
    vf t = select_lanes(x < 0.0f, -x, x);
    vf r = t * -1.72853470e-5f + 3.83197126e-4f;
    vf u = t * -3.88396438e-3f + 2.42546219e-2f;
    r = r * (t * t) + u;
    r = r * t - 1.06777877e-1f;
    r = r * t - 6.34846687e-1f;
    r = r * t - 1.28717512e-1f;
    vf far = 1.0f - exp_below_lanes(r * t - t);
    vf s = x * x;
    vf p = splat(-5.96761703e-4f);
    p = p * s + 4.99119423e-3f;
    p = p * s - 2.67681349e-2f;
    p = p * s + 1.12819925e-1f;
    p = p * s - 3.76125336e-1f;
    p = p * s + 1.28379166e-1f;
    return select_lanes(t > 0.927734375f, select_lanes(x < 0.0f, -far, far), p * x + x);
}

// x · sigmoid(y).
INLINE vf times_sigmoid(vf x, vf y) { return x / (exp_lanes(-y) + 1.0f); }

// The numbers of `Activation` in TTICore.
enum { IDENTITY = 0, RELU = 1, GELU = 2, GELU_TANH = 3, QUICK_GELU = 4, SILU = 5 };

INLINE vf activate_lanes(vf x, int activation) {
    switch (activation) {
    case RELU: return select_lanes(x < 0.0f, splat(0), x);
    case GELU: return x * 0.5f * (erf_lanes(x * 0.707106781f) + 1.0f);
    // ½(1 + tanh u) = sigmoid(2u).
    case GELU_TANH: return times_sigmoid(x, (x * x * 0.044715f + 1.0f) * x * 1.5957691216f);
    case QUICK_GELU: return times_sigmoid(x, x * 1.702f);
    case SILU: return times_sigmoid(x, x);
    default: return x;
    }
}
