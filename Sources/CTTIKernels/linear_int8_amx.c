// Products of int8 on AMX, as linear_amx.c: twice its multiply-adds a cycle, 64 inputs at a time.
#if defined(__x86_64__)

#include "amx_tiles.h"
#include "linear_int8_end.h"

enum { unit_rows = 16 };

CTTI_AMX_INLINE void finish(
    const ctti_int8_product *product, const int32_t *sums, size_t row, size_t rows, size_t column,
    ctti_activation activation) {
    size_t left = product->outputs - column;
    for (size_t v = 0; v < 2 && 16 * v < left; v++) {
        for (size_t r = 0; r < rows; r++) {
            __m512i sum = _mm512_load_si512(sums + (v * unit_rows + r) * 16);
            ctti_finish_int8(product, sum, row + r, column + 16 * v, left - 16 * v, activation);
        }
    }
}

// One panel and one or two units of 16 rows.
CTTI_AMX_INLINE void block(
    const ctti_int8_product *product, size_t row, size_t end_row, size_t panel, ctti_activation activation) {
    _Alignas(64) int32_t sums[2][2 * unit_rows * 16];
    const char *weights = (const char *)product->panels + panel * 32 * product->inputs;
    const uint8_t *upper = product->x + row * product->row_stride, *lower = upper + unit_rows * product->row_stride;
    size_t stride = product->row_stride, column = panel * 32, rows = end_row - row;
    bool tall = rows > unit_rows, wide = product->outputs - column > 16;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    size_t asked = 0;
    for (size_t k = 0; k < product->inputs; k += CTTI_INT8_INPUTS, weights += unit_rows * 128) {
        for (int i = 0; i < 4 && asked < rows && asked < 2 * unit_rows; i++, asked++) {
            float *place = product->y + (row + asked) * product->output_stride + column;
            _m_prefetchw(place);
            _m_prefetchw(place + 16);
        }
        _tile_loadd(4, upper + k, stride);
        _tile_loadd(6, weights, 128);
        _tile_dpbusd(0, 4, 6);
        if (wide) {
            _tile_loadd(7, weights + 64, 128);
            _tile_dpbusd(1, 4, 7);
        }
        if (tall) {
            _tile_loadd(5, lower + k, stride);
            _tile_dpbusd(2, 5, 6);
            if (wide) _tile_dpbusd(3, 5, 7);
        }
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[0] + 256, 64);
    _tile_stored(2, sums[1], 64);
    _tile_stored(3, sums[1] + 256, 64);
    __asm__ volatile("" : : : "memory");
    finish(product, sums[0], row, tall ? unit_rows : rows, column, activation);
    if (tall) finish(product, sums[1], row + unit_rows, rows - unit_rows, column, activation);
}

CTTI_AMX_TARGET void ctti_multiply_int8_amx(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end) {
    ctti_tiles_begin();
    for (size_t panel = first; panel < end; panel++) {
        for (size_t row = first_row; row < end_row; row += 2 * unit_rows) {
            size_t row_end = row + 2 * unit_rows < end_row ? row + 2 * unit_rows : end_row;
            if (product->activation == CTTI_IDENTITY) {
                block(product, row, row_end, panel, CTTI_IDENTITY);
            } else {
                block(product, row, row_end, panel, product->activation);
            }
        }
    }
    ctti_tiles_end();
}

#endif
