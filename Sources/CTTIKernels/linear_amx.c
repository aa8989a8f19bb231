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
#include "linear_end_avx512.h"

#define INLINE CTTI_AMX_INLINE

enum { unit_rows = 16 };

// Where a unit lies, and how many of its rows there are.
typedef struct {
    const uint16_t *x;
    float *y;
    const float *residual;
    size_t rows;
} unit_place;

INLINE unit_place place_of(const ctti_product *product, const uint16_t *x, size_t unit) {
    size_t units = (product->rows + unit_rows - 1) / unit_rows;
    size_t group = unit / units, row = unit % units * unit_rows;
    size_t place = group * product->group_output_stride + row * product->output_stride;
    size_t left = product->rows - row;
    return (unit_place){
        .x = x + group * product->group_stride + row * product->row_stride,
        .y = product->y + place,
        .residual = product->residual ? product->residual + place : NULL,
        .rows = left < unit_rows ? left : unit_rows,
    };
}

// Sums of 16 rows, in two tiles of 16 outputs side by side, become outputs.
INLINE void finish(
    const ctti_product *product, const unit_place *unit, const float *sums, size_t column, size_t width,
    ctti_activation activation) {
    for (size_t v = 0; v * 16 < width; v++) {
        __mmask16 mask = ctti_mask_of(width - 16 * v);
        size_t first = column + 16 * v;
        __m512 bias = product->bias ? _mm512_maskz_loadu_ps(mask, product->bias + first) : _mm512_setzero_ps();
        for (size_t row = 0; row < unit->rows; row++) {
            __m512 value = _mm512_add_ps(_mm512_load_ps(sums + (v * unit_rows + row) * 16), bias);
            value = ctti_activate_avx512(value, activation);
            size_t place = row * product->output_stride + first;
            if (unit->residual) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, unit->residual + place));
            _mm512_mask_storeu_ps(unit->y + place, mask, value);
        }
    }
}

// Asks for the lines that outputs of row `row` will be written to, and for those of the residual.
INLINE void ask_for(const ctti_product *product, const unit_place *unit, size_t row, size_t column) {
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
    float sums[2][2 * unit_rows * 16], const ctti_product *product, const unit_place *first, const unit_place *second,
    bool wide, const char *panel, size_t column, bool asks) {
    size_t stride = product->row_stride * sizeof(uint16_t), line = wide ? 128 : 64;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    size_t asked = 0;
    for (size_t segment = 0; segment < product->segments; segment++) {
        const uint16_t *upper = first->x + segment * product->segment_stride;
        const uint16_t *lower = second ? second->x + segment * product->segment_stride : NULL;
        for (size_t k = 0; k < product->segment_depth; k += CTTI_TILE_INPUTS, panel += unit_rows * line) {
            if (asks && asked < unit_rows) {
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
    const ctti_product *product, const unit_place *first, const unit_place *second, bool wide, const char *panel,
    size_t column, size_t width, ctti_activation activation) {
    _Alignas(64) float sums[2][2 * unit_rows * 16];
    add_up(sums, product, first, second, wide, panel, column, true);
    finish(product, first, sums[0], column, width, activation);
    if (second) finish(product, second, sums[1], column, width, activation);
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
            unit_place upper = place_of(product, x, unit), lower;
            bool paired = unit + 1 < end_unit;
            if (paired) lower = place_of(product, x, unit + 1);
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

// Rows of value · activation(gate), rounded: what the next product reads.
INLINE void gate_rows(
    uint16_t *target, size_t stride, const float *values, const float *gates, size_t rows, ctti_activation activation) {
    for (size_t row = 0; row < rows; row++, target += stride) {
        __m512 results[2];
        for (size_t v = 0; v < 2; v++) {
            size_t place = (v * unit_rows + row) * 16;
            __m512 gate = ctti_activate_avx512(_mm512_load_ps(gates + place), activation);
            results[v] = _mm512_mul_ps(_mm512_load_ps(values + place), gate);
        }
        __m512bh halves = _mm512_cvtne2ps_pbh(results[1], results[0]);
        memcpy(target, &halves, sizeof halves);
    }
}

CTTI_AMX_TARGET void ctti_multiply_tiles_gated(
    const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target, size_t target_stride,
    size_t first_unit, size_t end_unit, size_t first, size_t end) {
    _Alignas(64) float sums[2][2][2 * unit_rows * 16];
    size_t inputs = ctti_packed_depth(false, product->segment_depth), panel_bytes = inputs * ctti_panel_width * 2;
    size_t width = product->outputs / 2;
    ctti_tiles_begin();
    for (size_t panel = first; panel < end; panel++) {
        for (size_t unit = first_unit; unit < end_unit; unit += 2) {
            unit_place upper = place_of(product, x, unit), lower;
            bool paired = unit + 1 < end_unit;
            if (paired) lower = place_of(product, x, unit + 1);
            for (size_t half = 0; half < 2; half++) {
                size_t column = panel + half * (width / ctti_panel_width);
                const char *weights = (const char *)product->panels + column * panel_bytes;
                add_up(sums[half], product, &upper, paired ? &lower : NULL, true, weights, 0, false);
            }
            uint16_t *place = target + unit * unit_rows * target_stride + panel * ctti_panel_width;
            for (size_t part = 0; part < (paired ? 2 : 1); part++, place += unit_rows * target_stride) {
                const float *values = sums[gate_first][part], *gates = sums[!gate_first][part];
                size_t rows = part ? lower.rows : upper.rows;
                gate_rows(place, target_stride, values, gates, rows, product->activation);
            }
        }
    }
    ctti_tiles_end();
}

CTTI_AMX_TARGET void ctti_round_rows(
    uint16_t *target, size_t target_stride, const float *source, size_t source_stride, size_t rows, size_t count,
    size_t padded) {
    for (size_t row = 0; row < rows; row++, target += target_stride, source += source_stride) {
        size_t i = 0;
        for (; i + 32 <= count; i += 32) {
            __m512bh halves = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(source + i + 16), _mm512_loadu_ps(source + i));
            memcpy(target + i, &halves, sizeof halves);
        }
        for (; i < count; i += 16) {
            __mmask16 mask = ctti_mask_of(count - i);
            __m256bh halves = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, source + i));
            __m256i bits;
            memcpy(&bits, &halves, sizeof bits);
            _mm256_mask_storeu_epi16(target + i, mask, bits);
        }
        if (padded > count) memset(target + count, 0, (padded - count) * sizeof(uint16_t));
    }
}

#else

#include "CTTIKernels.h"

void ctti_multiply_tiles(
    const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first, size_t end) {
    (void)product, (void)x, (void)first_unit, (void)end_unit, (void)first, (void)end;
}

void ctti_multiply_tiles_gated(
    const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target, size_t target_stride,
    size_t first_unit, size_t end_unit, size_t first, size_t end) {
    (void)product, (void)x, (void)gate_first, (void)target, (void)target_stride, (void)first_unit, (void)end_unit;
    (void)first, (void)end;
}

void ctti_round_rows(
    uint16_t *target, size_t target_stride, const float *source, size_t source_stride, size_t rows, size_t count,
    size_t padded) {
    (void)target, (void)target_stride, (void)source, (void)source_stride, (void)rows, (void)count, (void)padded;
}

#endif
