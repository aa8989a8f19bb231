// Products of rounded rows, in AVX-512 with BF16: where their rows lie, and how sums become outputs.
#pragma once

#include <string.h>

#include "linear_end_avx512.h"

#define CTTI_AVX512BF16_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))
#define CTTI_AVX512BF16_INLINE static inline CTTI_AVX512BF16_TARGET __attribute__((always_inline))

enum { ctti_unit_rows = 16 };

// Rows that are added up together: where they are read and written, and how many they are, a unit's at most. Their sums lie
// beside each other as [two halves of a panel][rows of a unit][16 outputs].
typedef struct {
    const uint16_t *x;
    float *y;
    const float *residual;
    size_t rows;
} ctti_row_place;

CTTI_AVX512BF16_INLINE ctti_row_place ctti_place_of(
    const ctti_product *product, const uint16_t *x, size_t group, size_t row, size_t rows) {
    size_t place = group * product->group_output_stride + row * product->output_stride;
    return (ctti_row_place){
        .x = x + group * product->group_stride + row * product->row_stride,
        .y = product->y + place,
        .residual = product->residual ? product->residual + place : NULL,
        .rows = rows,
    };
}

// Sums become outputs: `width` of them from `column` on.
CTTI_AVX512BF16_INLINE void ctti_finish_rounded(
    const ctti_product *product, const ctti_row_place *place, const float *sums, size_t column, size_t width,
    ctti_activation activation) {
    for (size_t v = 0; v * 16 < width; v++) {
        __mmask16 mask = ctti_mask_of(width - 16 * v);
        size_t first = column + 16 * v;
        __m512 bias = product->bias ? _mm512_maskz_loadu_ps(mask, product->bias + first) : _mm512_setzero_ps();
        for (size_t row = 0; row < place->rows; row++) {
            __m512 value = _mm512_add_ps(_mm512_load_ps(sums + (v * ctti_unit_rows + row) * 16), bias);
            value = ctti_activate_avx512(value, activation);
            size_t at = row * product->output_stride + first;
            if (place->residual) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, place->residual + at));
            _mm512_mask_storeu_ps(place->y + at, mask, value);
        }
    }
}

// Rows of value · activation(gate), rounded: what the next product reads. `sums` are of the panels `panel` of both halves of the
// outputs.
CTTI_AVX512BF16_INLINE void ctti_gate_rounded(
    uint16_t *target, size_t stride, const ctti_product *product, const float *const sums[2], bool gate_first,
    size_t panel, size_t rows) {
    __m512 bias[2][2];
    for (size_t half = 0; half < 2; half++) {
        for (size_t v = 0; v < 2; v++) {
            size_t column = half * (product->outputs / 2) + panel * ctti_panel_width + v * 16;
            bias[half][v] = product->bias ? _mm512_loadu_ps(product->bias + column) : _mm512_setzero_ps();
        }
    }
    for (size_t row = 0; row < rows; row++, target += stride) {
        __m512 results[2];
        for (size_t v = 0; v < 2; v++) {
            size_t place = (v * ctti_unit_rows + row) * 16;
            __m512 gate = _mm512_add_ps(_mm512_load_ps(sums[!gate_first] + place), bias[!gate_first][v]);
            __m512 value = _mm512_add_ps(_mm512_load_ps(sums[gate_first] + place), bias[gate_first][v]);
            results[v] = _mm512_mul_ps(value, ctti_activate_avx512(gate, product->activation));
        }
        __m512bh halves = _mm512_cvtne2ps_pbh(results[1], results[0]);
        memcpy(target, &halves, sizeof halves);
    }
}
