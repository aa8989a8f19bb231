// exp, log, erf and the activations, sixteen lanes at a time, from +, ·, / and bits alone: accurate to about 2 ulp.
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

// The error function, as a quotient of polynomials on [-4, 4].
INLINE vf erf_lanes(vf x) {
    x = select_lanes(x > 4.0f, splat(4.0f), select_lanes(x < -4.0f, splat(-4.0f), x));
    vf z = x * x;
    vf p = splat(-2.72614225801306e-10f);
    p = p * z + 2.77068142495902e-08f;
    p = p * z - 2.10102402082508e-06f;
    p = p * z - 5.69250639462346e-05f;
    p = p * z - 7.34990630326855e-04f;
    p = p * z - 2.95459980854025e-03f;
    p = p * z - 1.60960333262415e-02f;
    vf q = splat(-1.45660718464996e-05f);
    q = q * z - 2.13374055278905e-04f;
    q = q * z - 1.68282697438203e-03f;
    q = q * z - 7.37332916720468e-03f;
    q = q * z - 1.42647390514189e-02f;
    return x * p / q;
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
