// Bound: bytes. Plain loops without branches, which the compiler vectorises.
#include "CTTIKernels.h"
#include "math_portable.h"

static float widen_half(uint16_t half) {
    uint32_t sign = ((uint32_t)half & 0x8000u) << 16;
    uint32_t magnitude = ((uint32_t)half & 0x7fffu) << 13;
    // Exponents differ by 112: a product with 2^112 is exact, for subnormal halves too; infinities and NaN need theirs.
    float scaled = ctti_float_of_bits(magnitude) * 0x1p112f;
    uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;
    return ctti_float_of_bits(sign | ctti_bits_of_float(scaled) | special);
}

static float widen_e4m3(uint8_t byte) {
    uint32_t magnitude = byte & 0x7fu;
    float scaled = ctti_float_of_bits(magnitude << 20) * 0x1p120f;
    uint32_t special = magnitude == 0x7fu ? 0x7fc00000u : 0u;
    return ctti_float_of_bits(((uint32_t)byte & 0x80u) << 24 | ctti_bits_of_float(scaled) | special);
}

static float widen_e5m2(uint8_t byte) { return widen_half((uint16_t)(byte << 8)); }

static uint16_t round_to_bfloat16(float value) {
    uint32_t word = ctti_bits_of_float(value);
    uint32_t rounded = (word + 0x7fffu + (word >> 16 & 1u)) >> 16;
    return (uint16_t)(value != value ? word >> 16 | 0x40u : rounded);
}

void ctti_float32_of_bfloat16(float *target, const void *source, size_t count) {
    const char *bytes = source;
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        target[i] = ctti_float_of_bits((uint32_t)bits << 16);
    }
}

void ctti_float32_of_float16(float *target, const void *source, size_t count) {
    const char *bytes = source;
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        target[i] = widen_half(bits);
    }
}

void ctti_float32_of_float64(float *target, const void *source, size_t count) {
    const char *bytes = source;
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, bytes + 8 * i, sizeof value);
        target[i] = (float)value;
    }
}

void ctti_bfloat16_of_float32(uint16_t *target, const void *source, size_t count) {
    const char *bytes = source;
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, bytes + 4 * i, sizeof value);
        target[i] = round_to_bfloat16(value);
    }
}

void ctti_bfloat16_of_float16(uint16_t *target, const void *source, size_t count) {
    const char *bytes = source;
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        target[i] = round_to_bfloat16(widen_half(bits));
    }
}

#define OF_FLOAT8(form)                                                                                   \
    void ctti_float32_of_float8_##form(float *target, const void *source, size_t count) {                 \
        const uint8_t *bytes = source;                                                                    \
        for (size_t i = 0; i < count; i++) target[i] = widen_##form(bytes[i]);                            \
    }                                                                                                     \
    void ctti_bfloat16_of_float8_##form(uint16_t *target, const void *source, size_t count) {             \
        const uint8_t *bytes = source;                                                                    \
        for (size_t i = 0; i < count; i++) target[i] = round_to_bfloat16(widen_##form(bytes[i]));         \
    }

OF_FLOAT8(e4m3)
OF_FLOAT8(e5m2)
