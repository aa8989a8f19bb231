// Products of rounded rows by VDPBF16PS, which adds both products of a pair of inputs to each of sixteen sums.
//
// Loops and registers as in linear_avx512.c: a tile of 14 rows and 32 outputs keeps 28 sums in registers and needs, for each
// pair of inputs, two loads of weights, as they are packed, and 14 broadcasts of a row's pair for 28 instructions. Nothing is
// widened, and there are half as many steps.
//
// Bound by multiply-adds. On one core of Sapphire Rapids, in processor time, of what VDPBF16PS does in registers (72 GFLOP/s,
// half of float32's there): products of 512 rows 91 to 94 %, of 16 rows 79 %, convolutions 77 to 86 %.
#if defined(__x86_64__)

#include "linear_end_avx512bf16.h"

#define INLINE CTTI_AVX512BF16_INLINE

// The sums of one tile, a panel of 32 outputs or of 16.
INLINE void add_up(
    int rows, int vectors, float *result, const ctti_product *product, const uint16_t *x, const char *panel) {
    __m512 sums[ctti_most_rows][2];
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        for (int v = 0; v < vectors; v++) sums[row][v] = _mm512_setzero_ps();
    }
    // Of an odd run's last pair the second weight is zero.
    size_t stride = product->row_stride, step = (size_t)vectors * 64, depth = product->segment_depth;
    size_t pairs = (depth + 1) / 2, zeros = ctti_packed_depth(false, depth) / 2 - pairs;
    for (size_t segment = 0; segment < product->segments; segment++, panel += zeros * step) {
        const uint16_t *run = x + segment * product->segment_stride;
        for (size_t k = 0; k < pairs; k++, run += 2, panel += step) {
            __m512bh weights[2];
            for (int v = 0; v < vectors; v++) weights[v] = (__m512bh)_mm512_loadu_si512(panel + 64 * v);
#pragma clang loop unroll(full)
            for (int row = 0; row < rows; row++) {
                int32_t pair;
                memcpy(&pair, run + (size_t)row * stride, sizeof pair);
                __m512bh factor = (__m512bh)_mm512_set1_epi32(pair);
                for (int v = 0; v < vectors; v++) sums[row][v] = _mm512_dpbf16_ps(sums[row][v], factor, weights[v]);
            }
        }
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < rows; row++) {
        for (int v = 0; v < vectors; v++) _mm512_store_ps(result + (v * ctti_unit_rows + row) * 16, sums[row][v]);
    }
}

typedef void (*sums_of_tile)(float *result, const ctti_product *product, const uint16_t *x, const char *panel);

#define TILE(name, rows, vectors)                                                                                 \
    CTTI_AVX512BF16_TARGET static void name##_##rows(                                                             \
        float *result, const ctti_product *product, const uint16_t *x, const char *panel) {                       \
        add_up(rows, vectors, result, product, x, panel);                                                         \
    }
#define TILES(name, vectors)                                                                                      \
    TILE(name, 1, vectors)                                                                                        \
    TILE(name, 2, vectors)                                                                                        \
    TILE(name, 3, vectors)                                                                                        \
    TILE(name, 4, vectors)                                                                                        \
    TILE(name, 5, vectors)                                                                                        \
    TILE(name, 6, vectors)                                                                                        \
    TILE(name, 7, vectors)                                                                                        \
    TILE(name, 8, vectors)                                                                                        \
    TILE(name, 9, vectors)                                                                                        \
    TILE(name, 10, vectors)                                                                                       \
    TILE(name, 11, vectors)                                                                                       \
    TILE(name, 12, vectors)                                                                                       \
    TILE(name, 13, vectors)                                                                                       \
    TILE(name, 14, vectors)
