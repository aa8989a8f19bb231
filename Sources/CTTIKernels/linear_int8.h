// What products of int8 need of an instruction set: rows first_row..<end_row of some panels.
#pragma once

#include "CTTIKernels.h"

typedef void (*ctti_int8_multiply)(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end);

// All inputs of some rows (as many as the function's place in its table says) and one panel.
typedef void (*ctti_int8_tile)(const ctti_int8_product *product, size_t row, size_t panel);

// Panels on the outside, so that one stays in a cache for all rows, which are cut into tiles of nearly the same height.
static inline void ctti_multiply_int8_tiles(
    const ctti_int8_tile *tiles, size_t most_rows, const ctti_int8_product *product, size_t first_row, size_t end_row,
    size_t first, size_t end) {
    size_t rows = end_row - first_row, count = (rows + most_rows - 1) / most_rows;
    for (size_t panel = first; panel < end; panel++) {
        for (size_t part = 0; part < count; part++) {
            size_t row = first_row + rows * part / count;
            tiles[first_row + rows * (part + 1) / count - row](product, row, panel);
        }
    }
}

void ctti_multiply_int8_portable(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end);
#if defined(__x86_64__)
void ctti_multiply_int8_avx2(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end);
// AVX2 with AVX-VNNI.
void ctti_multiply_int8_avxvnni(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end);
void ctti_multiply_int8_vnni(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end);
// One or two rows; four panels beside each other.
void ctti_multiply_int8_vnni_strips(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end);
// A unit is 16 rows of a group, the last one what is left.
void ctti_multiply_int8_amx(
    const ctti_int8_product *product, size_t first_unit, size_t end_unit, size_t first, size_t end);
float ctti_largest_avx512(const float *source, size_t count);
void ctti_quantize_avx512(uint8_t *target, const float *source, size_t count, float inverse);
void ctti_quantize_rows_avx2(
    uint8_t *target, size_t target_stride, float *scales, const float *source, size_t source_stride, size_t rows,
    size_t count, size_t padded);
void ctti_quantize_rows_avx512(
    uint8_t *target, size_t target_stride, float *scales, const float *source, size_t source_stride, size_t rows,
    size_t count, size_t padded);
#endif
