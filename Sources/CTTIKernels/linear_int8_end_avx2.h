// How a product of int8 ends, in AVX2.
#pragma once

#include <string.h>

#include "linear_end_avx2.h"
#include "linear_int8.h"

// Eight sums of a row from `column` on, or `left` of them, become outputs.
CTTI_INLINE_AVX2 void ctti_finish_int8_avx2(
    const ctti_int8_product *product, __m256i sums, size_t row, size_t column, size_t left) {
    size_t place = row * product->output_stride + column, width = left < 8 ? left : 8;
    const float *bias = product->bias ? product->bias + column : NULL;
    const float *residual = product->residual ? product->residual + place : NULL;
    float *y = product->y + place, biases[8] = {0}, residuals[8] = {0}, values[8];
    if (width < 8) {
        if (bias) bias = memcpy(biases, bias, width * sizeof(float));
        if (residual) residual = memcpy(residuals, residual, width * sizeof(float));
        y = values;
    }
    __m256 x_scale = _mm256_set1_ps(product->x_scales[row * product->x_scale_step]);
    __m256 scale = _mm256_mul_ps(x_scale, _mm256_loadu_ps(product->scales + column));
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale);
    // Not fused: the sum is rounded on its own everywhere.
    __asm__("" : "+x"(value));
    value = _mm256_add_ps(value, bias ? _mm256_loadu_ps(bias) : _mm256_setzero_ps());
    value = ctti_activate_avx2(value, product->activation);
    if (residual) value = _mm256_add_ps(value, _mm256_loadu_ps(residual));
    _mm256_storeu_ps(y, value);
    if (width < 8) memcpy(product->y + place, values, width * sizeof(float));
}