#define TABLE(name)                                                                                               \
    {NULL, name##_1, name##_2, name##_3, name##_4, name##_5, name##_6, name##_7, name##_8, name##_9, name##_10,   \
     name##_11, name##_12, name##_13, name##_14}

TILES(narrow, 1)
TILES(wide, 2)

static const sums_of_tile tiles[2][ctti_most_rows + 1] = {TABLE(narrow), TABLE(wide)};  // [panel of 32?][rows]

// Rows of units that follow each other in one group, cut into tiles of nearly the same height: 16 rows are 8 + 8, not 14 + 2.
typedef struct {
    size_t group, first, rows, tiles;
    size_t end_unit;
} run_of_rows;

INLINE run_of_rows run_from(const ctti_product *product, size_t unit, size_t end_unit) {
    size_t units = (product->rows + ctti_unit_rows - 1) / ctti_unit_rows;
    size_t group = unit / units, first = unit % units * ctti_unit_rows, own = (group + 1) * units;
    bool is_whole = own <= end_unit;
    size_t rows = (is_whole ? product->rows : (end_unit - group * units) * ctti_unit_rows) - first;
    return (run_of_rows){
        .group = group,
        .first = first,
        .rows = rows,
        .tiles = (rows + ctti_most_rows - 1) / ctti_most_rows,
        .end_unit = is_whole ? own : end_unit,
    };
}

INLINE ctti_row_place tile_of(
    const ctti_product *product, const uint16_t *x, const run_of_rows *run, size_t tile) {
    size_t begin = run->rows * tile / run->tiles, end = run->rows * (tile + 1) / run->tiles;
    return ctti_place_of(product, x, run->group, run->first + begin, end - begin);
}

CTTI_AVX512BF16_TARGET void ctti_multiply_pairs(
    const ctti_product *product, const uint16_t *x, size_t first_unit, size_t end_unit, size_t first, size_t end) {
    _Alignas(64) float sums[2 * ctti_unit_rows * 16];
    size_t inputs = product->segments * ctti_packed_depth(false, product->segment_depth);
    for (size_t panel = first; panel < end; panel++) {
        size_t column = panel * ctti_panel_width, width = product->outputs - column;
        if (width > ctti_panel_width) width = ctti_panel_width;
        const char *weights = (const char *)product->panels + column * inputs * sizeof(uint16_t);
        for (size_t unit = first_unit; unit < end_unit;) {
            run_of_rows run = run_from(product, unit, end_unit);
            for (size_t tile = 0; tile < run.tiles; tile++) {
                ctti_row_place place = tile_of(product, x, &run, tile);
                tiles[width > 16][place.rows](sums, product, place.x, weights);
                ctti_finish_rounded(product, &place, sums, column, width, product->activation);
            }
            unit = run.end_unit;
        }
    }
}

CTTI_AVX512BF16_TARGET void ctti_multiply_pairs_gated(
    const ctti_product *product, const uint16_t *x, bool gate_first, uint16_t *target, size_t target_stride,
    size_t first_unit, size_t end_unit, size_t first, size_t end) {
    _Alignas(64) float sums[2][2 * ctti_unit_rows * 16];
    size_t inputs = ctti_packed_depth(false, product->segment_depth), panel_bytes = inputs * ctti_panel_width * 2;
    size_t panels = product->outputs / 2 / ctti_panel_width;
    run_of_rows run = run_from(product, first_unit, end_unit);
    for (size_t panel = first; panel < end; panel++) {
        const char *weights = (const char *)product->panels + panel * panel_bytes;
        uint16_t *row = target + run.first * target_stride + panel * ctti_panel_width;
        for (size_t tile = 0; tile < run.tiles; tile++) {
            ctti_row_place place = tile_of(product, x, &run, tile);
            tiles[true][place.rows](sums[0], product, place.x, weights);
            tiles[true][place.rows](sums[1], product, place.x, weights + panels * panel_bytes);
            const float *const halves[2] = {sums[0], sums[1]};
            ctti_gate_rounded(row, target_stride, product, halves, gate_first, panel, place.rows);
            row += place.rows * target_stride;
        }
    }
}

CTTI_AVX512BF16_TARGET void ctti_round_rows(
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

#endif
