// Bound by memory: each reads its operands once and writes the result once; the activations are 10 to 30 operations an
// element, which hide behind the loads as long as the tensor is larger than the cache. Loops run in address order. Measured
// on one core of Zen 5 with AVX-512, from cache: 0.08 ns an element for sums, 0.23 for SiLU, 0.44 for GELU.
#include "vector_math.h"

static void add(float *out, const float *x, const float *y, size_t count) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store(out + i, load(x + i) + load(y + i));
    for (; i < count; i++) out[i] = x[i] + y[i];
}

INLINE void activate_as(float *out, const float *x, size_t count, int activation) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store(out + i, activate_lanes(load(x + i), activation));
    if (i < count) store_some(out + i, activate_lanes(load_some(x + i, count - i), activation), count - i);
}

// One loop for each function: the switch is outside.
#define FOR_EACH_ACTIVATION(call)                                                                                      \
    switch (activation) {                                                                                              \
    case RELU: call(RELU); break;                                                                                      \
    case GELU: call(GELU); break;                                                                                      \
    case GELU_TANH: call(GELU_TANH); break;                                                                            \
    case QUICK_GELU: call(QUICK_GELU); break;                                                                          \
    case SILU: call(SILU); break;                                                                                      \
    default: call(IDENTITY); break;                                                                                    \
    }

static void activate(float *out, const float *x, size_t count, int activation) {
#define CALL(a) activate_as(out, x, count, a)
    FOR_EACH_ACTIVATION(CALL)
#undef CALL
}

INLINE void gate_as(
    float *out, size_t stride, const float *x, size_t rows, size_t width, int activation, bool gate_first) {
    for (size_t row = 0; row < rows; row++, out += stride, x += 2 * width) {
        const float *value = gate_first ? x + width : x, *gate = gate_first ? x : x + width;
        size_t i = 0;
        for (; i + LANES <= width; i += LANES) {
            store(out + i, load(value + i) * activate_lanes(load(gate + i), activation));
        }
        if (i < width) {
            vf y = load_some(value + i, width - i) * activate_lanes(load_some(gate + i, width - i), activation);
            store_some(out + i, y, width - i);
        }
    }
}

static void gate(
    float *out, size_t stride, const float *x, size_t rows, size_t width, int activation, bool gate_first) {
#define CALL(a) gate_as(out, stride, x, rows, width, a, gate_first)
    FOR_EACH_ACTIVATION(CALL)
#undef CALL
}

static void rotate(float *out, const float *x, const float *angles, size_t heads, size_t width) {
    for (size_t head = 0; head < heads; head++, out += width, x += width) {
        for (size_t i = 0; i < width; i += 2) {
            float a = x[i], b = x[i + 1], cosine = angles[i], sine = angles[i + 1];
            out[i] = a * cosine - b * sine;
            out[i + 1] = b * cosine + a * sine;
        }
    }
}

static void modulate(float *out, const float *x, const float *modulation, size_t rows, size_t width) {
    const float *scale = modulation, *shift = modulation + width;
    for (size_t row = 0; row < rows; row++, out += width, x += width) {
        size_t i = 0;
        for (; i + LANES <= width; i += LANES) {
            store(out + i, load(x + i) * (load(scale + i) + 1.0f) + load(shift + i));
        }
        for (; i < width; i++) out[i] = x[i] * (scale[i] + 1.0f) + shift[i];
    }
}
