// How a product of int8 ends, in AVX-512.
#pragma once

#include "linear_end_avx512.h"
#include "linear_int8.h"

// Sixteen sums of a row from `column` on, or `left` of them, become outputs.
CTTI_INLINE_AVX512 void ctti_finish_int8(
    const ctti_int8_product *product, __m512i sums, size_t row, size_t column, size_t left,
    ctti_activation activation) {
    __mmask16 mask = ctti_mask_of(left);
    sums = _mm512_sub_epi32(sums, _mm512_loadu_si512(product->zeros + column));
    __m512 x_scale = _mm512_set1_ps(product->x_scales[row * product->x_scale_step]);
    __m512 scale = _mm512_mul_ps(x_scale, _mm512_loadu_ps(product->scales + column));
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale);
    // Not fused: the sum is rounded on its own everywhere.
    __asm__("" : "+v"(value));
    __m512 bias = product->bias ? _mm512_maskz_loadu_ps(mask, product->bias + column) : _mm512_setzero_ps();
    value = ctti_activate_avx512(_mm512_add_ps(value, bias), activation);
    size_t place = row * product->output_stride + column;
    if (product->residual) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, product->residual + place));
    _mm512_mask_storeu_ps(product->y + place, mask, value);
}
