// Products of bfloat16 on AMX: sums of 32 rows and 32 outputs in four tiles, two tiles of rows and two of weights beside them.
//
// Bound by multiply-adds: 1024 FLOP a cycle, and four tile loads of a kilobyte for every four products of 16 cycles. Measured on
// one core of Sapphire Rapids: convolutions 34 to 49 % of the tile products in registers, matrices 22 to 35 %; what is missing
// is the second-level cache (operands of more than 24 KB each reach 60 %) and the writing of float32 results.
//
// Loops: panels, pairs of units of 16 rows, segments, 32 inputs at a time. The rows of a call stay in the second-level
// cache; a panel comes from memory once for all of them.
#if defined(__x86_64__)

#include "amx_tiles.h"
#include "linear_end_avx512bf16.h"

#define INLINE CTTI_AMX_INLINE

INLINE ctti_row_place unit_at(const ctti_product *product, const uint16_t *x, size_t unit) {
    size_t units = (product->rows + ctti_unit_rows - 1) / ctti_unit_rows;
    size_t row = unit % units * ctti_unit_rows, left = product->rows - row;
    return ctti_place_of(product, x, unit / units, row, left < ctti_unit_rows ? left : ctti_unit_rows);
}

// Asks for the lines that outputs of row `row` will be written to, and for those of the residual.
INLINE void ask_for(const ctti_product *product, const ctti_row_place *unit, size_t row, size_t column) {
    if (row >= unit->rows) return;
    size_t place = row * product->output_stride + column;
    _m_prefetchw(unit->y + place);
    _m_prefetchw(unit->y + place + 16);
    if (unit->residual) {
        _mm_prefetch(unit->residual + place, _MM_HINT_T0);
        _mm_prefetch(unit->residual + place + 16, _MM_HINT_T0);
    }
}

// The sums of one panel and one or two units; `wide`: a panel of 32 outputs. When they will be written at `column`, those lines
// are asked for meanwhile.
INLINE void add_up(
    float sums[2][2 * ctti_unit_rows * 16], const ctti_product *product, const ctti_row_place *first,
    const ctti_row_place *second, bool wide, const char *panel, size_t column, bool asks) {
    size_t stride = product->row_stride * sizeof(uint16_t), line = wide ? 128 : 64;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    size_t asked = 0;
    for (size_t segment = 0; segment < product->segments; segment++) {
        const uint16_t *upper = first->x + segment * product->segment_stride;
        const uint16_t *lower = second ? second->x + segment * product->segment_stride : NULL;
        for (size_t k = 0; k < product->segment_depth; k += CTTI_TILE_INPUTS, panel += ctti_unit_rows * line) {
            if (asks && asked < ctti_unit_rows) {
                ask_for(product, first, asked, column);
                if (second) ask_for(product, second, asked, column);
                asked++;
            }
            _tile_loadd(4, upper + k, stride);
            _tile_loadd(6, panel, line);
            _tile_dpbf16ps(0, 4, 6);
            if (wide) {
                _tile_loadd(7, panel + 64, line);
                _tile_dpbf16ps(1, 4, 7);
            }
            if (second) {
                _tile_loadd(5, lower + k, stride);
                _tile_dpbf16ps(2, 5, 6);
                if (wide) _tile_dpbf16ps(3, 5, 7);
            }
        }
    }
    _tile_stored(0, sums[0], 64);
    if (wide) _tile_stored(1, sums[0] + 256, 64);
    if (second) _tile_stored(2, sums[1], 64);
    if (second && wide) _tile_stored(3, sums[1] + 256, 64);
    __asm__ volatile("" : : : "memory");
}

INLINE void block(
    const ctti_product *product, const ctti_row_place *first, const ctti_row_place *second, bool wide, const char *panel,
    size_t column, size_t width, ctti_activation activation) {
    _Alignas(64) float sums[2][2 * ctti_unit_rows * 16];
    add_up(sums, product, first, second, wide, panel, column, true);
    ctti_finish_rounded(product, first, sums[0], column, width, activation);
    if (second) ctti_finish_rounded(product, second, sums[1], column, width, activation);
}

INLINE void multiply(
    const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first, size_t end,
    ctti_activation activation) {
    size_t inputs = product->segments * ctti_packed_depth(false, product->segment_depth);
    for (size_t panel = first; panel < end; panel++) {
        size_t column = panel * ctti_panel_width, width = product->outputs - column;
        if (width > ctti_panel_width) width = ctti_panel_width;
        const char *weights = (const char *)product->panels + column * inputs * sizeof(uint16_t);
        for (size_t unit = first_unit; unit < end_unit; unit += 2) {
            ctti_row_place upper = unit_at(product, x, unit), lower;
            bool paired = unit + 1 < end_unit;
            if (paired) lower = unit_at(product, x, unit + 1);
            if (width > 16) {
                block(product, &upper, paired ? &lower : NULL, true, weights, column, width, activation);
            } else {
                block(product, &upper, paired ? &lower : NULL, false, weights, column, width, activation);
            }
        }
    }
}

CTTI_AMX_TARGET void ctti_multiply_tiles(
    const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first, size_t end) {
    ctti_tiles_begin();
    if (product->activation == CTTI_IDENTITY) {
        multiply(product, x, first_unit, end_unit, first, end, CTTI_IDENTITY);
    } else {
        multiply(product, x, first_unit, end_unit, first, end, product->activation);
    }
    ctti_tiles_end();
}

CTTI_AMX_TARGET void ctti_multiply_tiles_gated(
    const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target, size_t target_stride,
    size_t first_unit, size_t end_unit, size_t first, size_t end) {
    _Alignas(64) float sums[2][2][2 * ctti_unit_rows * 16];
    size_t inputs = ctti_packed_depth(false, product->segment_depth), panel_bytes = inputs * ctti_panel_width * 2;
    size_t width = product->outputs / 2;
    ctti_tiles_begin();
    for (size_t panel = first; panel < end; panel++) {
        for (size_t unit = first_unit; unit < end_unit; unit += 2) {
            ctti_row_place upper = unit_at(product, x, unit), lower;
            bool paired = unit + 1 < end_unit;
            if (paired) lower = unit_at(product, x, unit + 1);
            for (size_t half = 0; half < 2; half++) {
                size_t column = panel + half * (width / ctti_panel_width);
                const char *weights = (const char *)product->panels + column * panel_bytes;
                add_up(sums[half], product, &upper, paired ? &lower : NULL, true, weights, 0, false);
            }
            uint16_t *place = target + unit * ctti_unit_rows * target_stride + panel * ctti_panel_width;
            for (size_t part = 0; part < (paired ? 2 : 1); part++, place += ctti_unit_rows * target_stride) {
                const float *const halves[2] = {sums[0][part], sums[1][part]};
                size_t rows = part ? lower.rows : upper.rows;
                ctti_gate_rounded(place, target_stride, product, halves, gate_first, panel, rows);
            }
        }
    }
    ctti_tiles_end();
}

#endif
