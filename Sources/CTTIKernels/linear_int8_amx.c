// Products of int8 on AMX, as linear_amx.c: twice its multiply-adds a cycle, 64 inputs at a time.
#if defined(__x86_64__)

#include "amx_tiles.h"
#include "linear_int8_end.h"

enum { unit_rows = 16 };

// Sixteen rows of a group, or what is left of it, as a product of their own.
CTTI_AMX_INLINE ctti_int8_product unit_at(const ctti_int8_product *product, size_t unit) {
    size_t units = (product->rows + unit_rows - 1) / unit_rows;
    size_t group = unit / units, row = unit % units * unit_rows;
    size_t place = group * product->group_output_stride + row * product->output_stride;
    ctti_int8_product own = *product;
    own.x += group * product->group_stride + row * product->row_stride;
    own.x_scales += row * product->x_scale_step;
    own.y += place;
    if (own.residual) own.residual += place;
    own.rows = product->rows - row < unit_rows ? product->rows - row : unit_rows;
    return own;
}

CTTI_AMX_INLINE void finish(
    const ctti_int8_product *unit, const int32_t *sums, size_t column, ctti_activation activation) {
    size_t left = unit->outputs - column;
    for (size_t v = 0; v < 2 && 16 * v < left; v++) {
        for (size_t r = 0; r < unit->rows; r++) {
            __m512i sum = _mm512_load_si512(sums + (v * unit_rows + r) * 16);
            ctti_finish_int8(unit, sum, r, column + 16 * v, left - 16 * v, activation);
        }
    }
}

// Asks for the lines that outputs of row `row` will be written to.
CTTI_AMX_INLINE void ask_for(const ctti_int8_product *unit, size_t row, size_t column) {
    if (row >= unit->rows) return;
    float *place = unit->y + row * unit->output_stride + column;
    _m_prefetchw(place);
    _m_prefetchw(place + 16);
}

// One panel and one or two units.
CTTI_AMX_INLINE void block(
    const ctti_int8_product *upper, const ctti_int8_product *lower, size_t panel, ctti_activation activation) {
    _Alignas(64) int32_t sums[2][2 * unit_rows * 16];
    const char *weights = (const char *)upper->panels + panel * 32 * upper->inputs;
    size_t stride = upper->row_stride, depth = upper->inputs / upper->segments, column = panel * 32;
    bool wide = upper->outputs - column > 16;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    size_t asked = 0;
    for (size_t segment = 0; segment < upper->segments; segment++) {
        const uint8_t *x = upper->x + segment * upper->segment_stride;
        const uint8_t *next = lower ? lower->x + segment * upper->segment_stride : NULL;
        for (size_t k = 0; k < depth; k += CTTI_INT8_INPUTS, weights += unit_rows * 128) {
            for (int i = 0; i < 2 && asked < unit_rows; i++, asked++) {
                ask_for(upper, asked, column);
                if (lower) ask_for(lower, asked, column);
            }
            _tile_loadd(4, x + k, stride);
            _tile_loadd(6, weights, 128);
            _tile_dpbusd(0, 4, 6);
            if (wide) {
                _tile_loadd(7, weights + 64, 128);
                _tile_dpbusd(1, 4, 7);
            }
            if (lower) {
                _tile_loadd(5, next + k, stride);
                _tile_dpbusd(2, 5, 6);
                if (wide) _tile_dpbusd(3, 5, 7);
            }
        }
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[0] + 256, 64);
    _tile_stored(2, sums[1], 64);
    _tile_stored(3, sums[1] + 256, 64);
    __asm__ volatile("" : : : "memory");
    finish(upper, sums[0], column, activation);
    if (lower) finish(lower, sums[1], column, activation);
}

CTTI_AMX_TARGET void ctti_multiply_int8_amx(
    const ctti_int8_product *product, size_t first_unit, size_t end_unit, size_t first, size_t end) {
    ctti_tiles_begin();
    for (size_t panel = first; panel < end; panel++) {
        for (size_t unit = first_unit; unit < end_unit; unit += 2) {
            bool paired = unit + 1 < end_unit;
            ctti_int8_product upper = unit_at(product, unit), lower = upper;
            if (paired) lower = unit_at(product, unit + 1);
            if (product->activation == CTTI_IDENTITY) {
                block(&upper, paired ? &lower : NULL, panel, CTTI_IDENTITY);
            } else {
                block(&upper, paired ? &lower : NULL, panel, product->activation);
            }
        }
    }
    ctti_tiles_end();
}

#endif
