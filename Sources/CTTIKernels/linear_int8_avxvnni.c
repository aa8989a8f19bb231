// Products of int8 in AVX2 with AVX-VNNI: four multiply-adds for each of eight outputs in one instruction. Loops as in
// linear_int8_avx512.c: one or two rows take a panel of 32 outputs at once, more rows half of it, whose 12 sums of six rows
// stay in registers.
#if defined(__x86_64__)

#include "linear_int8_end_avx2.h"

#define TARGET __attribute__((target("avx2,fma,f16c,avxvnni")))
#define INLINE static inline TARGET __attribute__((always_inline))

enum { most_rows = 6, ahead = 8192 };

// Some rows and 8 · `vectors` outputs of a panel, from its `first`th on.
INLINE void part(int rows, int vectors, const ctti_int8_product *product, size_t row, size_t panel, size_t first) {
    size_t column = panel * 32 + first;
    if (column >= product->outputs) return;
    const char *place = (const char *)product->panels + panel * 32 * product->inputs + 4 * first;
    const uint8_t *x = product->x + row * product->row_stride;
    __m256i sums[most_rows][4];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) sums[r][v] = _mm256_setzero_si256();
    }
    for (size_t k = 0; k < product->inputs; k += 4, place += 128) {
        __m256i weights[4];
        for (int v = 0; v < vectors; v++) {
            weights[v] = _mm256_loadu_si256((const __m256i *)(place + 32 * v));
            if (v % 2 == 0) _mm_prefetch(place + ahead + 32 * v, _MM_HINT_T0);
        }
#pragma clang loop unroll(full)
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + (size_t)r * product->row_stride + k, sizeof four);
            __m256i factors = _mm256_set1_epi32(four);
            for (int v = 0; v < vectors; v++) sums[r][v] = _mm256_dpbusd_avx_epi32(sums[r][v], factors, weights[v]);
        }
    }
    size_t left = product->outputs - column;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
        for (size_t v = 0; v < (size_t)vectors; v++) {
            if (8 * v >= left) continue;
            __m256i zeros = _mm256_loadu_si256((const __m256i *)(product->zeros + column + 8 * v));
            __m256i sum = _mm256_sub_epi32(sums[r][v], zeros);
            ctti_finish_int8_avx2(product, sum, row + (size_t)r, column + 8 * v, left - 8 * v);
        }
    }
}

INLINE void tile(int rows, const ctti_int8_product *product, size_t row, size_t panel) {
    if (rows <= 2) {
        part(rows, 4, product, row, panel, 0);
    } else {
        part(rows, 2, product, row, panel, 0);
        part(rows, 2, product, row, panel, 16);
    }
}

#define TILE(rows)                                                                                \
    TARGET static void tile_##rows(const ctti_int8_product *product, size_t row, size_t panel) {  \
        tile(rows, product, row, panel);                                                          \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)

static const ctti_int8_tile tiles[most_rows + 1] = {
    NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6,
};

void ctti_multiply_int8_avxvnni(
    const ctti_int8_product *product, size_t first_row, size_t end_row, size_t first, size_t end) {
    ctti_multiply_int8_tiles(tiles, most_rows, product, first_row, end_row, first, end);
}

#endif
