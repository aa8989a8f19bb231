// Element types into one another.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Pointers of sources need not be aligned.
void ctti_float32_of_bfloat16(float *target, const void *source, size_t count);
void ctti_float32_of_float16(float *target, const void *source, size_t count);
void ctti_float32_of_float64(float *target, const void *source, size_t count);
// To nearest, ties to even; NaN stays NaN.
void ctti_bfloat16_of_float32(uint16_t *target, const void *source, size_t count);
void ctti_bfloat16_of_float16(uint16_t *target, const void *source, size_t count);
