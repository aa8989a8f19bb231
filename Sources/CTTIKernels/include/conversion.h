// Element types into one another.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Pointers of sources need not be aligned.
void ctti_float32_of_bfloat16(float *target, const void *source, size_t count);
void ctti_float32_of_float16(float *target, const void *source, size_t count);
void ctti_float32_of_float64(float *target, const void *source, size_t count);
// 8 bits: 4 of exponent and no infinity, or the upper half of float16; every one is a bfloat16.
void ctti_float32_of_float8_e4m3(float *target, const void *source, size_t count);
void ctti_float32_of_float8_e5m2(float *target, const void *source, size_t count);
void ctti_bfloat16_of_float8_e4m3(uint16_t *target, const void *source, size_t count);
void ctti_bfloat16_of_float8_e5m2(uint16_t *target, const void *source, size_t count);
// To nearest, ties to even; NaN stays NaN.
void ctti_bfloat16_of_float32(uint16_t *target, const void *source, size_t count);
void ctti_bfloat16_of_float16(uint16_t *target, const void *source, size_t count);
